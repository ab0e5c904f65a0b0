"""Users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.accounts.audit import Actor, audit_record
from apps.accounts.changes import ALL, change_publish
from apps.accounts.models import Instance, InstanceAccess, Organization, User
from apps.accounts.services.rows import row_insert, row_save
from apps.core.errors import Conflict, InstanceNotFound, InvalidRequest, NotFound

EDITABLE = ("email", "name", "role", "org_id", "default_instance_id", "is_active")


def user_snapshot(row: User) -> dict[str, Any]:
    instances = dict(row.accesses.order_by("instance_id").values_list("instance_id", "permission"))
    return (
        {"user_id": row.user_id} | {name: getattr(row, name) for name in EDITABLE} | {"instances": instances}
    )


@transaction.atomic
def user_create(
    *,
    actor: Actor,
    email: str,
    user_id: str | None = None,
    fields: Mapping[str, Any] | None = None,
    password: str | None = None,
) -> User:
    """fields: of EDITABLE. password: for the admin panel; without one the user has only API keys.

    Raises Conflict, NotFound (organization), InstanceNotFound, InvalidRequest.
    """
    row = User(email=email, **({"user_id": user_id} if user_id else {}))
    row.set_password(password)
    _fields_set(row, fields or {})
    row_insert(row, taken="There is a user with this id or this e-mail address already.")
    _audit(actor, "create", row, after=user_snapshot(row))
    change_publish(kind="user", ref=row.user_id)
    return row


@transaction.atomic
def user_update(*, actor: Actor, user_id: str, fields: Mapping[str, Any]) -> User:
    """fields: of EDITABLE; what is left out stays. Moving to another organization ends the accesses in the old one.

    Nothing changed, nothing written. Raises as user_create.
    """
    row = user_lock(user_id)
    before = user_snapshot(row)
    _self_guard(
        actor, row, is_ending=fields.get("is_active") is False or fields.get("role", row.role) != row.role
    )
    _fields_set(row, fields)
    if row.org_id != before["org_id"]:
        InstanceAccess.objects.filter(user=row).exclude(instance__org_id=row.org_id).delete()
    after = user_snapshot(row)
    if after != before:
        row_save(row, taken="There is a user with this e-mail address already.")
        _audit(actor, "update", row, before=before, after=after)
        change_publish(kind="user", ref=row.user_id)
    return row


@transaction.atomic
def user_delete(*, actor: Actor, user_id: str) -> User:
    """With their API keys. Raises NotFound, Conflict (oneself)."""
    row = user_lock(user_id)
    _self_guard(actor, row, is_ending=True)
    before = user_snapshot(row)
    User.objects.filter(pk=row.pk).delete()
    _audit(actor, "delete", row, before=before)
    change_publish(kind="user", ref=user_id)
    change_publish(kind="api_key", ref=ALL)
    return row


def user_lock(user_id: str) -> User:
    """The row, held until the transaction ends. Raises NotFound."""
    row = User.objects.select_for_update().filter(user_id=user_id).first()
    if row is None:
        raise NotFound("There is no such user.")
    return row


def _self_guard(actor: Actor, row: User, *, is_ending: bool) -> None:
    """So that there is always a superadmin left: nobody takes away their own rights."""
    if is_ending and actor.kind == "user" and actor.id == row.user_id:
        raise Conflict("You can't delete, switch off or change the role of the user you are yourself.")


def _fields_set(row: User, fields: Mapping[str, Any]) -> None:
    moves = "org_id" in fields and fields["org_id"] != row.org_id
    for name in EDITABLE:
        if name in fields:
            setattr(row, name, fields[name])
    row.email = row.email.lower()
    if row.org_id is not None and not Organization.objects.filter(org_id=row.org_id).exists():
        raise NotFound(f"There is no organization {row.org_id!r}.")
    if row.org_id is None and row.role != User.Role.SUPERADMIN:
        raise InvalidRequest.for_fields({"org_id": "Only a superadmin is without an organization."})
    _default_instance_check(row, is_new="default_instance_id" in fields, moves=moves)


def _default_instance_check(row: User, *, is_new: bool, moves: bool) -> None:
    if row.default_instance_id is None or not (is_new or moves):
        return
    instance = Instance.objects.filter(instance_id=row.default_instance_id).first()
    if instance is None:
        raise InstanceNotFound(f"There is no instance {row.default_instance_id!r}.")
    if row.role != User.Role.SUPERADMIN and instance.org_id != row.org_id:
        if is_new:
            raise InvalidRequest.for_fields(
                {"default_instance_id": "This instance belongs to another organization."}
            )
        row.default_instance_id = None


def _audit(
    actor: Actor,
    action: str,
    row: User,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    audit_record(
        actor=actor,
        action=action,
        entity="user",
        entity_id=row.user_id,
        before=before,
        after=after,
        org_id=row.org_id or "",
    )
