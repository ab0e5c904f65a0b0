"""Instances."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.accounts.models import Instance, Permission
from apps.accounts.rules import (
    base_urls_faults,
    provider_keys_faults,
    provider_rate_limits_faults,
    webhook_secret_fault,
)
from apps.accounts.services.instances import (
    EDITABLE,
    NEW_SECRET,
    authorized_users_of,
    webhook_secret_mask,
)
from apps.config.serializers.common import RATE_LIMITS_SCHEMA, TIMESTAMPS, PageQuery
from apps.core.fields import (
    FlagField,
    InputSerializer,
    ObjectField,
    SlugField,
    TextField,
    choice_fault,
    is_slug,
    shown,
)

MAX_AUTHORIZED_USERS = 10_000

_ACCESS_SCHEMA = {
    "type": "object",
    "properties": {
        "user_id": {"type": "string", "minLength": 1, "maxLength": 64},
        "permission": {"type": "string", "enum": list(Permission.values)},
    },
    "required": ["user_id"],
    "additionalProperties": False,
}


@extend_schema_field(
    {
        "type": "array",
        "items": {"oneOf": [{"type": "string", "minLength": 1, "maxLength": 64}, _ACCESS_SCHEMA]},
    }
)
class AuthorizedUsersField(serializers.Field[dict[str, str], Any, Any, Any]):
    """[{user_id, permission}], a bare id meaning `user`; as {user id: permission} inside."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        if not isinstance(data, list) or len(data) > MAX_AUTHORIZED_USERS:
            raise serializers.ValidationError(
                f"Must be a list of at most {MAX_AUTHORIZED_USERS} user ids or objects with user_id and permission."
            )
        wanted: dict[str, str] = {}
        faults: dict[str, list[str]] = {}
        for index, entry in enumerate(data):
            given = entry if isinstance(entry, dict) else {"user_id": entry}
            if fault := self._fault(given, wanted):
                faults[str(index)] = [fault]
            else:
                wanted[given["user_id"]] = given.get("permission", Permission.USER.value)
        if faults:
            raise serializers.ValidationError(faults)
        return wanted

    def _fault(self, given: dict[str, Any], wanted: dict[str, str]) -> str:
        user_id, permission = given.get("user_id"), given.get("permission", Permission.USER.value)
        if unknown := [name for name in given if name not in ("user_id", "permission")]:
            return f"There is no such field here: {shown(unknown[0])}."
        if not isinstance(user_id, str) or not is_slug(user_id):
            return "Must be a user's id, or an object with user_id and permission."
        if permission not in Permission.values:
            return choice_fault(permission, list(Permission.values))
        return f"The user {user_id!r} is listed twice." if user_id in wanted else ""


class _InstanceFields(InputSerializer):
    name = TextField(required=False, max_length=200)
    api_keys = ObjectField(
        required=False,
        check=provider_keys_faults,
        schema={"additionalProperties": {"type": "string", "nullable": True, "maxLength": 4096}},
        help_text="Provider keys by provider; a provider left out keeps its key, null removes it.",
    )
    rate_limits = ObjectField(
        required=False,
        check=provider_rate_limits_faults,
        schema={"additionalProperties": RATE_LIMITS_SCHEMA},
        help_text="By provider; replaces what was there.",
    )
    base_urls = ObjectField(
        required=False,
        check=base_urls_faults,
        schema={"additionalProperties": {"type": "string"}},
        help_text="Origins in place of the makers', by provider, without /v1; replaces what was there.",
    )
    default_model_id = TextField(required=False, allow_blank=True, max_length=100)
    r2_bucket = TextField(required=False, allow_blank=True, max_length=255)
    authorized_users = AuthorizedUsersField(required=False, help_text="Replaces what was there.")
    webhook_secret = TextField(
        required=False,
        allow_null=True,
        allow_blank=True,  # as an instance without one reads
        max_length=200,
        trim_whitespace=False,
        help_text="`whsec_` and base64; null or left out at creation: one is made and shown once.",
    )
    is_active = FlagField(required=False)

    ignored: ClassVar[frozenset[str]] = TIMESTAMPS

    def validate_webhook_secret(self, value: str | None) -> str | None:
        row = self.instance
        # The masked form, sent back as it was read, leaves the secret alone.
        is_mask = isinstance(row, Instance) and value == webhook_secret_mask(row)
        if value is not None and not is_mask and (fault := webhook_secret_fault(value)):
            raise serializers.ValidationError(fault)
        return value


class InstanceCreateSerializer(_InstanceFields):
    instance_id = SlugField(required=False)
    org_id = SlugField(required=False, help_text="Left out: the caller's own organization.")
    name = TextField(max_length=200)


class InstanceUpdateSerializer(_InstanceFields):
    fixed: ClassVar[frozenset[str]] = frozenset(("instance_id", "org_id"))


class InstanceQuery(PageQuery):
    org_id = SlugField(required=False)


def instance_changes(given: dict[str, Any], row: Instance | None = None) -> dict[str, Any]:
    """A checked body as the keyword arguments of instance_create_with_keys and instance_update_with_keys."""
    changes: dict[str, Any] = {"fields": {name: given[name] for name in EDITABLE if name in given}}
    changes |= {name: given[name] for name in ("authorized_users", "api_keys") if name in given}
    if "webhook_secret" in given:
        secret = given["webhook_secret"]
        if row is None:
            changes["webhook_secret"] = secret
        elif secret is None:
            changes["webhook_secret"] = NEW_SECRET
        elif secret != webhook_secret_mask(row):
            changes["webhook_secret"] = secret
    return changes


class AccessSerializer(serializers.Serializer[Any]):
    user_id = serializers.CharField()
    permission = serializers.ChoiceField(choices=Permission.choices)


class InstanceSerializer(serializers.Serializer[Instance]):
    # Lists fetch with prefetch_related("accesses", "provider_keys").

    instance_id = serializers.CharField()
    org_id = serializers.CharField()
    name = serializers.CharField()
    api_keys = serializers.SerializerMethodField(help_text="Masked, by provider.")
    rate_limits = ObjectField(schema={"additionalProperties": RATE_LIMITS_SCHEMA})
    base_urls = ObjectField(schema={"additionalProperties": {"type": "string"}})
    default_model_id = serializers.CharField()
    r2_bucket = serializers.CharField()
    authorized_users = serializers.SerializerMethodField()
    webhook_secret = serializers.SerializerMethodField(
        help_text="Masked; whole in the one answer to the request that had it made."
    )
    is_active = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_api_keys(self, row: Instance) -> dict[str, str]:
        return dict(sorted((key.provider, key.hint) for key in row.provider_keys.all()))

    @extend_schema_field(AccessSerializer(many=True))
    def get_authorized_users(self, row: Instance) -> list[dict[str, str]]:
        return [
            {"user_id": user_id, "permission": permission}
            for user_id, permission in authorized_users_of(row).items()
        ]

    def get_webhook_secret(self, row: Instance) -> str:
        return webhook_secret_mask(row)
