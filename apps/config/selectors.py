"""From a model's row and a tenant's keys to the ModelSpec an adapter can use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from django.conf import settings

from apps.accounts.changes import Cache
from apps.accounts.selectors import InstanceRecord
from apps.config.models import ModelConfig, ProviderKey
from apps.core.crypto import decrypt
from apps.core.errors import InvalidRequest, MissingApiKey, ModelNotFound
from apps.providers.mapping import CompiledMapping, mapping_compile
from apps.providers.registry import MAPPED, TEXT_ADAPTERS, text_adapter
from apps.providers.types import ModelSpec, Timeouts

# The makers whose protocols apps/sandbox speaks; a test holds this to what is there.
SANDBOX_PROVIDERS = frozenset(("openai", "anthropic", "gemini"))

# The older form may leave the provider out; then the model's name tells.
_PREFIXES = (
    ("claude", "anthropic"),
    ("gpt", "openai"),
    ("chatgpt", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("gemini", "gemini"),
)
# Other people's words for the same makers.
_PROVIDER_ALIASES = {"google": "gemini", "claude": "anthropic"}


class ModelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A model as the hot path needs it. is_listed: it has a row; else it was named by its provider's own name."""

    model_id: str
    provider_id: str
    adapter: str
    model: str
    capabilities: frozenset[str]
    rate_limits: Mapping[str, int]
    pricing: Mapping[str, Any]
    profile: Mapping[str, Any]
    timeouts: Timeouts
    mapping: CompiledMapping | None
    is_deprecated: bool
    is_listed: bool = True


def _record(row: ModelConfig) -> ModelRecord:
    return ModelRecord(
        model_id=row.model_id,
        provider_id=row.provider_id,
        adapter=row.adapter,
        model=row.model,
        capabilities=frozenset(name for name, has in row.capabilities.items() if has),
        rate_limits=row.rate_limits,
        pricing=row.pricing,
        profile=row.profile,
        timeouts=Timeouts(**row.timeouts),
        mapping=mapping_compile(row.payload_mapping) if row.adapter == MAPPED else None,
        is_deprecated=row.status == ModelConfig.Status.DEPRECATED,
    )


def _by_model_id(model_id: str) -> ModelRecord | None:
    row = ModelConfig.objects.filter(model_id=model_id).first()
    return None if row is None else _record(row)


def _by_wire_name(name: str) -> ModelRecord | None:
    """name: "provider/model". Of several rows for one provider model the oldest answers."""
    provider, _, model = name.partition("/")
    row = ModelConfig.objects.filter(provider_id=provider, model=model).order_by("created_at").first()
    if row is not None:
        return _record(row)
    if provider not in TEXT_ADAPTERS or provider == MAPPED:
        return None
    return ModelRecord(
        model_id=model,
        provider_id=provider,
        adapter=provider,
        model=model,
        capabilities=frozenset(("text",)),
        rate_limits={},
        pricing={},
        profile={},
        timeouts=Timeouts(),
        mapping=None,
        is_deprecated=False,
        is_listed=False,
    )


def _provider_keys(instance_id: str) -> Mapping[str, str]:
    rows = ProviderKey.objects.filter(instance_id=instance_id).values_list("provider", "api_key_encrypted")
    return {provider: decrypt(token) for provider, token in rows}


_models = Cache("model_config", _by_model_id, max_items=20_000)
_wire_names = Cache("model_config", _by_wire_name, is_derived=True)
_keys = Cache("provider_key", _provider_keys)


def model_get(model_id: str) -> ModelRecord:
    """Raises ModelNotFound."""
    record = _models.get(model_id)
    if record is None:
        raise ModelNotFound(
            f"There is no model {model_id!r}; GET /config/model-config lists those there are."
        )
    return record


def model_get_by_name(name: str) -> ModelRecord:
    """The older `model` form: "provider:model", one of our own ids, or a bare name whose prefix tells its provider.

    Raises ModelNotFound.
    """
    provider, colon, model = name.partition(":")
    if colon and provider and model:
        record = _wire_names.get(f"{_PROVIDER_ALIASES.get(provider, provider)}/{model}")
    elif (record := _models.get(name)) is None:
        inferred = next((maker for prefix, maker in _PREFIXES if name.startswith(prefix)), None)
        record = _wire_names.get(f"{inferred}/{name}") if inferred else None
    if record is None:
        raise ModelNotFound(
            f"There is no model {name!r}; name one by `model_id`, or as `provider:model` with the provider's own name."
        )
    return record


def model_spec_make(record: ModelRecord, instance: InstanceRecord, *, is_test: bool) -> ModelSpec:
    """All an adapter needs to call `record` for this tenant. A test key gets the sandbox, whatever else is set.

    Raises MissingApiKey; InvalidRequest for a test key and a provider the sandbox does not speak.
    """
    base_url = _maker_base_url(record)
    chosen = instance.base_urls.get(record.provider_id)
    if is_test:
        if record.provider_id not in SANDBOX_PROVIDERS:
            raise InvalidRequest(
                f"The sandbox does not speak {record.provider_id}, so a test key can't use it: take a live one.",
                details={"provider": record.provider_id},
            )
        base_url, api_key = f"{settings.DE_SANDBOX_URL}/{record.provider_id}", "sandbox"
    else:
        base_url = chosen or base_url
        api_key = _live_key(record, instance, has_own_server=chosen is not None)
    return ModelSpec(
        model_id=record.model_id,
        provider=record.provider_id,
        adapter=record.adapter,
        model=record.model,
        base_url=base_url,
        api_key=api_key,
        profile=record.profile,
        mapping=record.mapping,
        timeouts=record.timeouts,
        is_sandbox=is_test,
        is_guarded=not is_test and (chosen is not None or record.adapter == MAPPED),
    )


def _maker_base_url(record: ModelRecord) -> str:
    """The maker's own address; "" for a mapping that names its own."""
    if record.adapter != MAPPED:
        return text_adapter(record.adapter).default_base_url
    if record.mapping is not None and record.mapping.origin is None and record.provider_id in TEXT_ADAPTERS:
        return text_adapter(record.provider_id).default_base_url
    return ""


def _live_key(record: ModelRecord, instance: InstanceRecord, *, has_own_server: bool) -> str:
    key = (_keys.get(instance.instance_id) or {}).get(record.provider_id)
    if key is not None:
        return key
    needs_none = record.mapping is not None and not record.mapping.uses_api_key
    if has_own_server or needs_none:
        return "none"  # an Ollama or a vLLM of the tenant's own asks for no key
    raise MissingApiKey(
        f"The instance {instance.instance_id!r} has no key for {record.provider_id}; "
        "store one with POST /config/provider-key, or use a test key.",
        details={"provider": record.provider_id},
    )


def model_choose(
    instance: InstanceRecord, *, model_id: str | None, model: str | None, default_model_id: str
) -> ModelRecord:
    """The model a request means. Raises ModelNotFound, InvalidRequest when it names two different ones."""
    if model_id is not None:
        record = model_get(model_id)
        if model is not None and model_get_by_name(model) != record:
            raise InvalidRequest.for_fields(
                {"model": "It names another model than `model_id`; send one of them."}
            )
        return record
    if model is not None:
        return model_get_by_name(model)
    return model_get(instance.default_model_id or default_model_id)
