"""How REST framework answers here: the one error body, strict JSON in, envelopes and cursor pages out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.db.models import Model, Q, QuerySet
from django.http import Http404
from rest_framework import exceptions, serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
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
    ServiceUnavailable,
    Unauthenticated,
    error_body,
)
from apps.core.jsonbody import json_object_read
from apps.core.requests import request_id_of

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Model)

MAX_PAGE = 1_000


class StrictJSONParser(BaseParser):
    """JSON objects only, with the same checks as the lean views (depth, NUL, lone surrogates)."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return json_object_read(stream.read())


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> Response:
    """Every failure of a REST framework view in the one envelope. A bug is logged and answered as a plain 500."""
    request_id = request_id_of(context["request"]._request)
    failure = translate(exc, method=context["request"].method, view=context.get("view"))
    if isinstance(failure, InternalError | ServiceUnavailable):
        log.error("unhandled_exception", request_id=request_id, exc_info=exc)
    return Response(
        error_body(failure, request_id=request_id), status=failure.status_code, headers=failure.headers
    )


def translate(exc: Exception, *, method: str, view: Any) -> GatewayError:
    """The member of our tree that says the same."""
    if isinstance(exc, GatewayError):
        return exc
    if isinstance(exc, exceptions.ValidationError):
        return InvalidRequest.for_fields(flat_faults(exc.detail))
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
    if isinstance(exc, OperationalError | InterfaceError):
        return ServiceUnavailable("The database can't be reached; try again.")
    if isinstance(exc, exceptions.APIException) and exc.status_code < 500:
        return InvalidRequest(str(exc.detail))
    return InternalError()


def flat_faults(detail: Any, prefix: str = "") -> dict[str, str | list[str]]:
    """REST framework's nested error detail as dotted names: {"authorized_users.0.user_id": ["…"]}."""
    if isinstance(detail, Mapping):
        items = [(f"{prefix}.{name}" if prefix else str(name), value) for name, value in detail.items()]
    elif isinstance(detail, list) and any(isinstance(entry, Mapping) for entry in detail):
        items = [(f"{prefix}.{index}", value) for index, value in enumerate(detail) if value]
    else:
        return {prefix or "body": [str(text) for text in (detail if isinstance(detail, list) else [detail])]}
    flat: dict[str, str | list[str]] = {}
    for name, value in items:
        flat |= flat_faults(value, name)
    return flat


def refuse(fields: Mapping[str, str]) -> NoReturn:
    raise InvalidRequest.for_fields(dict(fields))


# --- in -----------------------------------------------------------------------------------------------------


class AlwaysJSON(BaseContentNegotiation):
    """JSON whatever the Accept header says: clients of an API get its format, not a 406."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser:
        parser: BaseParser = parsers[0]
        return parser

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


def body_read(request: Request) -> dict[str, Any]:
    """The JSON object sent, {} for none. Raises PayloadTooLarge, InvalidRequest.

    Not request.data: that takes a chunked body, which has no Content-Length, for an empty one.
    """
    limit: int = settings.DE_MAX_BODY_BYTES
    try:
        raw = request._request.body
    except RequestDataTooBig as exc:
        raise PayloadTooLarge(f"The body is larger than {limit} bytes.") from exc
    if len(raw) > limit:
        raise PayloadTooLarge(f"The body is larger than {limit} bytes.")
    return json_object_read(raw)


def query_read(request: Request, serializer_class: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """The filters of a list, checked. A value or a name that is not known is a 400 with the allowed ones in
    `details.allowed`, by name: a filter that is quietly dropped shows rows nobody asked for."""
    sent = dict(request.query_params.items())
    serializer = serializer_class(data=sent)
    serializer.is_valid()
    faults = flat_faults(serializer.errors)
    allowed = {
        name: list(field.choices)
        for name, field in serializer.fields.items()
        if name in faults and isinstance(field, serializers.ChoiceField)
    }
    unknown = [name for name in sent if name not in serializer.fields]
    if unknown:
        faults |= {name[:80]: ["There is no such filter here."] for name in unknown}
        allowed["filters"] = list(serializer.fields)
    if faults:
        failure = InvalidRequest.for_fields(faults)
        if allowed:
            failure.details["allowed"] = allowed
        raise failure
    checked: dict[str, Any] = serializer.validated_data
    return checked


# --- out ----------------------------------------------------------------------------------------------------


def envelope(request: Request, data: Any, *, status: int = 200) -> Response:
    """The one shape of a success."""
    return Response({"data": data, "request_id": request_id_of(request._request)}, status=status)


def page_take(rows: QuerySet[M], *, after: str | int | None, limit: int) -> tuple[list[M], str | None]:
    """Up to `limit` rows in the model's own order, and the cursor of the next page (None: this is the last).

    after: the primary key of the last row of the page before. The model's ordering must end in something unique.
    Raises InvalidRequest for a cursor that names no row.
    """
    ordering = [str(name) for name in rows.model._meta.ordering or ()]
    if after is not None:
        last = rows.filter(pk=after).first()
        if last is None:
            refuse({"after": "This cursor names no row (or one that is gone)."})
        rows = rows.filter(_beyond(last, ordering))
    found = list(rows.order_by(*ordering)[: limit + 1])
    return found[:limit], str(found[limit - 1].pk) if len(found) > limit else None


def _beyond(last: Model, ordering: list[str]) -> Q:
    """The rows after `last`: beyond it by the first name, or equal there and beyond by the next, and so on."""
    beyond, equal = Q(pk__in=()), Q()
    for name in ordering:
        field = name.lstrip("-")
        value = getattr(last, field)
        comparison = "lt" if name.startswith("-") else "gt"
        beyond |= equal & Q(**{f"{field}__{comparison}": value})
        equal &= Q(**{field: value})
    return beyond
