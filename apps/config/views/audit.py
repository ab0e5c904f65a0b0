"""The audit log."""

from __future__ import annotations

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.models import AuditEntry
from apps.config.serializers.audit import AuditEntrySerializer, AuditPageSerializer, AuditQuery
from apps.config.views.base import ConfigView
from apps.core.drf import page_take, query_read
from apps.core.errors import PermissionDenied
from apps.core.openapi import documented


class AuditListView(ConfigView):
    @documented(
        "audit_list",
        summary="Who changed what, newest first",
        tag="config: audit log",
        query=AuditQuery,
        data=AuditPageSerializer,
    )
    def get(self, request: Request) -> Response:
        rows: QuerySet[AuditEntry] = AuditEntry.objects.all()
        if not self.caller.is_superadmin:
            if self.caller.admin_org_id is None:
                raise PermissionDenied("This needs the role `admin` of the organization.")
            rows = rows.filter(org_id=self.caller.admin_org_id)
        query = query_read(request, AuditQuery)
        filters = {name: query[name] for name in ("entity", "entity_id", "actor_id") if name in query}
        found, following = page_take(rows.filter(**filters), after=query.get("after"), limit=query["limit"])
        return self.answer({"entries": AuditEntrySerializer(found, many=True).data, "next": following})
