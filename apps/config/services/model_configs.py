"""Model configs: which models are on offer, who speaks to them, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from apps.accounts.audit import Actor, audit_record
from apps.accounts.changes import change_publish
from apps.accounts.rules import rate_limits_faults
from apps.accounts.services.rows import row_insert, row_save
from apps.config.models import ModelConfig
from apps.config.prices import pricing_display
from apps.config.rules import (
    ADAPTERS,
    CONFIG_ID_SHAPE,
    MAPPED,
    MODEL_ID_SHAPE,
    capabilities_faults,
    is_config_id,
    is_model_id,
    payload_mapping_faults,
    pricing_faults,
    timeouts_faults,
)
from apps.core.errors import InvalidRequest, ModelNotFound
from apps.core.fields import PROVIDER_SHAPE, choice_fault, is_provider_id

EDITABLE = (
    *("model_id", "provider_id", "display_name", "description", "adapter", "model", "capabilities"),
    *("pricing", "rate_limits", "payload_mapping", "profile", "timeouts", "status"),
)
_CHECKS = {
    "capabilities": capabilities_faults,
    "rate_limits": rate_limits_faults,
    "timeouts": timeouts_faults,
    "pricing": pricing_faults,
}
_OBJECTS = (*_CHECKS, "payload_mapping", "profile")


def model_config_snapshot(row: ModelConfig) -> dict[str, Any]:
    return {"config_id": row.config_id} | {name: getattr(row, name) for name in EDITABLE}


# --- what may be saved --------------------------------------------------------------------------------------


def model_config_clean(fields: Mapping[str, Any], *, current: ModelConfig | None = None) -> dict[str, Any]:
    """All of EDITABLE, ready to be stored. fields: what is to change; the rest comes from `current` or defaults.

    Raises InvalidRequest that names everything wrong in the result, "payload_mapping.body.x" included.
    """
    values = _defaults(fields) if current is None else {name: getattr(current, name) for name in EDITABLE}
    values |= {name: fields[name] for name in EDITABLE if name in fields}
    if _switches_to_mapping(fields, current):
        values["adapter"] = MAPPED
    faults = _plain_faults(values)
    for name, check in _CHECKS.items():
        if name not in faults:
            faults |= _below(name, check(values[name]))
    if "provider_id" not in faults:
        faults |= _adapter_faults(values)
    if values["payload_mapping"] and not {"payload_mapping", "capabilities"} & faults.keys():
        found = payload_mapping_faults(values["payload_mapping"], capabilities=values["capabilities"])
        faults |= _below("payload_mapping", found)
    if faults:
        raise InvalidRequest.for_fields(faults)
    values["pricing"] = _own_pricing(values, current)
    return values


def _defaults(fields: Mapping[str, Any]) -> dict[str, Any]:
    model_id, provider_id = fields.get("model_id", ""), fields.get("provider_id", "")
    adapter = MAPPED if fields.get("payload_mapping") else provider_id if provider_id in ADAPTERS else ""
    empty: dict[str, Any] = {name: {} for name in _OBJECTS}
    return empty | {
        "model_id": model_id,
        "provider_id": provider_id,
        "display_name": model_id,
        "description": "",
        "adapter": adapter,
        "model": model_id,
        "status": ModelConfig.Status.ACTIVE.value,
    }


def _switches_to_mapping(fields: Mapping[str, Any], current: ModelConfig | None) -> bool:
    """A new mapping is meant to be used, here as at creation, unless an adapter is named beside it."""
    mapping = fields.get("payload_mapping")
    return (
        current is not None
        and bool(mapping)
        and "adapter" not in fields
        and mapping != current.payload_mapping
    )


def _plain_faults(values: Mapping[str, Any]) -> dict[str, str]:
    faults = {}
    if not is_model_id(values["model_id"]):
        faults["model_id"] = MODEL_ID_SHAPE
    if not is_provider_id(values["provider_id"]):
        faults["provider_id"] = PROVIDER_SHAPE
    for name in ("display_name", "model"):
        if not 1 <= len(values[name]) <= 200:
            faults[name] = "Must be text of 1 to 200 characters."
    for name in _OBJECTS:
        if not isinstance(values[name], dict):
            faults[name] = "Must be a JSON object."
    if values["status"] not in ModelConfig.Status.values:
        faults["status"] = choice_fault(values["status"], ModelConfig.Status.values)
    return faults


def _adapter_faults(values: Mapping[str, Any]) -> dict[str, str]:
    adapter = values["adapter"]
    if adapter == "":
        return {
            "adapter": f"No adapter is built in for the provider {values['provider_id']!r}: send a "
            f"payload_mapping, or name the adapter it is compatible with ({', '.join(ADAPTERS[:-1])})."
        }
    if adapter not in ADAPTERS:
        return {"adapter": choice_fault(adapter, list(ADAPTERS))}
    if adapter == MAPPED and not values["payload_mapping"]:
        return {"payload_mapping": "The adapter `mapped` needs one."}
    return {}


def _below(name: str, faults: Mapping[str, str]) -> dict[str, str]:
    return {f"{name}.{path}" if path else name: text for path, text in faults.items()}


def _own_pricing(values: Mapping[str, Any], current: ModelConfig | None) -> dict[str, Any]:
    """{} where the prices are those of the price table, as a client sends them back that has just read them: they
    must go on following the table."""
    given: dict[str, Any] = values["pricing"]
    followed = [ModelConfig(provider_id=values["provider_id"], model=values["model"])]
    if current is not None and not current.pricing:
        followed.append(current)
    return {} if any(given == pricing_display(row)[0] for row in followed) else given


def model_ids_require(model_ids: Sequence[str]) -> None:
    """For a key's allowed_models: a misspelt one would shut its owner out. Raises InvalidRequest."""
    known = set(ModelConfig.objects.filter(model_id__in=model_ids).values_list("model_id", flat=True))
    faults = {
        f"allowed_models.{index}": f"There is no model {model_id!r}."
        for index, model_id in enumerate(model_ids)
        if model_id not in known
    }
    if faults:
        raise InvalidRequest.for_fields(faults)


# --- the verbs ----------------------------------------------------------------------------------------------


@transaction.atomic
def model_config_create(
    *, actor: Actor, fields: Mapping[str, Any], config_id: str | None = None
) -> ModelConfig:
    """fields: of EDITABLE; model_id, provider_id and capabilities are needed. Raises InvalidRequest, Conflict."""
    values = model_config_clean(fields)
    chosen = config_id or f"cfg_{values['provider_id']}_{values['model_id']}"
    if not is_config_id(chosen):
        raise InvalidRequest.for_fields({"config_id": CONFIG_ID_SHAPE})
    row = ModelConfig(config_id=chosen, **values)
    row_insert(row, taken=f"There is a model {row.model_id!r} or a config {chosen!r} already.")
    _record(actor, "create", row, before=None, after=model_config_snapshot(row))
    change_publish(kind="model_config", ref=row.model_id)
    return row


@transaction.atomic
def model_config_update(*, actor: Actor, config_id: str, fields: Mapping[str, Any]) -> ModelConfig:
    """fields: of EDITABLE; what is left out stays. Nothing changed, nothing written.

    Raises ModelNotFound, InvalidRequest, Conflict.
    """
    row = model_config_lock(config_id)
    before = model_config_snapshot(row)
    for name, value in model_config_clean(fields, current=row).items():
        setattr(row, name, value)
    after = model_config_snapshot(row)
    if after != before:
        row_save(row, taken=f"There is a model {row.model_id!r} already.")
        _record(actor, "update", row, before=before, after=after)
        for model_id in {before["model_id"], row.model_id}:
            change_publish(kind="model_config", ref=model_id)
    return row


@transaction.atomic
def model_config_delete(*, actor: Actor, config_id: str) -> ModelConfig:
    """Raises ModelNotFound."""
    row = model_config_lock(config_id)
    before = model_config_snapshot(row)
    ModelConfig.objects.filter(pk=row.pk).delete()
    _record(actor, "delete", row, before=before, after=None)
    change_publish(kind="model_config", ref=row.model_id)
    return row


def model_config_lock(config_id: str) -> ModelConfig:
    """The row, held until the transaction ends. Raises ModelNotFound."""
    row = ModelConfig.objects.select_for_update().filter(config_id=config_id).first()
    if row is None:
        raise ModelNotFound(f"There is no model config {config_id!r}.")
    return row


def _record(
    actor: Actor,
    action: str,
    row: ModelConfig,
    *,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    audit_record(
        actor=actor,
        action=action,
        entity="model_config",
        entity_id=row.config_id,
        before=before,
        after=after,
    )
