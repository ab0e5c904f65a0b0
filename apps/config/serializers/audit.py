"""The audit log."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.core.drf import MAX_PAGE
from apps.core.fields import ChoiceTextField, ObjectField, TextField

ENTITIES = (
    "organization",
    "instance",
    "user",
    "project",
    "api_key",
    "provider_key",
    "model_config",
    "secrets",
)
MAX_ID = 2**63 - 1


class AuditQuery(serializers.Serializer[Any]):
    entity = ChoiceTextField(required=False, choices=ENTITIES)
    entity_id = TextField(required=False, max_length=160, trim_whitespace=False)
    actor_id = TextField(required=False, max_length=64, trim_whitespace=False)
    limit = serializers.IntegerField(required=False, default=100, min_value=1, max_value=MAX_PAGE)
    after = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_ID, help_text="`next` of the page before."
    )


class AuditEntrySerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    request_id = serializers.CharField()
    actor_kind = serializers.ChoiceField(choices=("user", "project", "system"))
    actor_id = serializers.CharField()
    key_id = serializers.CharField()
    org_id = serializers.CharField()
    instance_id = serializers.CharField()
    action = serializers.CharField()
    entity = serializers.CharField()
    entity_id = serializers.CharField()
    before = ObjectField()
    after = ObjectField()


class AuditPageSerializer(serializers.Serializer[Any]):
    entries = AuditEntrySerializer(many=True)
    next = serializers.CharField(
        allow_null=True, help_text="Send it as `after`; null: this is the last page."
    )
