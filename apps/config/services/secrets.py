"""Re-encryption of everything secret under the newest key."""

from __future__ import annotations

import msgspec
from django.db import models, transaction

from apps.accounts.audit import Actor, audit_record
from apps.accounts.changes import ALL, change_publish
from apps.accounts.models import Instance
from apps.config.models import ProviderKey
from apps.core.crypto import SecretUnreadable, reencrypt


class SecretsRotated(msgspec.Struct):
    """unreadable: what no key in DE_ENCRYPTION_KEYS opens, each named for an operator."""

    provider_keys: int = 0
    webhook_secrets: int = 0
    unreadable: list[str] = []


@transaction.atomic
def secrets_rotate(*, actor: Actor) -> SecretsRotated:
    """Secrets that can't be read stay as they are, and are named."""
    done = SecretsRotated()
    for key in ProviderKey.objects.order_by("pk").iterator():
        done.provider_keys += _rotate(
            key, "api_key_encrypted", f"{key.provider} key of {key.instance_id}", done
        )
    for instance in Instance.objects.exclude(webhook_secret_encrypted="").iterator():
        name = f"webhook secret of {instance.instance_id}"
        done.webhook_secrets += _rotate(instance, "webhook_secret_encrypted", name, done)
    audit_record(
        actor=actor, action="rotate", entity="secrets", entity_id=ALL, after=msgspec.to_builtins(done)
    )
    change_publish(kind="provider_key", ref=ALL)
    return done


def _rotate(row: models.Model, field: str, name: str, done: SecretsRotated) -> bool:
    """Whether the row was written. Not row.save(): a key that is being replaced right now must not come back."""
    old = getattr(row, field)
    try:
        new = reencrypt(old)
    except SecretUnreadable:
        done.unreadable.append(name)
        return False
    rows = type(row)._default_manager.filter(pk=row.pk, **{field: old})
    return rows.update(**{field: new}) == 1
