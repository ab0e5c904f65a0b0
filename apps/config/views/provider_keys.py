"""Provider keys: stored, replaced, deleted, and never shown."""

from __future__ import annotations

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.access import instance_row
from apps.accounts.models import Instance
from apps.accounts.selectors import ADMIN
from apps.config.models import ProviderKey
from apps.config.serializers.common import deleted
from apps.config.serializers.provider_keys import ProviderKeyInputSerializer, ProviderKeySerializer
from apps.config.services.provider_keys import provider_key_delete, provider_key_set
from apps.config.views.base import ConfigView
from apps.core.errors import NotFound
from apps.core.fields import is_provider_id
from apps.core.openapi import documented

TAG = "config: provider keys"


class ProviderKeySetView(ConfigView):
    @documented(
        "provider_key_set",
        summary="Store an instance's key at a provider, or replace it",
        tag=TAG,
        body=ProviderKeyInputSerializer,
        data=ProviderKeySerializer,
        status=201,
        also=(200,),
        errors=(404,),
    )
    def post(self, request: Request) -> Response:
        given = self.read(ProviderKeyInputSerializer)
        instance = instance_row(self.caller, self.instance_id_of(given), level=ADMIN)
        row, is_new = provider_key_set(
            actor=self.actor,
            instance_id=instance.instance_id,
            provider=given["provider"],
            api_key=given["api_key"],
        )
        return self.answer(ProviderKeySerializer(row).data, status=201 if is_new else 200)


class ProviderKeyListView(ConfigView):
    @documented(
        "provider_key_list",
        summary="The providers an instance has a key for",
        tag=TAG,
        data=inline_serializer(
            "ProviderKeyPage",
            {
                "instance_id": serializers.CharField(),
                "provider_keys": ProviderKeySerializer(many=True),
                "total": serializers.IntegerField(),
            },
        ),
        errors=(404,),
    )
    def get(self, request: Request, instance_id: str) -> Response:
        instance = instance_row(self.caller, instance_id)
        rows = list(instance.provider_keys.all())
        listed = ProviderKeySerializer(rows, many=True).data
        return self.answer({"instance_id": instance_id, "provider_keys": listed, "total": len(rows)})


class ProviderKeyView(ConfigView):
    @documented(
        "provider_key_get",
        summary="Whether an instance has a key for a provider",
        tag=TAG,
        data=ProviderKeySerializer,
        errors=(404,),
    )
    def get(self, request: Request, instance_id: str, provider: str) -> Response:
        instance = instance_row(self.caller, instance_id)
        return self.answer(ProviderKeySerializer(provider_key_row(instance, provider)).data)

    @documented(
        "provider_key_delete",
        summary="Delete an instance's key at a provider",
        tag=TAG,
        data=deleted("ProviderKeyDeleted", "instance_id", "provider"),
        errors=(404,),
    )
    def delete(self, request: Request, instance_id: str, provider: str) -> Response:
        instance = instance_row(self.caller, instance_id, level=ADMIN)
        provider_key_row(instance, provider)
        provider_key_delete(actor=self.actor, instance_id=instance_id, provider=provider)
        return self.answer({"deleted": True, "instance_id": instance_id, "provider": provider})


def provider_key_row(instance: Instance, provider: str) -> ProviderKey:
    """Raises NotFound."""
    rows = ProviderKey.objects.filter(instance=instance)
    row = rows.filter(provider=provider).first() if is_provider_id(provider) else None
    if row is None:
        raise NotFound(f"The instance {instance.instance_id!r} has no key for {provider[:80]!r}.")
    return row
