"""Lean views in the OpenAPI schema: drf-spectacular only looks at classes, so a view may name one that describes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.lean import AsyncView


def describes(view: AsyncView, *, method: str, extend: Callable[[Any], Any]) -> None:
    """Put a lean view into the schema. extend: an `extend_schema` or `documented` decorator."""

    def operation(self: APIView, request: Request) -> Response:
        raise NotImplementedError("It describes the lean view and is never called.")

    described = type(
        f"{view.__name__.title().replace('_', '')}Description", (APIView,), {method: extend(operation)}
    )
    # Where drf-spectacular looks.
    view.cls, view.initkwargs = described, {}  # type: ignore[attr-defined]
