"""The ledger as its readers see it: their own tenant's rows, a page at a time, or summed.

Everything here stays quick on millions of rows: pages are cut by id, which grows with time, and every query is one
walk along an index from its newest end.
"""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from django.db.models import (
    BigIntegerField,
    Count,
    DateField,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
)
from django.db.models.functions import Cast, Coalesce, Round, TruncDate

from apps.accounts.access import instance_row, instances_visible, project_row
from apps.accounts.models import Instance
from apps.accounts.selectors import Caller
from apps.config.pricebook import PICO, usd_of
from apps.core.errors import PermissionDenied
from apps.usage.models import LedgerEntry

ROW_FIELDS = (
    *(
        "request_id",
        "attempt",
        "job_id",
        "created_at",
        "instance_id",
        "project_id",
        "user_id",
        "key_id",
        "service",
    ),
    *(
        "model_id",
        "provider_id",
        "provider_model",
        "input_tokens",
        "cached_input_tokens",
        "cache_write_tokens",
    ),
    *("output_tokens", "reasoning_tokens", "unit_prices", "cost_usd", "status", "error_code", "latency_ms"),
    *("ttft_ms", "is_stream", "is_sandbox", "is_estimated"),
)
_TOKENS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_GROUP_FIELDS = {"model": "model_id", "provider": "provider_id", "project": "project_id", "key": "key_id"}
_EXACT_FILTERS = ("request_id", "job_id", "key_id", "model_id", "provider_id", "status")

Page = tuple[list[dict[str, Any]], dict[str, Any] | None]  # rows, and where the next page starts


# --- whose rows -----------------------------------------------------------------------------------------------


class Scope(msgspec.Struct, frozen=True):
    """instance_ids None: all there ever were, deleted ones too. project_id: only that project's rows."""

    instance_ids: Sequence[str] | None
    project_id: str | None = None


def usage_scope(caller: Caller, *, instance_id: str | None, project_id: str | None) -> Scope:
    """The rows a caller may read, narrowed to the instance or project they ask for.

    Raises InstanceNotFound, ProjectNotFound, PermissionDenied.
    """
    own_project = caller.project.project_id if caller.project is not None else None
    if instance_id is not None:
        instance_row(caller, instance_id)
    if project_id is not None:
        project = project_row(caller, project_id)
        if own_project not in (None, project_id):
            raise PermissionDenied("A project's key can't see another project's usage.")
        if instance_id not in (None, project.instance_id):
            raise PermissionDenied(f"The project {project_id!r} is not on the instance {instance_id!r}.")
        return Scope((project.instance_id,), project_id)
    if instance_id is not None:
        return Scope((instance_id,), own_project)
    if caller.is_superadmin:
        return Scope(None)
    return Scope(list(instances_visible(caller).values_list("pk", flat=True)), own_project)


def _matching(scope: Scope, filters: Mapping[str, Any]) -> QuerySet[LedgerEntry]:
    """The rows that fit the filters, whatever instance they are of."""
    wanted = {name: filters[name] for name in _EXACT_FILTERS if name in filters}
    if scope.project_id is not None:
        wanted["project_id"] = scope.project_id
    return LedgerEntry.objects.filter(_since_until(filters.get("since"), filters.get("until")), **wanted)


def _is_few(filters: Mapping[str, Any]) -> bool:
    """Whether an index of its own finds these rows."""
    return "request_id" in filters or "job_id" in filters


def _of_instances(rows: QuerySet[LedgerEntry], scope: Scope, *, is_few: bool) -> QuerySet[LedgerEntry]:
    if scope.instance_ids is None:
        return rows
    if is_few:
        # Hidden in an expression, so that SQLite does not walk the tenant's whole index for one request's rows.
        return rows.alias(own=Coalesce("instance_id", Value(""))).filter(own__in=scope.instance_ids)
    if len(scope.instance_ids) == 1:
        return rows.filter(instance_id=scope.instance_ids[0])
    return rows.filter(instance_id__in=scope.instance_ids)


# --- rows -----------------------------------------------------------------------------------------------------


def ledger_page(
    scope: Scope, filters: Mapping[str, Any], *, after: Mapping[str, Any] | None, limit: int
) -> Page:
    """after: where the page before ended."""
    rows = _matching(scope, filters)
    if after is not None:
        rows = rows.filter(id__lt=after["id"])
    is_few = _is_few(filters)
    if scope.instance_ids is None or len(scope.instance_ids) == 1 or is_few:
        rows = _of_instances(rows, scope, is_few=is_few)
    else:
        rows = LedgerEntry.objects.filter(id__in=_newest_ids(rows, scope.instance_ids, limit + 1))
    found = list(rows.order_by("-id").values("id", *ROW_FIELDS)[: limit + 1])
    following = {"id": found[limit - 1]["id"]} if len(found) > limit else None
    page = found[:limit]
    for row in page:
        del row["id"]
    return page, following


def _newest_ids(rows: QuerySet[LedgerEntry], instance_ids: Sequence[str], count: int) -> list[int]:
    """The newest `count` ids over several instances.

    Asked at once, a database either sorts all their rows or walks everybody's; so each instance's newest end is
    looked at by itself, the one with the newest row first, until none can add anything.
    """
    newest = rows.filter(instance_id=OuterRef("pk")).order_by("-id").values("id")[:1]
    heads = (
        Instance.objects.filter(pk__in=instance_ids)
        .annotate(newest=Subquery(newest))
        .order_by(F("newest").desc(nulls_last=True))
        .values_list("pk", "newest")[:count]
    )
    best: list[int] = []
    for instance_id, head in heads:
        if head is None or (len(best) == count and head < best[0]):
            break
        for entry_id in (
            rows.filter(instance_id=instance_id).order_by("-id").values_list("id", flat=True)[:count]
        ):
            if len(best) < count:
                heapq.heappush(best, entry_id)
            elif entry_id > best[0]:
                heapq.heapreplace(best, entry_id)
            else:
                break
    return best


# --- time -----------------------------------------------------------------------------------------------------

# created_at has no index of its own: an id is looked up that is surely on the far side of the moment, and the walk
# along the other indexes ends there. Rows are written when they are made, give or take this much.
ID_SLACK = dt.timedelta(days=1)
# In a smaller table there is nothing to save, and no need to rely on the above.
MIN_ID_SPAN = 100_000


def _since_until(since: dt.datetime | None, until: dt.datetime | None) -> Q:
    wanted = Q()
    if since is not None:
        wanted &= Q(created_at__gte=since)
        if (around := _ids_around(since - ID_SLACK)) is not None:
            wanted &= Q(id__gte=around[0])
    if until is not None:
        wanted &= Q(created_at__lt=until)
        if (around := _ids_around(until + ID_SLACK)) is not None:
            wanted &= Q(id__lte=around[1])
    return wanted


def _ids_around(moment: dt.datetime) -> tuple[int, int] | None:
    """Two neighbouring ids, between which the rows made since `moment` begin; None when the table is small."""
    ids = LedgerEntry.objects.order_by("id").values_list("id", flat=True)
    low, high = ids.first(), ids.last()
    if low is None or high is None or high - low < MIN_ID_SPAN:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        row = (
            LedgerEntry.objects.filter(id__gte=middle)
            .order_by("id")
            .values_list("created_at", flat=True)
            .first()
        )
        if row is None or row >= moment:
            high = middle
        else:
            low = middle
    return low, high


# --- sums -----------------------------------------------------------------------------------------------------

_MICRO = 10**6


class UtcDay(TruncDate):
    """SQLite's own date() of the stored UTC text; Django's would call Python for every row."""

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, tuple[str | int, ...]]:
        sql, parameters = compiler.compile(self.lhs)
        return f"date({sql})", tuple(parameters)


def ledger_sums(
    scope: Scope, filters: Mapping[str, Any], *, group_by: str, after: Mapping[str, Any] | None, limit: int
) -> Page:
    """Sums by model, provider, project, key (in the order of their ids) or day (UTC, newest first)."""
    rows = _of_instances(_matching(scope, filters), scope, is_few=_is_few(filters))
    if group_by == "day":
        name, order = "day", "-day"
        if after is not None:
            midnight = dt.datetime.combine(dt.date.fromisoformat(after["key"]), dt.time(), tzinfo=dt.UTC)
            rows = rows.filter(created_at__lt=midnight)
        rows = rows.annotate(day=UtcDay("created_at", tzinfo=dt.UTC, output_field=DateField()))
    else:
        name = order = _GROUP_FIELDS[group_by]
        if after is not None:
            rows = rows.filter(**{f"{name}__gt": after["key"]})
    sums = rows.order_by().values(name).annotate(**_aggregates()).order_by(order)
    found = list(sums[: limit + 1])
    following = {"key": str(found[limit - 1][name])} if len(found) > limit else None
    return [_sum_row(row, name) for row in found[:limit]], following


def _aggregates() -> dict[str, Any]:
    # SQLite adds decimals as floats. Whole pico-dollars add up exactly (of rows up to 1,000 USD: a float holds no
    # more), and in two parts that can't overflow.
    pico = Cast(Round(F("cost_usd") * Value(Decimal(10**PICO))), BigIntegerField())
    statuses = {
        status.value: Count("id", filter=Q(status=status.value))
        for status in (LedgerEntry.Status.SUCCEEDED, LedgerEntry.Status.FAILED, LedgerEntry.Status.CANCELED)
    }
    return {
        "requests": Count("id"),
        **statuses,
        **{f"sum_{name}": Sum(name) for name in _TOKENS},
        "high": Sum(pico / _MICRO),
        "low": Sum(pico % _MICRO),
        "unpriced": Count("id", filter=Q(cost_usd__isnull=True)),
    }


def _sum_row(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    cost = None if row["high"] is None else usd_of(int(row["high"]) * _MICRO + int(row["low"]))
    return {
        name: row[name] or None,
        **{key: row[key] for key in ("requests", "succeeded", "failed", "canceled")},
        **{token: row[f"sum_{token}"] for token in _TOKENS},
        "cost_usd": cost,
        "unpriced": row["unpriced"],
    }
