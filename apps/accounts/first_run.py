"""What a fresh platform needs before anybody can use it: an organization, an instance, a superadmin, two keys."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction

from apps.accounts.audit import SYSTEM, audit_record
from apps.accounts.changes import change_publish
from apps.accounts.keys import key_generate, key_hash
from apps.accounts.models import ApiKey, Instance, Organization, User

ADMIN_EMAIL = "admin@localhost"


class Credentials(msgspec.Struct, kw_only=True):
    """What `make run` shows and keeps in credentials.json (mode 600)."""

    base_url: str
    sandbox_url: str
    admin_user: str
    admin_password: str
    live_key: str
    test_key: str

    @property
    def is_password_current(self) -> bool:
        user = User.objects.filter(email=self.admin_user).first()
        return user is not None and user.check_password(self.admin_password)


def credentials_ensure(*, base_url: str) -> Credentials:
    """The credentials of this platform, made on its first start.

    Later starts keep them; what its people have changed since (a password, a revoked key) is left alone. Only if the
    file is gone, or speaks of another database, is a new login and a new pair of keys made.
    """
    path = settings.DE_DATA_DIR / "credentials.json"
    credentials = _read(path)
    if credentials is None or not _is_of_this_database(credentials):
        credentials = _make()
    credentials.base_url, credentials.sandbox_url = base_url, settings.DE_SANDBOX_URL
    _write(path, credentials)
    return credentials


def _read(path: Path) -> Credentials | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except (OSError, msgspec.MsgspecError):
        return None


def _is_of_this_database(credentials: Credentials) -> bool:
    return ApiKey.objects.filter(key_hash=key_hash(credentials.live_key)).exists()


@transaction.atomic
def _make() -> Credentials:
    instance_id: str = settings.DE_DEFAULT_INSTANCE
    org, _ = Organization.objects.get_or_create(org_id="default", defaults={"name": "Default"})
    instance, _ = Instance.objects.get_or_create(
        instance_id=instance_id, defaults={"org": org, "name": "Default"}
    )
    password = secrets.token_urlsafe(15)
    user = User.objects.filter(email=ADMIN_EMAIL).first()
    if user is None:
        user = User.objects.create_superuser(ADMIN_EMAIL, name="Administrator", org=org)
    user.default_instance = user.default_instance or instance
    user.set_password(password)
    user.save()
    live, test = (_key(user, is_test=is_test) for is_test in (False, True))
    change_publish(kind="user", ref=user.user_id)
    change_publish(kind="instance", ref=instance.instance_id)
    audit_record(
        actor=SYSTEM,
        action="create",
        entity="user",
        entity_id=user.user_id,
        after={"email": user.email, "role": user.role},
        org_id=org.org_id,
    )
    return Credentials(
        base_url="",
        sandbox_url="",
        admin_user=user.email,
        admin_password=password,
        live_key=live,
        test_key=test,
    )


def _key(user: User, *, is_test: bool) -> str:
    made = key_generate(is_test=is_test)
    mode = ApiKey.Mode.TEST if is_test else ApiKey.Mode.LIVE
    ApiKey.objects.create(
        name=f"first {mode} key",
        mode=mode,
        key_hash=made.key_hash,
        hint=made.hint,
        user=user,
        created_by="system",
    )
    return made.raw


def _write(path: Path, credentials: Credentials) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    content: dict[str, Any] = msgspec.to_builtins(credentials)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
    draft.replace(path)
