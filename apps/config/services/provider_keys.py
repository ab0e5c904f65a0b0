"""The tenants' keys at the makers: written, replaced, deleted, never read back."""

from __future__ import annotations

from django.db import transaction

from apps.accounts.audit import Actor, audit_record
from apps.accounts.changes import change_publish
from apps.accounts.models import Instance
from apps.accounts.services.instances import instance_lock
from apps.config.models import ProviderKey
from apps.core.crypto import SecretUnreadable, decrypt, encrypt, mask
from apps.core.errors import NotFound


@transaction.atomic
def provider_key_set(
    *, actor: Actor, instance_id: str, provider: str, api_key: str
) -> tuple[ProviderKey, bool]:
    """The row, and whether it is new. The key it holds already is not written again. Raises InstanceNotFound."""
    # The lock on the instance also lets one of two first keys for a provider wait for the other.
    instance = instance_lock(instance_id)
    row = ProviderKey.objects.filter(instance=instance, provider=provider).first()
    if row is not None and _holds(row, api_key):
        return row, False
    before = {"provider": provider, "hint": row.hint} if row else None
    is_new = row is None
    row = row or ProviderKey(instance=instance, provider=provider)
    row.api_key_encrypted, row.hint = encrypt(api_key), mask(api_key)
    row.save()
    after = {"provider": provider, "hint": row.hint, "replaced_at": row.updated_at.isoformat()}
    _record(actor, "create" if is_new else "update", instance, provider, before=before, after=after)
    return row, is_new


@transaction.atomic
def provider_key_delete(*, actor: Actor, instance_id: str, provider: str) -> None:
    """Raises InstanceNotFound, NotFound."""
    instance = instance_lock(instance_id)
    row = ProviderKey.objects.filter(instance=instance, provider=provider).first()
    if row is None:
        raise NotFound(f"The instance {instance_id!r} has no key for {provider!r}.")
    row.delete()
    _record(actor, "delete", instance, provider, before={"provider": provider, "hint": row.hint}, after=None)


def _holds(row: ProviderKey, api_key: str) -> bool:
    try:
        return decrypt(row.api_key_encrypted) == api_key
    except SecretUnreadable:
        return False


def _record(
    actor: Actor,
    action: str,
    instance: Instance,
    provider: str,
    *,
    before: dict[str, str] | None,
    after: dict[str, str] | None,
) -> None:
    audit_record(
        actor=actor,
        action=action,
        entity="provider_key",
        entity_id=f"{instance.instance_id}/{provider}",
        before=before,
        after=after,
        org_id=instance.org_id,
        instance_id=instance.instance_id,
    )
    change_publish(kind="provider_key", ref=instance.instance_id)
