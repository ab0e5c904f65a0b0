"""What every view of the config service does alike."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Model, QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.audit import Actor
from apps.accounts.authentication import caller_of
from apps.accounts.selectors import Caller
from apps.core.drf import AlwaysJSON, body_read, envelope, page_take
from apps.core.errors import InvalidRequest
from apps.core.requests import request_id_of


class ConfigView(APIView):
    content_negotiation_class = AlwaysJSON

    caller: Caller
    actor: Actor

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if request.method == "OPTIONS":  # what a path can do is no secret
            return
        super().initial(request, *args, **kwargs)
        self.caller = caller_of(request)
        self.caller.require_service("config")
        self.actor = Actor.from_caller(self.caller, request_id=request_id_of(request._request))

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return Response(status=204, headers={"Allow": ", ".join(sorted(self.allowed_methods))})

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {}  # Allow belongs to the answers that speak of methods

    def read(
        self, serializer_class: type[serializers.Serializer[Any]], *, row: Model | None = None
    ) -> dict[str, Any]:
        """The body, checked; of an update if `row` is given. Raises InvalidRequest naming every bad field."""
        serializer = serializer_class(row, data=body_read(self.request), partial=row is not None)
        serializer.is_valid(raise_exception=True)
        given: dict[str, Any] = serializer.validated_data
        return given

    def instance_id_of(self, given: dict[str, Any]) -> str:
        """The instance of the request, by the contract's order (section 3)."""
        caller = self.caller
        return (
            given.get("instance_id")
            or self.request.headers.get("X-Instance-ID")
            or (caller.project.instance_id if caller.project else None)
            or (caller.user.default_instance_id if caller.user else None)
            or settings.DE_DEFAULT_INSTANCE
        )

    def answer(self, data: Any, *, status: int = 200) -> Response:
        return envelope(self.request, data, status=status)

    def page(
        self,
        rows: QuerySet[Any],
        query: dict[str, Any],
        *,
        key: str,
        serializer_class: type[serializers.Serializer[Any]],
    ) -> Response:
        found, following = page_take(rows, after=query.get("after"), limit=query["limit"])
        listed = serializer_class(found, many=True).data
        return self.answer({key: listed, "total": rows.count(), "next": following})


def required(name: str) -> InvalidRequest:
    return InvalidRequest.for_fields({name: "This field is required."})
