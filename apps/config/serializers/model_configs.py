"""Model configs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.accounts.rules import rate_limits_faults
from apps.config.models import ModelConfig
from apps.config.prices import PRICING_KEYS, pricing_display
from apps.config.rules import (
    ADAPTERS,
    CONFIG_ID_PATTERN,
    CONFIG_ID_SHAPE,
    KNOWN_CAPABILITIES,
    MAX_PRICE_USD,
    MODEL_ID_PATTERN,
    MODEL_ID_SHAPE,
    MODEL_TYPES,
    TIMEOUT_NAMES,
    capabilities_faults,
    payload_mapping_faults,
    pricing_faults,
    timeouts_faults,
)
from apps.config.serializers.common import RATE_LIMITS_SCHEMA, TIMESTAMPS
from apps.core.fields import (
    ChoiceTextField,
    InputSerializer,
    ObjectField,
    PatternField,
    ProviderField,
    TextField,
)

_CAPABILITIES_SCHEMA = {
    "properties": {name: {"type": "boolean"} for name in KNOWN_CAPABILITIES},
    "additionalProperties": {"type": "boolean"},
}
_PRICING_SCHEMA = {
    "properties": {name: {"type": "number", "minimum": 0, "maximum": MAX_PRICE_USD} for name in PRICING_KEYS},
    "additionalProperties": False,
}
_TIMEOUTS_SCHEMA = {
    "properties": {
        name: {"type": "number", "minimum": 0, "exclusiveMinimum": True} for name in TIMEOUT_NAMES
    },
    "additionalProperties": False,
}


class ModelIdField(PatternField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(pattern=MODEL_ID_PATTERN, wants=MODEL_ID_SHAPE, **kwargs)


def _mapping_faults(value: Any) -> Mapping[str, str]:
    """Of the mapping alone; the service checks it against the model's capabilities."""
    return payload_mapping_faults(value, capabilities={}) if value else {}


class _ModelConfigFields(InputSerializer):
    """What hangs on several fields is the service's to check."""

    model_id = ModelIdField(required=False)
    provider_id = ProviderField(required=False)
    display_name = TextField(required=False, max_length=200)
    description = TextField(required=False, allow_blank=True, max_length=10_000)
    adapter = ChoiceTextField(
        required=False,
        choices=ADAPTERS,
        help_text="Left out: `mapped` with a (new) payload_mapping, else the provider's own.",
    )
    model = TextField(
        required=False, max_length=200, help_text="The provider's name for it; model_id if left out."
    )
    capabilities = ObjectField(required=False, check=capabilities_faults, schema=_CAPABILITIES_SCHEMA)
    pricing = ObjectField(
        required=False,
        check=pricing_faults,
        schema=_PRICING_SCHEMA,
        help_text="US dollars, in place of the price table; {} follows the table.",
    )
    rate_limits = ObjectField(required=False, check=rate_limits_faults, schema=RATE_LIMITS_SCHEMA)
    payload_mapping = ObjectField(required=False, check=_mapping_faults)
    profile = ObjectField(required=False, help_text="Facts the adapter consults.")
    timeouts = ObjectField(required=False, check=timeouts_faults, schema=_TIMEOUTS_SCHEMA)
    status = ChoiceTextField(required=False, choices=ModelConfig.Status.choices)

    ignored: ClassVar[frozenset[str]] = TIMESTAMPS | {"pricing_source"}


class ModelConfigCreateSerializer(_ModelConfigFields):
    config_id = PatternField(required=False, pattern=CONFIG_ID_PATTERN, wants=CONFIG_ID_SHAPE)
    model_id = ModelIdField()
    provider_id = ProviderField()
    capabilities = ObjectField(check=capabilities_faults, schema=_CAPABILITIES_SCHEMA)


class ModelConfigUpdateSerializer(_ModelConfigFields):
    fixed: ClassVar[frozenset[str]] = frozenset(("config_id",))


class ModelConfigQuery(serializers.Serializer[Any]):
    type = ChoiceTextField(required=False, choices=MODEL_TYPES)
    provider_id = serializers.CharField(required=False, max_length=64)
    status = ChoiceTextField(required=False, choices=ModelConfig.Status.choices)


class ModelConfigSerializer(serializers.Serializer[Any]):
    config_id = serializers.CharField()
    model_id = serializers.CharField()
    provider_id = serializers.CharField()
    display_name = serializers.CharField()
    description = serializers.CharField()
    adapter = serializers.ChoiceField(choices=ADAPTERS)
    model = serializers.CharField()
    capabilities = ObjectField(schema=_CAPABILITIES_SCHEMA)
    pricing = serializers.SerializerMethodField(help_text="US dollars, as in force now.")
    pricing_source = serializers.SerializerMethodField(help_text="Whose word the prices are.")
    rate_limits = ObjectField(schema=RATE_LIMITS_SCHEMA)
    payload_mapping = ObjectField()
    profile = ObjectField()
    timeouts = ObjectField(schema=_TIMEOUTS_SCHEMA)
    status = serializers.ChoiceField(choices=ModelConfig.Status.choices)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    @extend_schema_field({"type": "object"} | _PRICING_SCHEMA)
    def get_pricing(self, row: ModelConfig) -> dict[str, Any]:
        return pricing_display(row)[0]

    @extend_schema_field(serializers.ChoiceField(choices=("operator", "table", "unknown")))
    def get_pricing_source(self, row: ModelConfig) -> str:
        return pricing_display(row)[1]


class ModelConfigListSerializer(serializers.Serializer[Any]):
    configs = ModelConfigSerializer(many=True)
    total = serializers.IntegerField()
