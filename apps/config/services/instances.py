"""An instance together with its provider keys and the model it names: what a deploy file or a PUT says in one go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.accounts.audit import Actor
from apps.accounts.models import Instance
from apps.accounts.services.instances import instance_create, instance_update
from apps.config.models import ModelConfig, ProviderKey
from apps.config.services.provider_keys import provider_key_delete, provider_key_set
from apps.core.errors import InvalidRequest, ModelNotFound


@transaction.atomic
def instance_create_with_keys(
    *, actor: Actor, api_keys: Mapping[str, str | None] | None = None, **instance: Any
) -> tuple[Instance, str]:
    """As accounts' instance_create, and its keys by provider."""
    _default_model_check(instance.get("fields") or {})
    row, made = instance_create(actor=actor, **instance)
    _keys_set(actor, row, api_keys or {})
    return row, made


@transaction.atomic
def instance_update_with_keys(
    *, actor: Actor, instance_id: str, api_keys: Mapping[str, str | None] | None = None, **changes: Any
) -> tuple[Instance, str]:
    """As accounts' instance_update. api_keys: providers that are left out keep their key, None removes it, and a
    masked key, as this service shows it, stays what it is."""
    _default_model_check(changes.get("fields") or {})
    row, made = instance_update(actor=actor, instance_id=instance_id, **changes)
    _keys_set(actor, row, api_keys or {})
    return row, made


def _default_model_check(fields: Mapping[str, Any]) -> None:
    model_id = fields.get("default_model_id")
    if model_id and not ModelConfig.objects.filter(model_id=model_id).exists():
        raise ModelNotFound(f"There is no model {model_id!r}.")


def _keys_set(actor: Actor, row: Instance, api_keys: Mapping[str, str | None]) -> None:
    stored = dict(ProviderKey.objects.filter(instance=row).values_list("provider", "hint"))
    for provider, api_key in api_keys.items():
        if api_key is None:
            if provider in stored:
                provider_key_delete(actor=actor, instance_id=row.pk, provider=provider)
        elif "…" not in api_key:
            provider_key_set(actor=actor, instance_id=row.pk, provider=provider, api_key=api_key)
        elif stored.get(provider) != api_key:
            raise InvalidRequest.for_fields(
                {f"api_keys.{provider}": "This is a masked key, and not the one that is stored."}
            )
