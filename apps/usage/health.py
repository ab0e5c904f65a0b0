"""Whether this process can do its work: what load balancers and people on call ask."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError, connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.accounts.changes import run_in_database_thread
from apps.core.lean import json_response, lean_view
from apps.usage.runtime import runtime


@lean_view("GET")
async def health(request: HttpRequest) -> HttpResponseBase:
    """GET /health: the process answers."""
    return json_response({"status": "healthy", "service": "distributed-electrons", "timestamp": _now()})


@lean_view("GET")
async def health_ready(request: HttpRequest) -> HttpResponseBase:
    """GET /health/ready: 503 without the database; `degraded` without Redis (limits then count per process)."""
    checks: dict[str, Any] = {
        "database": "ok" if await run_in_database_thread(_database_answers) else "down",
        "redis": "down, limits are counted per process" if await _redis_is_away() else "ok",
    }
    if checks["database"] != "ok":
        return json_response({"status": "unavailable", "checks": checks, "timestamp": _now()}, status=503)
    status = "healthy" if checks["redis"] == "ok" else "degraded"
    return json_response({"status": status, "checks": checks, "timestamp": _now()})


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


async def _redis_is_away() -> bool:
    return not await runtime().limiter.ping()


def _now() -> str:
    return datetime.now(UTC).isoformat()
