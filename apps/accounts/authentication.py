"""From a request to its Caller: one function for the lean views, one class for REST framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.accounts.changes import run_in_database_thread, snapshot_read
from apps.accounts.last_used import key_touch
from apps.accounts.selectors import Caller, caller_get
from apps.core.edge import edge_check
from apps.core.errors import Unauthenticated
from apps.core.requests import api_key_of, client_address_of

if TYPE_CHECKING:
    # REST framework's views load this module by name while they are being imported themselves.
    from rest_framework.views import APIView


def _count_failure(request: HttpRequest) -> None:
    edge_check(request, group="bad-key", rate=settings.DE_BAD_KEY_RATE)


async def authenticate_async(request: HttpRequest) -> Caller:
    """Raises Unauthenticated, PermissionDenied, RateLimited (too many bad keys from one address)."""
    try:
        raw_key = api_key_of(request)
        if raw_key is None:
            raise Unauthenticated
        caller = await snapshot_read(caller_get, raw_key, address=client_address_of(request))
    except Unauthenticated:
        await run_in_database_thread(_count_failure, request)
        raise
    key_touch(caller)
    return caller


def authenticate(request: HttpRequest) -> Caller:
    """As authenticate_async."""
    try:
        raw_key = api_key_of(request)
        if raw_key is None:
            raise Unauthenticated
        caller = caller_get(raw_key, address=client_address_of(request))
    except Unauthenticated:
        _count_failure(request)
        raise
    key_touch(caller)
    return caller


class ApiKeyAuthentication(BaseAuthentication):
    """`request.auth` is the Caller."""

    def authenticate(self, request: Request) -> tuple[Any, Caller]:
        return None, authenticate(request._request)

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasCaller(BasePermission):
    """Authentication already refused everybody else; what a caller may touch is each view's question."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, Caller)


def caller_of(request: Request) -> Caller:
    return cast(Caller, request.auth)
