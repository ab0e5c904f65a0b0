from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from apps.config.price_sync import prices_sync
from apps.config.seeds import model_configs_seed


class Command(BaseCommand):
    help = "Make or update the model configs and prices that ship with the platform; operators' edits stay."

    def handle(self, *args: Any, **options: Any) -> None:
        report = model_configs_seed()
        for label, model_ids in (
            ("created", report.created),
            ("updated", report.updated),
            ("left alone, edited here", report.edited),
            ("left alone, deleted here", report.deleted),
        ):
            if model_ids:
                self.stdout.write(f"{label}: {', '.join(model_ids)}")
        self.stdout.write(f"unchanged: {len(report.unchanged)} model configs")
        prices = prices_sync()
        self.stdout.write(
            f"prices: {prices.created} created, {prices.updated} updated, {prices.deleted} deleted"
        )
