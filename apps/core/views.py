"""Answers that belong to no service: unknown addresses, crashes, is-it-up."""

from __future__ import annotations

import structlog
from django.http import HttpRequest, HttpResponse
from django.views import defaults

from apps.core.api_paths import is_api_path
from apps.core.errors import InternalError, InvalidRequest, PermissionDenied, RouteNotFound
from apps.core.lean import error_response
from apps.core.requests import request_id_of

log = structlog.get_logger(__name__)


def _wants_page(request: HttpRequest) -> bool:
    return not is_api_path(request.path) and "text/html" in request.headers.get("Accept", "")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _wants_page(request):
        return defaults.bad_request(request, exception)
    return error_response(InvalidRequest(), request_id=request_id_of(request))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _wants_page(request):
        return defaults.permission_denied(request, exception)
    return error_response(PermissionDenied(), request_id=request_id_of(request))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _wants_page(request):
        return defaults.page_not_found(request, exception)
    failure = RouteNotFound(f"There is nothing at {request.path[:200]}.")
    return error_response(failure, request_id=request_id_of(request))


def server_error(request: HttpRequest) -> HttpResponse:
    log.error("unhandled_exception", request_id=request_id_of(request), path=request.path)
    if _wants_page(request):
        return defaults.server_error(request)
    return error_response(InternalError(), request_id=request_id_of(request))
