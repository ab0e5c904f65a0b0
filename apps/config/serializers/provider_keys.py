"""Provider keys: in they go, and only whether they are there comes out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.accounts.rules import provider_key_fault
from apps.core.fields import InputSerializer, ProviderField, SlugField, TextField


class ProviderKeyInputSerializer(InputSerializer):
    instance_id = SlugField(required=False, help_text="Left out: the instance of the request.")
    provider = ProviderField()
    api_key = TextField(max_length=4096)

    def validate_api_key(self, value: str) -> str:
        if fault := provider_key_fault(value):
            raise serializers.ValidationError(fault)
        if "…" in value:
            raise serializers.ValidationError("This is a masked key; send the key itself.")
        return value


class ProviderKeySerializer(serializers.Serializer[Any]):
    instance_id = serializers.CharField()
    provider = serializers.CharField()
    configured = serializers.BooleanField(default=True, read_only=True)
    hint = serializers.CharField(help_text="The key, masked.")
    updated_at = serializers.DateTimeField()
