"""Instances from files: what the deploy commands share.

A file is the body of POST /config/instance, with `${ENV_NAME}` inside values read from the environment. Deploying it
twice changes nothing the second time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from django.db import transaction
from rest_framework.exceptions import ValidationError

from apps.accounts.audit import SYSTEM, Actor
from apps.accounts.models import AuditEntry, Instance
from apps.config.serializers.instances import (
    InstanceCreateSerializer,
    InstanceUpdateSerializer,
    instance_changes,
)
from apps.config.services.instances import instance_create_with_keys, instance_update_with_keys
from apps.core.drf import flat_faults
from apps.core.errors import GatewayError
from apps.core.ids import uuid7
from apps.core.jsonbody import json_object_read

_variable = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class DeployRefused(Exception):
    """str(exc) says what to mend, one fault a line."""


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """changes: the audit rows this wrote (in a dry run: would have). webhook_secret: one just made, else ""."""

    instance_id: str
    is_new: bool
    changes: list[AuditEntry]
    webhook_secret: str = ""


def deploy_file_read(path: Path) -> dict[str, Any]:
    """The file with the environment's values in it. Raises DeployRefused."""
    try:
        raw = json_object_read(path.read_bytes())
    except OSError as exc:
        raise DeployRefused(f"{path}: {exc.strerror}.") from exc
    except GatewayError as exc:
        raise DeployRefused(f"{path}: {exc.message}") from exc
    missing = sorted({name for name in _variables(raw) if not os.environ.get(name)})
    if missing:
        raise DeployRefused(
            "\n".join(f"{path}: the environment variable {name} is not set." for name in missing)
        )
    filled: dict[str, Any] = _fill(raw)
    return filled


def _variables(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _variable.findall(value)
    elif isinstance(value, Mapping):
        for below in value.values():
            yield from _variables(below)
    elif isinstance(value, list):
        for below in value:
            yield from _variables(below)


def _fill(value: Any) -> Any:
    if isinstance(value, str):
        return _variable.sub(lambda found: os.environ[found[1]], value)
    if isinstance(value, Mapping):
        return {name: _fill(below) for name, below in value.items()}
    if isinstance(value, list):
        return [_fill(below) for below in value]
    return value


def instance_deploy(
    given: Mapping[str, Any],
    *,
    instance_id: str | None = None,
    may_create: bool = True,
    is_dry_run: bool = False,
) -> Deployed:
    """Create or update one instance. instance_id: where the file leaves it out. Raises DeployRefused.

    A dry run does it all and rolls back, so it meets every refusal the real one would.
    """
    body = {"instance_id": instance_id, **given} if instance_id else dict(given)
    # A request id of its own tells this run's audit rows from those of others.
    actor = msgspec.structs.replace(SYSTEM, request_id=str(uuid7()))
    try:
        with transaction.atomic():
            done = _deploy(body, actor=actor, may_create=may_create)
            transaction.set_rollback(is_dry_run)
    except ValidationError as exc:
        raise DeployRefused(_lines(flat_faults(exc.detail))) from exc
    except GatewayError as exc:
        raise DeployRefused(_lines(exc.details.get("fields", {})) or exc.message) from exc
    return done


def _deploy(body: dict[str, Any], *, actor: Actor, may_create: bool) -> Deployed:
    named = body.get("instance_id")
    if not isinstance(named, str):
        raise DeployRefused("instance_id: Name the instance.")
    row = Instance.objects.filter(instance_id=named).first()
    if row is not None:
        update = InstanceUpdateSerializer(row, data=body, partial=True)
        update.is_valid(raise_exception=True)
        row, secret = instance_update_with_keys(
            actor=actor, instance_id=named, **instance_changes(update.validated_data, row)
        )
    elif not may_create:
        raise DeployRefused(f"There is no instance {named!r}.")
    elif not body.get("org_id"):
        raise DeployRefused("org_id: A new instance needs one.")
    else:
        create = InstanceCreateSerializer(data=body)
        create.is_valid(raise_exception=True)
        given = create.validated_data
        row, secret = instance_create_with_keys(
            actor=actor,
            org_id=given["org_id"],
            name=given["name"],
            instance_id=named,
            may_create_org=True,
            **instance_changes(given),
        )
    changes = list(AuditEntry.objects.filter(request_id=actor.request_id).order_by("id"))
    is_new = any(change.entity == "instance" and change.action == "create" for change in changes)
    return Deployed(instance_id=named, is_new=is_new, changes=changes, webhook_secret=secret)


def _lines(faults: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {text}" for name, texts in faults.items() for text in texts)


def deployed_lines(done: Deployed, *, is_dry_run: bool) -> Iterator[str]:
    """What happened, for a terminal; audit rows hold no secrets, so neither do these lines."""
    verb = "created" if done.is_new else "updated" if done.changes else "unchanged"
    yield f"{done.instance_id}: {'would be ' if is_dry_run and done.changes else ''}{verb}"
    for change in done.changes:
        yield f"  {change.action} {change.entity} {change.entity_id}"
        for name in {**change.before, **change.after}:
            yield f"    {name}: {_shown(change.before, name)} -> {_shown(change.after, name)}"
    if done.webhook_secret and not is_dry_run:
        yield f"  Webhook secret, shown only now: {done.webhook_secret}"


def _shown(state: Mapping[str, Any], name: str) -> str:
    return msgspec.json.encode(state[name]).decode() if name in state else "(nothing)"
