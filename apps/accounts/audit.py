"""The audit log: one row for every write to the configuration, in the write's own transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from apps.accounts.models import AuditEntry
from apps.accounts.selectors import Caller


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who a write is put down to."""

    kind: str  # "user", "project" or "system"
    id: str = ""
    key_id: str = ""
    request_id: str = ""

    @classmethod
    def from_caller(cls, caller: Caller, *, request_id: str) -> Actor:
        key_id = caller.key.key_id if caller.key else ""
        if caller.project is not None:
            return cls(kind="project", id=caller.project.project_id, key_id=key_id, request_id=request_id)
        user_id = caller.user.user_id if caller.user else ""
        return cls(kind="user", id=user_id, key_id=key_id, request_id=request_id)


SYSTEM = Actor(kind="system")


def audit_record(
    *,
    actor: Actor,
    action: str,
    entity: str,
    entity_id: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    org_id: str = "",
    instance_id: str = "",
) -> None:
    """before, after: JSON values without secrets; only the fields that differ are kept."""
    old, new = dict(before or {}), dict(after or {})
    changed = [
        name for name in {**old, **new} if old.get(name) != new.get(name) or (name in old) != (name in new)
    ]
    AuditEntry.objects.create(
        actor_kind=actor.kind,
        actor_id=actor.id,
        key_id=actor.key_id,
        request_id=actor.request_id,
        action=action,
        entity=entity,
        entity_id=entity_id,
        org_id=org_id,
        instance_id=instance_id,
        before={name: old[name] for name in changed if name in old},
        after={name: new[name] for name in changed if name in new},
    )
