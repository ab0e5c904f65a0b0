"""API keys: made, rotated, revoked; never changed, so that what a key may do can be read from its birth."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.accounts.audit import Actor, audit_record
from apps.accounts.changes import change_publish
from apps.accounts.keys import key_generate
from apps.accounts.models import ApiKey, Project, User
from apps.accounts.services.projects import project_lock
from apps.accounts.services.rows import row_insert
from apps.accounts.services.users import user_lock
from apps.core.errors import Conflict, InvalidRequest, NotFound

LIMITS = ("allowed_models", "allowed_services", "allowed_networks", "rate_limits")


def api_key_snapshot(row: ApiKey) -> dict[str, Any]:
    """Without the hash: it is all an attacker needs to recognise the key."""
    names = ("key_id", "name", "mode", "hint", "user_id", "project_id", *LIMITS, "rotated_to_id")
    times = ("expires_at", "grace_until", "revoked_at")
    return {name: getattr(row, name) for name in names} | {name: _iso(getattr(row, name)) for name in times}


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def api_key_state(row: ApiKey) -> str:
    """ "active", "grace" (rotated, still working), "expired" or "revoked"."""
    if row.revoked_at is not None:
        return "revoked"
    now = timezone.now()
    if any(end is not None and end <= now for end in (row.expires_at, row.grace_until)):
        return "expired"
    return "active" if row.grace_until is None else "grace"


@transaction.atomic
def api_key_create(
    *,
    actor: Actor,
    owner: User | Project,
    name: str,
    mode: str = ApiKey.Mode.LIVE,
    expires_at: datetime | None = None,
    limits: Mapping[str, Any] | None = None,
) -> tuple[ApiKey, str]:
    """The row, and the key itself, which nobody can show again. limits: of LIMITS.

    Raises NotFound (the owner is just gone), InvalidRequest.
    """
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidRequest.for_fields({"expires_at": "Must lie in the future."})
    # Locked, or the owner could be deleted between the check of their rights and this insert.
    held = user_lock(owner.pk) if isinstance(owner, User) else project_lock(owner.pk)
    made = key_generate(is_test=mode == ApiKey.Mode.TEST)
    row = ApiKey(
        name=name,
        mode=mode,
        key_hash=made.key_hash,
        hint=made.hint,
        user=held if isinstance(held, User) else None,
        project=held if isinstance(held, Project) else None,
        expires_at=expires_at,
        created_by=actor.id,
        **{limit: value for limit, value in (limits or {}).items() if limit in LIMITS},
    )
    row_insert(row, taken="Try again: this key exists already.")
    _audit(actor, "create", row, after=api_key_snapshot(row))
    change_publish(kind="api_key", ref=row.key_hash)
    return row, made.raw


@transaction.atomic
def api_key_rotate(*, actor: Actor, key_id: str, grace: timedelta) -> tuple[ApiKey, str, ApiKey]:
    """The new row, its key, and the old row, which works until its grace ends.

    The new key inherits name, limits and expiry. Raises NotFound, Conflict (revoked, expired, rotated before).
    """
    old = api_key_lock(key_id)
    now = timezone.now()
    if old.revoked_at is not None:
        raise Conflict("This API key was revoked.")
    if old.rotated_to_id is not None:
        raise Conflict(f"This API key was rotated already; rotate {old.rotated_to_id!r}.")
    if old.expires_at is not None and old.expires_at <= now:
        raise Conflict("This API key has expired.")
    made = key_generate(is_test=old.mode == ApiKey.Mode.TEST)
    row = ApiKey(
        name=old.name,
        mode=old.mode,
        key_hash=made.key_hash,
        hint=made.hint,
        user=old.user,
        project=old.project,
        expires_at=old.expires_at,
        created_by=actor.id,
        **{limit: getattr(old, limit) for limit in LIMITS},
    )
    row_insert(row, taken="Try again: this key exists already.")
    before = api_key_snapshot(old)
    old.grace_until, old.rotated_to = now + grace, row
    old.save()
    after = api_key_snapshot(old) | {"new_key": api_key_snapshot(row)}
    _audit(actor, "rotate", old, before=before, after=after)
    change_publish(kind="api_key", ref=old.key_hash)
    change_publish(kind="api_key", ref=row.key_hash)
    return row, made.raw, old


@transaction.atomic
def api_key_revoke(*, actor: Actor, key_id: str) -> ApiKey:
    """The row stays, for the ledger's readers. A key revoked before stays as it is. Raises NotFound."""
    row = api_key_lock(key_id)
    if row.revoked_at is None:
        before = api_key_snapshot(row)
        row.revoked_at = timezone.now()
        row.save()
        _audit(actor, "revoke", row, before=before, after=api_key_snapshot(row))
        change_publish(kind="api_key", ref=row.key_hash)
    return row


def api_key_lock(key_id: str) -> ApiKey:
    """The row, held until the transaction ends. Raises NotFound."""
    rows = ApiKey.objects.select_for_update(of=("self",)).select_related("user", "project__instance")
    row = rows.filter(key_id=key_id).first()
    if row is None:
        raise NotFound("There is no such API key.")
    return row


def _audit(
    actor: Actor,
    action: str,
    row: ApiKey,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    project, user = row.project, row.user
    audit_record(
        actor=actor,
        action=action,
        entity="api_key",
        entity_id=row.key_id,
        org_id=(project.instance.org_id if project else user.org_id if user else None) or "",
        instance_id=project.instance_id if project else "",
        before=before,
        after=after,
    )
