"""Instances and the organizations they belong to."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.accounts.audit import Actor, audit_record
from apps.accounts.changes import ALL, change_publish
from apps.accounts.models import Instance, InstanceAccess, Organization, User
from apps.accounts.rules import WEBHOOK_SECRET_PREFIX
from apps.accounts.services.rows import row_insert
from apps.core.crypto import SecretUnreadable, decrypt, encrypt, mask
from apps.core.errors import InstanceNotFound, InvalidRequest, NotFound
from apps.core.urls_guard import UrlRefused, public_origin_check

EDITABLE = ("name", "rate_limits", "base_urls", "default_model_id", "r2_bucket", "is_active")


class _NewSecret:
    """The type of NEW_SECRET."""


NEW_SECRET = _NewSecret()  # as webhook_secret: make one


# --- what a row looks like in the audit log -----------------------------------------------------------------


def webhook_secret_mask(row: Instance) -> str:
    """ "" when there is none."""
    if not row.webhook_secret_encrypted:
        return ""
    secret = _webhook_secret_of(row)
    return "…" if secret is None else mask(secret)


def authorized_users_of(row: Instance) -> dict[str, str]:
    """user id -> permission."""
    # Sorted here and not by the query, so that rows fetched with the list's prefetch are used.
    return dict(sorted((access.user_id, access.permission) for access in row.accesses.all()))


def instance_snapshot(row: Instance) -> dict[str, Any]:
    snapshot: dict[str, Any] = {"instance_id": row.instance_id, "org_id": row.org_id}
    snapshot |= {name: getattr(row, name) for name in EDITABLE}
    return snapshot | {
        "authorized_users": authorized_users_of(row),
        "webhook_secret": webhook_secret_mask(row),
    }


# --- the verbs ----------------------------------------------------------------------------------------------


def organization_ensure(*, actor: Actor, org_id: str, may_create: bool) -> Organization:
    """Raises NotFound when there is none and none may be made."""
    row = Organization.objects.filter(org_id=org_id).first()
    if row is not None:
        return row
    if not may_create:
        raise NotFound(f"There is no organization {org_id!r}.")
    with transaction.atomic():
        row, is_new = Organization.objects.get_or_create(org_id=org_id, defaults={"name": org_id})
        if is_new:
            audit_record(
                actor=actor,
                action="create",
                entity="organization",
                entity_id=org_id,
                after={"org_id": org_id, "name": row.name},
                org_id=org_id,
            )
    return row


@transaction.atomic
def instance_create(
    *,
    actor: Actor,
    org_id: str,
    name: str,
    instance_id: str | None = None,
    fields: Mapping[str, Any] | None = None,
    authorized_users: Mapping[str, str] | None = None,
    webhook_secret: str | None = None,
    may_create_org: bool = False,
) -> tuple[Instance, str]:
    """The row, and the webhook secret if one had to be made (it is never shown again), else "".

    fields: of EDITABLE. authorized_users: user id -> permission. Raises Conflict, NotFound, InvalidRequest.
    """
    org = organization_ensure(actor=actor, org_id=org_id, may_create=may_create_org)
    row = Instance(org=org, name=name, **({"instance_id": instance_id} if instance_id else {}))
    _fields_set(row, fields or {})
    made = "" if webhook_secret else webhook_secret_make()
    row.webhook_secret_encrypted = encrypt(webhook_secret or made)
    row_insert(row, taken=f"There is an instance {row.instance_id!r} already.")
    touched = _authorized_users_set(row, authorized_users or {})
    audit_record(
        actor=actor,
        action="create",
        entity="instance",
        entity_id=row.instance_id,
        after=instance_snapshot(row),
        org_id=row.org_id,
        instance_id=row.instance_id,
    )
    _publish(row, touched)
    return row, made


@transaction.atomic
def instance_update(
    *,
    actor: Actor,
    instance_id: str,
    fields: Mapping[str, Any] | None = None,
    authorized_users: Mapping[str, str] | None = None,
    webhook_secret: str | _NewSecret | None = None,
) -> tuple[Instance, str]:
    """As instance_create; what is left out stays. authorized_users: the whole new list. Nothing changed, nothing
    written. Raises InstanceNotFound, InvalidRequest."""
    row = instance_lock(instance_id)
    before = instance_snapshot(row)
    _fields_set(row, fields or {})
    made = webhook_secret_make() if webhook_secret is NEW_SECRET else ""
    replaced = _webhook_secret_set(row, made or (webhook_secret if isinstance(webhook_secret, str) else ""))
    touched = set() if authorized_users is None else _authorized_users_set(row, authorized_users)
    after = instance_snapshot(row) | replaced
    if after != before:
        row.save()
        audit_record(
            actor=actor,
            action="update",
            entity="instance",
            entity_id=row.instance_id,
            before=before,
            after=after,
            org_id=row.org_id,
            instance_id=row.instance_id,
        )
        _publish(row, touched)
    return row, made


@transaction.atomic
def instance_delete(*, actor: Actor, instance_id: str) -> Instance:
    """With its projects, their keys, its provider keys and accesses; the ledger keeps its rows.

    Raises InstanceNotFound.
    """
    row = instance_lock(instance_id)
    projects = list(row.projects.values_list("project_id", flat=True))
    before = instance_snapshot(row) | {"projects": projects}
    Instance.objects.filter(pk=row.pk).delete()
    audit_record(
        actor=actor,
        action="delete",
        entity="instance",
        entity_id=instance_id,
        before=before,
        org_id=row.org_id,
        instance_id=instance_id,
    )
    change_publish(kind="instance", ref=instance_id)
    change_publish(kind="provider_key", ref=instance_id)
    # Whoever had access or had it as their default, and the keys of its projects: who knows how many.
    for kind in ("user", "project", "api_key"):
        change_publish(kind=kind, ref=ALL)
    return row


def instance_lock(instance_id: str) -> Instance:
    """The row, held until the transaction ends. Raises InstanceNotFound."""
    row = Instance.objects.select_for_update().filter(instance_id=instance_id).first()
    if row is None:
        raise InstanceNotFound(f"There is no instance {instance_id!r}.")
    return row


def webhook_secret_make() -> str:
    return WEBHOOK_SECRET_PREFIX + base64.b64encode(secrets.token_bytes(24)).decode("ascii")


# --- parts of them ------------------------------------------------------------------------------------------


def _fields_set(row: Instance, fields: Mapping[str, Any]) -> None:
    for name in EDITABLE:
        if name in fields:
            setattr(row, name, base_urls_clean(fields[name]) if name == "base_urls" else fields[name])


def _webhook_secret_set(row: Instance, secret: str) -> dict[str, str]:
    """What to note of it: two secrets may look alike behind their masks."""
    if not secret or secret == _webhook_secret_of(row):
        return {}
    row.webhook_secret_encrypted = encrypt(secret)
    return {"webhook_secret_replaced_at": timezone.now().isoformat()}


def _webhook_secret_of(row: Instance) -> str | None:
    try:
        return decrypt(row.webhook_secret_encrypted)
    except SecretUnreadable:
        return None


def base_urls_clean(base_urls: Mapping[str, str]) -> dict[str, str]:
    """Raises InvalidRequest."""
    cleaned, faults = {}, {}
    for provider, url in base_urls.items():
        try:
            cleaned[provider] = public_origin_check(url)
        except UrlRefused as exc:
            faults[f"base_urls.{provider}"] = str(exc)
    if faults:
        raise InvalidRequest.for_fields(faults)
    return cleaned


def _authorized_users_set(row: Instance, wanted: Mapping[str, str]) -> set[str]:
    """Make the accesses these; the ids of the users whose access changed."""
    current = authorized_users_of(row)
    known = set(User.objects.filter(org_id=row.org_id, pk__in=list(wanted)).values_list("pk", flat=True))
    faults = {
        f"authorized_users.{index}": f"There is no user {user_id!r} in the organization {row.org_id!r}."
        for index, user_id in enumerate(wanted)
        if user_id not in known and user_id not in current
    }
    if faults:
        raise InvalidRequest.for_fields(faults)
    touched = {user_id for user_id in {**current, **wanted} if current.get(user_id) != wanted.get(user_id)}
    InstanceAccess.objects.filter(instance=row, user_id__in=touched).delete()
    InstanceAccess.objects.bulk_create(
        InstanceAccess(instance=row, user_id=user_id, permission=wanted[user_id])
        for user_id in wanted
        if user_id in touched
    )
    return touched


def _publish(row: Instance, touched: set[str]) -> None:
    change_publish(kind="instance", ref=row.instance_id)
    if len(touched) == 1:
        change_publish(kind="user", ref=touched.pop())
    elif touched:
        change_publish(kind="user", ref=ALL)
