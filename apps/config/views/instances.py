"""Instances: made by their organization, or by a superadmin for any."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.access import (
    grants_check,
    instance_row,
    instances_visible,
    org_admin_require,
    org_filter_check,
)
from apps.accounts.models import Instance
from apps.accounts.selectors import ADMIN
from apps.accounts.services.instances import authorized_users_of, instance_delete
from apps.config.serializers.common import deleted, listed
from apps.config.serializers.instances import (
    InstanceCreateSerializer,
    InstanceQuery,
    InstanceSerializer,
    InstanceUpdateSerializer,
    instance_changes,
)
from apps.config.services.instances import instance_create_with_keys, instance_update_with_keys
from apps.config.views.base import ConfigView, required
from apps.core.drf import query_read
from apps.core.openapi import documented

TAG = "config: instances"


class InstanceListView(ConfigView):
    @documented(
        "instance_list",
        summary="The instances this key may see",
        tag=TAG,
        query=InstanceQuery,
        data=listed("InstancePage", "instances", InstanceSerializer),
        errors=(404,),
    )
    def get(self, request: Request) -> Response:
        query = query_read(request, InstanceQuery)
        rows = instances_visible(self.caller).prefetch_related("accesses", "provider_keys")
        if "org_id" in query:
            org_filter_check(self.caller, query["org_id"])
            rows = rows.filter(org_id=query["org_id"])
        return self.page(rows, query, key="instances", serializer_class=InstanceSerializer)

    @documented(
        "instance_create",
        summary="Make an instance",
        tag=TAG,
        body=InstanceCreateSerializer,
        data=InstanceSerializer,
        status=201,
        errors=(404, 409),
    )
    def post(self, request: Request) -> Response:
        given = self.read(InstanceCreateSerializer)
        org_id = given.get("org_id") or (self.caller.user.org_id if self.caller.user else None)
        if org_id is None and self.caller.is_superadmin:
            raise required("org_id")
        org_admin_require(self.caller, org_id)
        row, secret = instance_create_with_keys(
            actor=self.actor,
            org_id=str(org_id),
            name=given["name"],
            instance_id=given.get("instance_id"),
            may_create_org=self.caller.is_superadmin,
            **instance_changes(given),
        )
        return self.answer(instance_shown(row, secret), status=201)


class InstanceView(ConfigView):
    @documented("instance_get", summary="One instance", tag=TAG, data=InstanceSerializer, errors=(404,))
    def get(self, request: Request, instance_id: str) -> Response:
        return self.answer(InstanceSerializer(instance_row(self.caller, instance_id)).data)

    @documented(
        "instance_update",
        summary="Change the fields that are sent",
        tag=TAG,
        body=InstanceUpdateSerializer,
        data=InstanceSerializer,
        errors=(404,),
    )
    def put(self, request: Request, instance_id: str) -> Response:
        row = instance_row(self.caller, instance_id, level=ADMIN)
        changes = instance_changes(self.read(InstanceUpdateSerializer, row=row), row)
        if "authorized_users" in changes:
            grants_check(self.caller, row, changes["authorized_users"], authorized_users_of(row))
        row, secret = instance_update_with_keys(actor=self.actor, instance_id=instance_id, **changes)
        return self.answer(instance_shown(row, secret))

    @documented(
        "instance_delete",
        summary="Delete an instance with its projects, their keys and its provider keys",
        tag=TAG,
        data=deleted("InstanceDeleted", "instance_id"),
        errors=(404,),
    )
    def delete(self, request: Request, instance_id: str) -> Response:
        instance_row(self.caller, instance_id, level=ADMIN)
        instance_delete(actor=self.actor, instance_id=instance_id)
        return self.answer({"deleted": True, "instance_id": instance_id})


def instance_shown(row: Instance, made_secret: str) -> dict[str, object]:
    """made_secret: the webhook secret if it was made just now, for this one answer."""
    return {**InstanceSerializer(row).data, **({"webhook_secret": made_secret} if made_secret else {})}
