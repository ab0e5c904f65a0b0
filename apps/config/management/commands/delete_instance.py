from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.accounts.audit import SYSTEM
from apps.accounts.models import ApiKey, Instance
from apps.accounts.services.instances import instance_delete


class Command(BaseCommand):
    help = "Delete an instance with its projects, their API keys and its provider keys; the ledger keeps its rows."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--instance-id", required=True)
        parser.add_argument("--force", action="store_true", help="do not ask")
        parser.add_argument(
            "--keep-bucket", action="store_true", help="leave the stored files where they are"
        )

    def handle(self, *args: Any, instance_id: str, force: bool, keep_bucket: bool, **options: Any) -> None:
        row = Instance.objects.filter(instance_id=instance_id).first()
        if row is None:
            raise CommandError(f"There is no instance {instance_id!r}.")
        keys = ApiKey.objects.filter(project__instance=row).count()
        self.stdout.write(f"{instance_id}: {row.projects.count()} projects, {keys} project keys.")
        if not force:
            self._ask(instance_id)
        instance_delete(actor=SYSTEM, instance_id=instance_id)
        self.stdout.write(f"{instance_id}: deleted")
        if keep_bucket:
            self.stdout.write(
                f"  Kept: the files in {row.r2_bucket or 'its storage'}, and the ledger's rows."
            )

    def _ask(self, instance_id: str) -> None:
        if not sys.stdin.isatty():
            raise CommandError("There is no terminal to ask on; use --force.")
        if input("Type the instance's id to delete it: ").strip() != instance_id:
            raise CommandError("Nothing was deleted.")
