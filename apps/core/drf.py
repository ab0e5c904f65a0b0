"""How REST framework answers here: the one error body, strict JSON in, cursor pages out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import structlog
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.parsers import BaseParser
from rest_framework.response import Response

from apps.core.errors import (
    GatewayError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    error_body,
)
from apps.core.jsonbody import json_object_read
from apps.core.requests import request_id_of

log = structlog.get_logger(__name__)


class StrictJSONParser(BaseParser):
    """JSON objects only, with the same checks as the lean views (depth, NUL, lone surrogates)."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return json_object_read(stream.read())


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> Response:
    """Every failure of a REST framework view in the one envelope. A bug is logged and answered as a plain 500."""
    request_id = request_id_of(context["request"]._request)
    failure = translate(exc, method=context["request"].method, view=context.get("view"))
    if isinstance(failure, InternalError):
        log.error("unhandled_exception", request_id=request_id, exc_info=exc)
    return Response(
        error_body(failure, request_id=request_id), status=failure.status_code, headers=failure.headers
    )


def translate(exc: Exception, *, method: str, view: Any) -> GatewayError:
    """The member of our tree that says the same."""
    if isinstance(exc, GatewayError):
        return exc
    if isinstance(exc, exceptions.ValidationError):
        return InvalidRequest.for_fields(_flatten(exc.detail))
    if isinstance(exc, exceptions.MethodNotAllowed):
        return MethodNotAllowed(method, list(getattr(view, "allowed_methods", [])))
    if isinstance(exc, exceptions.Throttled):
        return RateLimited(retry_after_s=getattr(exc, "wait", None) or 1)
    if isinstance(exc, Http404 | exceptions.NotFound):
        return NotFound()
    if isinstance(exc, DjangoPermissionDenied | exceptions.PermissionDenied):
        return PermissionDenied()
    if isinstance(exc, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return Unauthenticated()
    if isinstance(exc, exceptions.APIException) and exc.status_code == 413:
        return PayloadTooLarge()
    if isinstance(exc, exceptions.APIException) and exc.status_code < 500:
        return InvalidRequest(str(exc.detail))
    return InternalError()


def _flatten(detail: Any, prefix: str = "") -> dict[str, str | list[str]]:
    """REST framework's nested error detail as dotted names: {"authorized_users.0.user_id": ["…"]}."""
    if isinstance(detail, Mapping):
        items = [(f"{prefix}.{name}" if prefix else str(name), value) for name, value in detail.items()]
    elif isinstance(detail, list) and any(isinstance(entry, Mapping) for entry in detail):
        items = [(f"{prefix}.{index}", value) for index, value in enumerate(detail) if value]
    else:
        return {prefix or "body": [str(text) for text in (detail if isinstance(detail, list) else [detail])]}
    flat: dict[str, str | list[str]] = {}
    for name, value in items:
        flat |= _flatten(value, name)
    return flat


def refuse(fields: Mapping[str, str]) -> NoReturn:
    raise InvalidRequest.for_fields(dict(fields))
