from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from apps.accounts.audit import SYSTEM
from apps.accounts.models import ApiKey, Instance, User
from apps.accounts.services.api_keys import api_key_create
from apps.accounts.services.instances import authorized_users_of, instance_lock, instance_update
from apps.accounts.services.users import user_update
from apps.core.errors import GatewayError


class Command(BaseCommand):
    help = "Make an API key for a user. The key is all that goes to standard output, and is shown only now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", required=True, metavar="EMAIL")
        parser.add_argument("--name", required=True)
        parser.add_argument("--test", action="store_true", help="a key that reaches the sandbox only")
        parser.add_argument(
            "--instance",
            metavar="ID",
            help="the instance the user's calls go to; they get the permission `user` there if they had none",
        )

    def handle(
        self, *args: Any, user: str, name: str, test: bool, instance: str | None, **options: Any
    ) -> None:
        owner = User.objects.filter(email=user.strip().lower()).first()
        if owner is None:
            raise CommandError(f"There is no user with the e-mail address {user!r}.")
        if not 1 <= len(name) <= 200:
            raise CommandError("--name must have 1 to 200 characters.")
        mode = ApiKey.Mode.TEST if test else ApiKey.Mode.LIVE
        try:
            with transaction.atomic():
                if instance is not None:
                    self._lead_to(owner, instance)
                row, raw = api_key_create(actor=SYSTEM, owner=owner, name=name, mode=mode)
        except GatewayError as exc:
            raise CommandError(exc.message) from exc
        self.stderr.write(f"{row.mode} key {row.key_id} ({row.name}) of {owner.email}:")
        self.stdout.write(raw)

    def _lead_to(self, owner: User, instance_id: str) -> None:
        row = instance_lock(instance_id)
        users = authorized_users_of(row)
        if owner.user_id not in users and not self._is_admin_of(owner, row):
            instance_update(
                actor=SYSTEM, instance_id=instance_id, authorized_users={**users, owner.user_id: "user"}
            )
            self.stderr.write(f"{owner.email} may now use the instance {instance_id!r}.")
        user_update(actor=SYSTEM, user_id=owner.user_id, fields={"default_instance_id": instance_id})

    def _is_admin_of(self, owner: User, row: Instance) -> bool:
        if owner.role == User.Role.SUPERADMIN:
            return True
        return owner.role == User.Role.ADMIN and owner.org_id == row.org_id
