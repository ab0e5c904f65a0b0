"""The text service in the OpenAPI schema."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema

from apps.core.lean_schema import describes
from apps.core.openapi import ERROR_DESCRIPTIONS, ErrorSerializer
from apps.text import views
from apps.text.serializers import TextHealthSerializer, TextInputSerializer, TextOutputSerializer

_ERRORS = {
    (code, "application/json"): OpenApiResponse(ErrorSerializer, description=ERROR_DESCRIPTIONS[code])
    for code in (400, 401, 402, 403, 404, 405, 413, 422, 429, 502, 503, 504)
}
_STREAM = OpenApiResponse(
    OpenApiTypes.STR,
    description="`event: delta` pieces, then one `done` with the answer, or one `error`.",
)

describes(
    views.text_generate,
    method="post",
    extend=extend_schema(
        operation_id="text_generate",
        summary="Ask a text model",
        tags=["text"],
        request={"application/json": TextInputSerializer},
        responses={
            (200, "application/json"): TextOutputSerializer,
            (200, "text/event-stream"): _STREAM,
            **_ERRORS,
        },
    ),
)
describes(
    views.text_generate_stream,
    method="post",
    extend=extend_schema(
        operation_id="text_generate_stream",
        summary="Ask a text model and read along",
        tags=["text"],
        request={"application/json": TextInputSerializer},
        responses={(200, "text/event-stream"): _STREAM, **_ERRORS},
    ),
)
describes(
    views.text_health,
    method="get",
    extend=extend_schema(
        operation_id="text_health",
        summary="Whether the text service works, and each provider as last seen",
        tags=["health"],
        responses={200: TextHealthSerializer, 405: ErrorSerializer},
        auth=[],
    ),
)
