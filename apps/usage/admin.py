"""The ledger in the admin panel: to look at, never to change, and for superadmins only."""

from __future__ import annotations

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from apps.accounts.admin import ReadOnlyAdmin
from apps.usage.models import LedgerEntry

MAX_COUNTED = 10_000


class NewestPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts no further than the newest MAX_COUNTED rows: counting millions takes longer than anybody waits."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        assert isinstance(rows, QuerySet)
        return rows[:MAX_COUNTED].count()


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    list_display = (
        *("created_at", "request_id", "instance_id", "model_id", "provider_id", "status", "error_code"),
        *("input_tokens", "output_tokens", "cost_usd", "latency_ms", "is_sandbox"),
    )
    list_filter = ("status", "is_sandbox", "is_stream")
    search_fields = ("request_id",)
    search_help_text = "A whole request id or job id"
    ordering = ("-id",)
    sortable_by = ()
    paginator = NewestPaginator
    show_full_result_count = False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LedgerEntry], search_term: str
    ) -> tuple[QuerySet[LedgerEntry], bool]:
        """Whole ids, which have indexes; a part of one would mean reading every row."""
        term = search_term.strip().replace("\x00", "")
        if term:
            queryset = queryset.filter(Q(request_id=term) | Q(job_id=term))
        return queryset, False
