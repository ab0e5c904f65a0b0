from __future__ import annotations

from drf_spectacular.utils import PolymorphicProxySerializer, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.config.views.base import ConfigView
from apps.core.drf import query_read
from apps.core.openapi import documented
from apps.usage.selectors import ledger_page, ledger_sums, usage_scope
from apps.usage.serializers import (
    CursorField,
    ExactJSONRenderer,
    LedgerRowSerializer,
    UsageQuerySerializer,
    UsageSumSerializer,
    cost_json,
    ledger_row_json,
)

_page = inline_serializer(
    "UsagePage",
    {
        "rows": PolymorphicProxySerializer(
            component_name="UsageEntry",
            serializers=[LedgerRowSerializer, UsageSumSerializer],
            resource_type_field_name=None,
            many=True,
        ),
        "next": serializers.CharField(
            allow_null=True, help_text="`cursor` of the next page; null: this is the last."
        ),
    },
)


class UsageView(ConfigView):
    """A part of the config service that lives here because the ledger does."""

    renderer_classes = (ExactJSONRenderer,)

    @documented(
        "usage_list",
        summary="The ledger, newest first, or sums of it",
        tag="config: usage",
        data=_page,
        query=UsageQuerySerializer,
        errors=(404,),
    )
    def get(self, request: Request) -> Response:
        query = query_read(request, UsageQuerySerializer)
        after, limit = query.get("cursor"), query["limit"]
        scope = usage_scope(
            self.caller,
            instance_id=query.get("instance_id") or request.headers.get("X-Instance-ID") or None,
            project_id=query.get("project_id"),
        )
        group_by = query.get("group_by", "")
        if group_by:
            sums, following = ledger_sums(scope, query, group_by=group_by, after=after, limit=limit)
            rows = [{**row, "cost_usd": cost_json(row["cost_usd"])} for row in sums]
        else:
            found, following = ledger_page(scope, query, after=after, limit=limit)
            rows = [ledger_row_json(row) for row in found]
        cursor = None if following is None else CursorField.write({"of": group_by, **following})
        return self.answer({"rows": rows, "next": cursor})
