from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.accounts.audit import SYSTEM
from apps.config.services.secrets import secrets_rotate


class Command(BaseCommand):
    help = "Encrypt all stored secrets with the first key of DE_ENCRYPTION_KEYS; afterwards the others can be dropped."

    def handle(self, *args: Any, **options: Any) -> None:
        done = secrets_rotate(actor=SYSTEM)
        self.stdout.write(
            f"Encrypted again: {done.provider_keys} provider keys, {done.webhook_secrets} webhook secrets."
        )
        if done.unreadable:
            raise CommandError(
                "No key in DE_ENCRYPTION_KEYS opens these, so keep looking for the old key:\n  "
                + "\n  ".join(done.unreadable)
            )
