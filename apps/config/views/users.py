"""Users: managed by the admins of their organization."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.access import (
    KeyPowers,
    key_mint_check,
    org_admin_require,
    org_filter_check,
    superadmin_require,
    user_row,
    user_row_by_email,
    user_row_to_manage,
    users_visible,
)
from apps.accounts.models import User
from apps.accounts.services.api_keys import api_key_create
from apps.accounts.services.users import EDITABLE, user_create, user_delete, user_update
from apps.config.serializers.common import deleted, listed
from apps.config.serializers.users import (
    OrgQuery,
    UserCreatedSerializer,
    UserCreateSerializer,
    UserQuery,
    UserSerializer,
    UserUpdateSerializer,
)
from apps.config.views.api_keys import default_mode
from apps.config.views.base import ConfigView
from apps.core.drf import query_read
from apps.core.errors import NotFound
from apps.core.openapi import documented

TAG = "config: users"


class UserListView(ConfigView):
    @documented(
        "user_list",
        summary="The users this key may see",
        tag=TAG,
        query=UserQuery,
        data=listed("UserPage", "users", UserSerializer),
        errors=(404,),
    )
    def get(self, request: Request) -> Response:
        query = query_read(request, UserQuery)
        rows = users_visible(self.caller).prefetch_related("accesses")
        if "org_id" in query:
            org_filter_check(self.caller, query["org_id"])
            rows = rows.filter(org_id=query["org_id"])
        return self.page(rows, query, key="users", serializer_class=UserSerializer)

    @documented(
        "user_create",
        summary="Make a user, with a first API key if asked for",
        tag=TAG,
        body=UserCreateSerializer,
        data=UserCreatedSerializer,
        status=201,
        errors=(404, 409),
    )
    def post(self, request: Request) -> Response:
        given = self.read(UserCreateSerializer)
        if "org_id" not in given and not self.caller.is_superadmin:
            given["org_id"] = self.caller.admin_org_id
        org_admin_require(self.caller, given.get("org_id"))
        self.role_check(given)
        with transaction.atomic():
            fields = {name: given[name] for name in EDITABLE if name in given}
            user = user_create(
                actor=self.actor, email=given["email"], user_id=given.get("user_id"), fields=fields
            )
            api_key = self.first_key(user, given) if given["create_api_key"] else {}
        return self.answer({**UserSerializer(user).data, **api_key}, status=201)

    def role_check(self, given: dict[str, Any]) -> None:
        if given.get("role") == User.Role.SUPERADMIN:
            superadmin_require(self.caller)

    def first_key(self, user: User, given: dict[str, Any]) -> dict[str, str]:
        mode = given.get("api_key_mode") or default_mode(self.caller)
        key_mint_check(self.caller, KeyPowers(mode=mode))
        _, raw = api_key_create(actor=self.actor, owner=user, name="First key", mode=mode)
        return {"api_key": raw}


class UserView(ConfigView):
    @documented("user_get", summary="One user", tag=TAG, data=UserSerializer, errors=(404,))
    def get(self, request: Request, user_id: str) -> Response:
        return self.answer(UserSerializer(user_row(self.caller, user_id)).data)

    @documented(
        "user_update",
        summary="Change the fields that are sent",
        tag=TAG,
        body=UserUpdateSerializer,
        data=UserSerializer,
        errors=(404, 409),
    )
    def put(self, request: Request, user_id: str) -> Response:
        row = user_row_to_manage(self.caller, user_id)
        given = self.read(UserUpdateSerializer, row=row)
        if given.get("role") == User.Role.SUPERADMIN or given.get("org_id", row.org_id) != row.org_id:
            superadmin_require(self.caller)
        return self.answer(UserSerializer(user_update(actor=self.actor, user_id=user_id, fields=given)).data)

    @documented(
        "user_delete",
        summary="Delete a user with their API keys",
        tag=TAG,
        data=deleted("UserDeleted", "user_id"),
        errors=(404, 409),
    )
    def delete(self, request: Request, user_id: str) -> Response:
        user_row_to_manage(self.caller, user_id)
        user_delete(actor=self.actor, user_id=user_id)
        return self.answer({"deleted": True, "user_id": user_id})


class UserByEmailView(ConfigView):
    @documented(
        "user_get_by_email",
        summary="The user with an e-mail address",
        tag=TAG,
        query=OrgQuery,
        data=UserSerializer,
        errors=(404,),
    )
    def get(self, request: Request, email: str) -> Response:
        query = query_read(request, OrgQuery)
        if "org_id" in query:
            org_filter_check(self.caller, query["org_id"])
        row = user_row_by_email(self.caller, email)
        if query.get("org_id", row.org_id) != row.org_id:
            raise NotFound("There is no such user in that organization.")
        return self.answer(UserSerializer(row).data)
