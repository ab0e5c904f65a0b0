"""What every view needs to know of a request, whichever handler carries it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from apps.core.ids import uuid7

REQUEST_ID_HEADER = "X-Request-ID"
MAX_REQUEST_ID_CHARACTERS = 128


def request_id_choose(sent: str | None) -> str:
    """The client's id if it is 1 to 128 visible ASCII characters, else a new one."""
    if sent and len(sent) <= MAX_REQUEST_ID_CHARACTERS and all("!" <= character <= "~" for character in sent):
        return sent
    return str(uuid7())


def request_id_of(request: HttpRequest) -> str:
    """This request's id; set by the front door (de/asgi.py), made here when a test client came round it."""
    scope: Mapping[str, Any] = getattr(request, "scope", {})
    if (known := scope.get("de.request_id")) is not None:
        return str(known)
    made: str | None = getattr(request, "_request_id", None)
    if made is None:
        made = request_id_choose(request.headers.get(REQUEST_ID_HEADER))
        request._request_id = made  # type: ignore[attr-defined]  # a cache on the request, as Django's own _body
    return made


def api_key_of(request: HttpRequest) -> str | None:
    """The key a request carries: `Authorization: Bearer KEY`, the bare key there, or `X-API-Key: KEY`."""
    header: str = request.META.get("HTTP_AUTHORIZATION", "").strip()
    if header[:7].lower() == "bearer ":
        header = header[7:].strip()
    return header or request.META.get("HTTP_X_API_KEY", "").strip() or None


def client_address_of(request: HttpRequest) -> str:
    """The client's address; behind DE_TRUSTED_PROXIES proxies, the entry the outermost of them wrote."""
    proxies: int = settings.DE_TRUSTED_PROXIES
    if proxies:
        chain = [
            part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()
        ]
        if len(chain) >= proxies:
            return str(chain[-proxies])
    return str(request.META.get("REMOTE_ADDR", ""))
