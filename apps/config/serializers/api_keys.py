"""API keys of users and projects."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.accounts.models import ApiKey
from apps.accounts.rules import SERVICES, networks_read, rate_limits_faults
from apps.accounts.services.api_keys import api_key_state
from apps.config.serializers.common import RATE_LIMITS_SCHEMA, PageQuery
from apps.core.fields import (
    ChoiceTextField,
    InputSerializer,
    ObjectField,
    SlugField,
    TextField,
    WholeNumberField,
)

MAX_GRACE_S = 30 * 24 * 3600
DEFAULT_GRACE_S = 24 * 3600
MAX_LISTED = 100
STATES = ("active", "grace", "expired", "revoked")


class _MomentField(serializers.DateTimeField):
    """ISO 8601. A number is refused, as it would be anybody's guess of an epoch."""

    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, str):
            self.fail("invalid", format="YYYY-MM-DDThh:mm:ssZ")
        return super().to_internal_value(value)


class ApiKeyCreateSerializer(InputSerializer):
    name = TextField(max_length=200)
    mode = ChoiceTextField(
        required=False,
        choices=ApiKey.Mode.choices,
        help_text="Left out: `live`, or `test` when asked with a test key.",
    )
    user_id = SlugField(
        required=False, allow_null=True, help_text="Neither this nor project_id: the caller's own."
    )
    project_id = SlugField(required=False, allow_null=True)
    expires_at = _MomentField(required=False, allow_null=True, default=None)
    allowed_models = serializers.ListField(
        child=TextField(max_length=100), required=False, max_length=MAX_LISTED
    )
    allowed_services = serializers.ListField(
        child=ChoiceTextField(choices=SERVICES), required=False, max_length=MAX_LISTED
    )
    allowed_networks = serializers.ListField(
        child=TextField(max_length=64), required=False, max_length=MAX_LISTED, help_text="CIDR ranges."
    )
    rate_limits = ObjectField(required=False, check=rate_limits_faults, schema=RATE_LIMITS_SCHEMA)

    def validate_allowed_networks(self, value: list[str]) -> list[str]:
        networks, faults = networks_read(value)
        if faults:
            raise serializers.ValidationError({index: [text] for index, text in faults.items()})
        return networks

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("user_id") and attrs.get("project_id"):
            raise serializers.ValidationError(
                {"project_id": ["A key belongs to a user or to a project, not to both."]}
            )
        for name in ("allowed_models", "allowed_services", "allowed_networks"):
            attrs[name] = list(dict.fromkeys(attrs.get(name, [])))
        return attrs


class ApiKeyRotateSerializer(InputSerializer):
    grace_seconds = WholeNumberField(
        required=False,
        default=DEFAULT_GRACE_S,
        min_value=0,
        max_value=MAX_GRACE_S,
        help_text="How long the old key goes on working.",
    )


class ApiKeyQuery(PageQuery):
    user_id = SlugField(required=False)
    project_id = SlugField(required=False)
    mode = ChoiceTextField(required=False, choices=ApiKey.Mode.choices)


class ApiKeySerializer(serializers.Serializer[ApiKey]):
    key_id = serializers.CharField()
    name = serializers.CharField()
    mode = serializers.ChoiceField(choices=ApiKey.Mode.choices)
    hint = serializers.CharField(help_text="The key, masked.")
    state = serializers.SerializerMethodField()
    user_id = serializers.CharField(allow_null=True)
    project_id = serializers.CharField(allow_null=True)
    allowed_models = serializers.ListField(child=serializers.CharField())
    allowed_services = serializers.ListField(child=serializers.CharField())
    allowed_networks = serializers.ListField(child=serializers.CharField())
    rate_limits = ObjectField(schema=RATE_LIMITS_SCHEMA)
    expires_at = serializers.DateTimeField(allow_null=True)
    grace_until = serializers.DateTimeField(allow_null=True)
    rotated_to = serializers.CharField(source="rotated_to_id", allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    @extend_schema_field(serializers.ChoiceField(choices=STATES))
    def get_state(self, row: ApiKey) -> str:
        return api_key_state(row)


class ApiKeyCreatedSerializer(ApiKeySerializer):
    api_key = serializers.CharField(help_text="The key itself; never shown again.")


class ApiKeyRotatedSerializer(ApiKeyCreatedSerializer):
    old_key = ApiKeySerializer()
