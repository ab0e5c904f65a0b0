"""Projects of an instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.accounts.audit import Actor, audit_record
from apps.accounts.changes import ALL, change_publish
from apps.accounts.models import Project
from apps.accounts.services.instances import instance_lock
from apps.accounts.services.rows import row_insert
from apps.core.errors import ProjectNotFound

EDITABLE = ("name", "description", "is_active")


def project_snapshot(row: Project) -> dict[str, Any]:
    return {"project_id": row.project_id, "instance_id": row.instance_id} | {
        name: getattr(row, name) for name in EDITABLE
    }


@transaction.atomic
def project_create(
    *, actor: Actor, instance_id: str, name: str, project_id: str | None = None, fields: Mapping[str, Any]
) -> Project:
    """fields: of EDITABLE. Raises InstanceNotFound, Conflict."""
    instance = instance_lock(instance_id)
    row = Project(instance=instance, name=name, **({"project_id": project_id} if project_id else {}))
    _fields_set(row, fields)
    row_insert(row, taken=f"There is a project {row.project_id!r} already.")
    _audit(actor, "create", row, after=project_snapshot(row))
    change_publish(kind="project", ref=row.project_id)
    return row


@transaction.atomic
def project_update(*, actor: Actor, project_id: str, fields: Mapping[str, Any]) -> Project:
    """fields: of EDITABLE; what is left out stays. Nothing changed, nothing written. Raises ProjectNotFound."""
    row = project_lock(project_id)
    before = project_snapshot(row)
    _fields_set(row, fields)
    after = project_snapshot(row)
    if after != before:
        row.save()
        _audit(actor, "update", row, before=before, after=after)
        change_publish(kind="project", ref=row.project_id)
    return row


@transaction.atomic
def project_delete(*, actor: Actor, project_id: str) -> Project:
    """With its API keys; the ledger keeps its rows. Raises ProjectNotFound."""
    row = project_lock(project_id)
    before = project_snapshot(row)
    Project.objects.filter(pk=row.pk).delete()
    _audit(actor, "delete", row, before=before)
    change_publish(kind="project", ref=project_id)
    change_publish(kind="api_key", ref=ALL)
    return row


def project_lock(project_id: str) -> Project:
    """The row, held until the transaction ends. Raises ProjectNotFound."""
    row = (
        Project.objects.select_for_update(of=("self",))
        .select_related("instance")
        .filter(pk=project_id)
        .first()
    )
    if row is None:
        raise ProjectNotFound(f"There is no project {project_id!r}.")
    return row


def _fields_set(row: Project, fields: Mapping[str, Any]) -> None:
    for name in EDITABLE:
        if name in fields:
            setattr(row, name, fields[name])


def _audit(
    actor: Actor,
    action: str,
    row: Project,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    audit_record(
        actor=actor,
        action=action,
        entity="project",
        entity_id=row.project_id,
        org_id=row.instance.org_id,
        instance_id=row.instance_id,
        before=before,
        after=after,
    )
