"""Model configs: read by everybody, written by superadmins, since a mapping decides where keys are sent."""

from __future__ import annotations

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.access import superadmin_require
from apps.config.models import ModelConfig
from apps.config.rules import is_config_id, is_model_id
from apps.config.serializers.common import deleted
from apps.config.serializers.model_configs import (
    ModelConfigCreateSerializer,
    ModelConfigListSerializer,
    ModelConfigQuery,
    ModelConfigSerializer,
    ModelConfigUpdateSerializer,
)
from apps.config.services.model_configs import (
    model_config_create,
    model_config_delete,
    model_config_update,
)
from apps.config.views.base import ConfigView
from apps.core.drf import query_read
from apps.core.errors import InvalidRequest, ModelNotFound
from apps.core.fields import choice_fault
from apps.core.openapi import documented

TAG = "config: model configs"


class ModelConfigListView(ConfigView):
    @documented(
        "model_config_list",
        summary="The models on offer, by provider and name",
        tag=TAG,
        query=ModelConfigQuery,
        data=ModelConfigListSerializer,
    )
    def get(self, request: Request) -> Response:
        query = query_read(request, ModelConfigQuery)
        rows: QuerySet[ModelConfig] = ModelConfig.objects.all()
        if "type" in query:
            rows = rows.filter(**{f"capabilities__{query['type']}": True})
        if "provider_id" in query:
            provider_filter_check(query["provider_id"])
            rows = rows.filter(provider_id=query["provider_id"])
        if "status" in query:
            rows = rows.filter(status=query["status"])
        configs = ModelConfigSerializer(rows, many=True).data
        return self.answer({"configs": configs, "total": len(configs)})

    @documented(
        "model_config_create",
        summary="Offer a model",
        tag=TAG,
        body=ModelConfigCreateSerializer,
        data=ModelConfigSerializer,
        status=201,
        errors=(409,),
    )
    def post(self, request: Request) -> Response:
        superadmin_require(self.caller)
        given = self.read(ModelConfigCreateSerializer)
        row = model_config_create(actor=self.actor, config_id=given.get("config_id"), fields=given)
        return self.answer(ModelConfigSerializer(row).data, status=201)


class ModelConfigView(ConfigView):
    @documented(
        "model_config_get",
        summary="One model, by config_id or model_id",
        tag=TAG,
        data=ModelConfigSerializer,
        errors=(404,),
    )
    def get(self, request: Request, name: str) -> Response:
        return self.answer(ModelConfigSerializer(model_config_row(name)).data)

    @documented(
        "model_config_update",
        summary="Change the fields that are sent",
        tag=TAG,
        body=ModelConfigUpdateSerializer,
        data=ModelConfigSerializer,
        errors=(404, 409),
    )
    def put(self, request: Request, name: str) -> Response:
        superadmin_require(self.caller)
        row = model_config_row(name)
        given = self.read(ModelConfigUpdateSerializer, row=row)
        row = model_config_update(actor=self.actor, config_id=row.config_id, fields=given)
        return self.answer(ModelConfigSerializer(row).data)

    @documented(
        "model_config_delete",
        summary="Offer a model no longer",
        tag=TAG,
        data=deleted("ModelConfigDeleted", "config_id", "model_id"),
        errors=(404,),
    )
    def delete(self, request: Request, name: str) -> Response:
        superadmin_require(self.caller)
        row = model_config_delete(actor=self.actor, config_id=model_config_row(name).config_id)
        return self.answer({"deleted": True, "config_id": row.config_id, "model_id": row.model_id})


def model_config_row(name: str) -> ModelConfig:
    """By model_id or config_id; where one model's config_id is another's model_id, the config_id wins.

    Raises ModelNotFound.
    """
    row = None
    if is_config_id(name) or is_model_id(name):
        rows = ModelConfig.objects
        row = rows.filter(config_id=name).first() or rows.filter(model_id=name).first()
    if row is None:
        raise ModelNotFound(f"There is no model {name[:160]!r}.")
    return row


def provider_filter_check(provider_id: str) -> None:
    """Raises InvalidRequest with the providers there are."""
    providers = list(
        ModelConfig.objects.order_by("provider_id").values_list("provider_id", flat=True).distinct()
    )
    if provider_id not in providers:
        raise InvalidRequest(
            f"provider_id: {choice_fault(provider_id, providers)}",
            details={
                "fields": {"provider_id": [choice_fault(provider_id, providers)]},
                "allowed": {"provider_id": providers},
            },
        )
