"""The unauthenticated edge: how often one address may fail, counted by django-ratelimit."""

from __future__ import annotations

import structlog
from django.http import HttpRequest
from django_ratelimit.core import get_usage

from apps.core.errors import RateLimited
from apps.core.requests import client_address_of

log = structlog.get_logger(__name__)


def edge_check(request: HttpRequest, *, group: str, rate: str, is_failure: bool = True) -> None:
    """Count one failure of this address (unless told only to look); raises RateLimited past `rate` ("30/m").

    With the cache away it lets through: locking everybody out for want of a counter would turn a small fault into
    an outage, and the keys themselves can't be guessed. Synchronous: call it from a database thread.
    """
    try:
        usage = get_usage(
            request,
            group=group,
            key=lambda _group, req: client_address_of(req) or "?",
            rate=rate,
            increment=is_failure,
        )
    except Exception as exc:  # whatever the cache's client raises: see above
        log.warning("edge_limit_unavailable", group=group, error=str(exc))
        return
    if usage is not None and usage["should_limit"]:
        raise RateLimited("Too many failed attempts from this address.", retry_after_s=usage["time_left"])
