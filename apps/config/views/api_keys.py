"""API keys: shown once, then only their hint."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.access import (
    KeyPowers,
    api_key_owner,
    api_key_row,
    api_key_row_to_manage,
    api_keys_visible,
    key_mint_check,
    project_row,
    user_row,
)
from apps.accounts.models import ApiKey
from apps.accounts.selectors import Caller
from apps.accounts.services.api_keys import (
    LIMITS,
    api_key_create,
    api_key_revoke,
    api_key_rotate,
)
from apps.config.serializers.api_keys import (
    ApiKeyCreatedSerializer,
    ApiKeyCreateSerializer,
    ApiKeyQuery,
    ApiKeyRotatedSerializer,
    ApiKeyRotateSerializer,
    ApiKeySerializer,
)
from apps.config.serializers.common import deleted, listed
from apps.config.services.model_configs import model_ids_require
from apps.config.views.base import ConfigView
from apps.core.drf import query_read
from apps.core.openapi import documented

TAG = "config: API keys"


class ApiKeyListView(ConfigView):
    @documented(
        "api_key_list",
        summary="The API keys this key may see, newest first",
        tag=TAG,
        query=ApiKeyQuery,
        data=listed("ApiKeyPage", "api_keys", ApiKeySerializer),
        errors=(404,),
    )
    def get(self, request: Request) -> Response:
        query = query_read(request, ApiKeyQuery)
        rows: QuerySet[ApiKey] = api_keys_visible(self.caller)
        if "user_id" in query:
            rows = rows.filter(user=user_row(self.caller, query["user_id"]))
        if "project_id" in query:
            rows = rows.filter(project=project_row(self.caller, query["project_id"]))
        if "mode" in query:
            rows = rows.filter(mode=query["mode"])
        return self.page(rows, query, key="api_keys", serializer_class=ApiKeySerializer)

    @documented(
        "api_key_create",
        summary="Make an API key, shown this once",
        tag=TAG,
        body=ApiKeyCreateSerializer,
        data=ApiKeyCreatedSerializer,
        status=201,
        errors=(404, 409),
    )
    def post(self, request: Request) -> Response:
        given = self.read(ApiKeyCreateSerializer)
        owner = api_key_owner(self.caller, user_id=given.get("user_id"), project_id=given.get("project_id"))
        mode = given.get("mode") or default_mode(self.caller)
        limits = {name: given[name] for name in LIMITS if name in given}
        key_mint_check(self.caller, KeyPowers(mode=mode, expires_at=given["expires_at"], **limits))
        model_ids_require(limits["allowed_models"])
        row, raw = api_key_create(
            actor=self.actor,
            owner=owner,
            name=given["name"],
            mode=mode,
            expires_at=given["expires_at"],
            limits=limits,
        )
        return self.answer({**ApiKeySerializer(row).data, "api_key": raw}, status=201)


class ApiKeyView(ConfigView):
    @documented("api_key_get", summary="One API key", tag=TAG, data=ApiKeySerializer, errors=(404,))
    def get(self, request: Request, key_id: str) -> Response:
        return self.answer(ApiKeySerializer(api_key_row(self.caller, key_id)).data)

    @documented(
        "api_key_revoke",
        summary="Revoke an API key; its row stays for the records",
        tag=TAG,
        data=deleted("ApiKeyDeleted", "key_id"),
        errors=(404,),
    )
    def delete(self, request: Request, key_id: str) -> Response:
        api_key_row_to_manage(self.caller, key_id)
        api_key_revoke(actor=self.actor, key_id=key_id)
        return self.answer({"deleted": True, "key_id": key_id})


class ApiKeyRotateView(ConfigView):
    @documented(
        "api_key_rotate",
        summary="Replace an API key; the old one works until its grace ends",
        tag=TAG,
        body=ApiKeyRotateSerializer,
        data=ApiKeyRotatedSerializer,
        status=201,
        errors=(404, 409),
    )
    def post(self, request: Request, key_id: str) -> Response:
        old = api_key_row_to_manage(self.caller, key_id)
        key_mint_check(self.caller, KeyPowers.of(old))
        grace = timedelta(seconds=self.read(ApiKeyRotateSerializer)["grace_seconds"])
        row, raw, old = api_key_rotate(actor=self.actor, key_id=key_id, grace=grace)
        shown = {**ApiKeySerializer(row).data, "api_key": raw, "old_key": ApiKeySerializer(old).data}
        return self.answer(shown, status=201)


def default_mode(caller: Caller) -> str:
    return ApiKey.Mode.TEST.value if caller.is_test else ApiKey.Mode.LIVE.value
