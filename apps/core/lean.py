"""What marks a view for the lean handler (de/lean.py), and gives it the contract's manners.

Such a view is a plain Django `async def` view: request in, response out, exceptions of our tree as it pleases. It
works under Django's stock handler too; the lean one only leaves out what generation endpoints don't need.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from apps.core.errors import GatewayError, InternalError, MethodNotAllowed, error_body
from apps.core.requests import request_id_of
from apps.core.streaming import json_encode

log = structlog.get_logger(__name__)

AsyncView = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def lean_view(*methods: str) -> Callable[[AsyncView], AsyncView]:
    """Answer `methods` only (and OPTIONS; HEAD where GET is), and every failure in the one envelope."""
    allowed = {*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}

    def decorate(view: AsyncView) -> AsyncView:
        @wraps(view)
        async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                if request.method not in allowed:
                    raise MethodNotAllowed(request.method or "", list(allowed))
                if request.method == "OPTIONS":
                    return HttpResponse(status=204, headers={"Allow": ", ".join(sorted(allowed))})
                return await view(request, *args, **kwargs)
            except GatewayError as exc:
                return error_response(exc, request_id=request_id_of(request))
            except Exception:
                request_id = request_id_of(request)
                log.exception("unhandled_exception", request_id=request_id, path=request.path)
                return error_response(InternalError(), request_id=request_id)

        guarded.is_lean = True  # type: ignore[attr-defined]
        guarded.csrf_exempt = True  # type: ignore[attr-defined]  # API keys, not cookies
        return guarded

    return decorate


def json_response(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(json_encode(body), status=status, headers=headers, content_type="application/json")


def error_response(exc: GatewayError, *, request_id: str) -> HttpResponse:
    return json_response(error_body(exc, request_id=request_id), status=exc.status_code, headers=exc.headers)
