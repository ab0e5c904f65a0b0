"""The admin's log-in, guarded: an address that keeps failing is refused before its password is even looked at."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from apps.core.edge import edge_check
from apps.core.errors import RateLimited

_GROUP = "admin-login"


def admin_login(request: HttpRequest) -> HttpResponseBase:
    """django.contrib.admin's log-in page, answering 429 past DE_LOGIN_RATE failures."""
    try:
        if request.method == "POST":
            edge_check(request, group=_GROUP, rate=settings.DE_LOGIN_RATE, is_failure=False)
        response = admin.site.login(request)
        if request.method == "POST" and not request.user.is_authenticated:
            edge_check(request, group=_GROUP, rate=settings.DE_LOGIN_RATE)
    except RateLimited as exc:
        text = f"Too many failed log-ins from your address. Try again in {exc.retry_after} seconds."
        return HttpResponse(text, status=429, headers=exc.headers, content_type="text/plain; charset=utf-8")
    return response
