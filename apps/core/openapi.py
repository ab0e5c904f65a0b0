"""What the OpenAPI schema says of every operation alike: errors, the envelope, how to send a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers

F = TypeVar("F", bound=Callable[..., Any])
SerializerType = serializers.BaseSerializer[Any] | type[serializers.BaseSerializer[Any]]

ERROR_DESCRIPTIONS: Mapping[int, str] = {
    400: "A field is missing, ill-typed or unknown; `details.fields` names each.",
    401: "No key, or one that is unknown, revoked or expired.",
    402: "A spend budget is used up.",
    403: "This key may not do that.",
    404: "There is no such thing.",
    405: "The path has no such method; `Allow` lists those it has.",
    409: "It exists already, or its state forbids this.",
    413: "The body is too large.",
    422: "The answer could not be used.",
    429: "Too many requests; `Retry-After` says when to come back.",
    502: "The provider failed.",
    503: "A part of this platform is down.",
    504: "The provider did not answer in time.",
}
EVERYWHERE = (400, 401, 403, 405, 429, 503)


class ErrorSerializer(serializers.Serializer[Any]):
    error = serializers.CharField(help_text="A sentence for people.")
    error_code = serializers.CharField(help_text="For programs: UPPER_SNAKE, see the table of codes.")
    request_id = serializers.CharField()
    retry_after = serializers.IntegerField(required=False, help_text="Seconds, with 429.")
    details = serializers.DictField(
        required=False, help_text="`fields`: what is wrong with each field; `allowed`: what a filter takes."
    )


def enveloped(name: str, data: SerializerType) -> serializers.Serializer[Any]:
    """The success envelope around `data`. name: of the schema component, unique."""
    inner = data() if isinstance(data, type) else data
    return inline_serializer(name, {"data": inner, "request_id": serializers.CharField()})


def documented(
    operation_id: str,
    *,
    summary: str,
    tag: str,
    data: SerializerType | None = None,
    body: SerializerType | None = None,
    query: type[serializers.Serializer[Any]] | None = None,
    answers: Mapping[int, SerializerType | None] | None = None,
    status: int = 200,
    also: Iterable[int] = (),
    errors: Iterable[int] = (),
    is_public: bool = False,
) -> Callable[[F], F]:
    """extend_schema with what all operations share.

    data: what the success envelope holds, answered with `status` (and with those in `also`); `answers` are bodies
    without an envelope. errors: the failures this operation has besides those every operation has.
    is_public: needs no key.
    """
    responses: dict[int, Any] = {}
    if data is not None:
        envelope = enveloped(f"{''.join(part.title() for part in operation_id.split('_'))}Answer", data)
        responses |= {code: envelope for code in (status, *also)}
    responses |= dict(answers or {})
    failures = set(errors) | ({405, 503} if is_public else set(EVERYWHERE)) | ({400, 413} if body else set())
    for code in sorted(failures - set(responses)):
        responses[code] = OpenApiResponse(ErrorSerializer, description=ERROR_DESCRIPTIONS[code])
    return extend_schema(
        operation_id=operation_id,
        summary=summary,
        tags=[tag],
        request={"application/json": body} if body is not None else None,
        parameters=[query] if query is not None else None,
        responses=responses,
        auth=[] if is_public else None,
    )


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its __init_subclass__
    target_class = "apps.accounts.authentication.ApiKeyAuthentication"
    name = ["bearer", "api_key"]  # noqa: RUF012  the base class declares it as an instance attribute

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        return [{"bearer": []}, {"api_key": []}]  # either of them

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
        return [
            {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer sk_live_…`"},
            {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        ]
