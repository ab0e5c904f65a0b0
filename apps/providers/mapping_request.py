"""The request half of a mapping: endpoint, method, headers and body compiled into a RequestTemplate.

What a value can never do, whatever it holds: name the host, add a path segment or a query parameter, end a
header line, or change the shape of the JSON around it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from apps.core.errors import InvalidRequest, MissingApiKey, ServiceUnavailable
from apps.providers.mapping_secrets import KEY_HEADERS, KEY_PARAMETERS
from apps.providers.mapping_template import (
    API_KEY,
    MISSING,
    Constant,
    Fill,
    Piece,
    Scope,
    Slot,
    Values,
    compile_text,
    compile_tree,
    has_placeholder,
    parse,
)
from apps.providers.transformations import text_of

METHODS: Final = ("POST", "GET", "PUT", "PATCH", "DELETE")
MAX_ADDRESS: Final = 16_384
URLS_KEPT: Final = 256  # parsing one costs more than filling all the rest

_FULL_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_BAD_IN_URL = re.compile(r"[\x00-\x20\x7f\\#]")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_BAD_IN_HEADER = re.compile(r"[^\x20-\x7e\t]")
# The HTTP client's own business: a wrong one re-routes the request or ends its body early.
_FIXED_HEADERS: Final = (
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
)


# --- the endpoint -------------------------------------------------------------------------------------------


class Endpoint:
    """origin: scheme and host of a full URL; None for a path, which needs a base_url."""

    __slots__ = ("_path", "_query", "_slots", "origin")

    def __init__(
        self, origin: str | None, path: Sequence[Piece], query: Sequence[tuple[str, Sequence[Piece]]]
    ) -> None:
        self.origin = origin
        self._path = path
        self._query = query
        self._slots = [piece for piece in path if isinstance(piece, Slot)]

    def fill(self, values: Values, base_url: str) -> httpx.URL:
        base = (base_url or self.origin or "").rstrip("/")
        if not base:
            raise ServiceUnavailable(
                "This model's endpoint is only a path: give its instance a base_url for the provider, "
                "or its payload mapping a full URL."
            )
        return _url(base, self._fill_path(values) + self._fill_query(values))

    def _fill_path(self, values: Values) -> str:
        path = "".join(x if isinstance(x, str) else _path_text(x, values) for x in self._path)
        # A client would resolve these two before sending: the one way left to climb out of the path.
        if self._slots and not {".", ".."}.isdisjoint(path.split("/")):
            raise InvalidRequest.for_fields(
                {slot.field: "cannot be part of an address" for slot in self._slots}
            )
        return path

    def _fill_query(self, values: Values) -> str:
        parts = []
        for name, pieces in self._query:
            value = _query_text(pieces, values)
            if value is not MISSING:
                parts.append(f"{name}={value}")
        return f"?{'&'.join(parts)}" if parts else ""


@lru_cache(maxsize=URLS_KEPT)
def _url(base: str, rest: str) -> httpx.URL:
    if len(rest) > MAX_ADDRESS:
        raise InvalidRequest("An option is too long: this model takes it as part of its address.")
    try:
        return httpx.URL(base + rest)
    except httpx.InvalidURL as exc:
        raise ServiceUnavailable("The address configured for this model's provider is not a URL.") from exc


def _path_text(slot: Slot, values: Values) -> str:
    value = slot.fill(values)
    if value is MISSING or value == "":
        raise InvalidRequest.for_fields({slot.field: "is needed: it is part of this model's address"})
    return quote(text_of(value), safe="/" if slot.keeps_slashes else "")


def _query_text(pieces: Sequence[Piece], values: Values) -> Any:
    texts = []
    for piece in pieces:
        if isinstance(piece, str):
            texts.append(piece)
            continue
        value = piece.fill(values)
        if value is MISSING:
            return MISSING
        texts.append(quote(text_of(value), safe=""))
    return "".join(texts)


def compile_endpoint(text: Any, at: str, scope: Scope, *, origin: str | None = None) -> Endpoint:
    """origin: where a path belongs that comes with no host of its own, if that is known."""
    faults = scope.faults
    nowhere = Endpoint(None, [], [])
    if not isinstance(text, str) or not text:
        faults.add(at, 'is needed: a path such as "/v1/chat", or a full http(s) URL')
        return nowhere
    full = _FULL_URL.fullmatch(text)
    if not full and (not text.startswith("/") or text.startswith("//")):
        faults.add(
            at, "must begin with one / (it is joined to the provider's base_url) or with http(s)://host"
        )
        return nowhere
    if _BAD_IN_URL.search(text):
        faults.add(
            at, "must not hold spaces, control characters, backslashes or #; write them percent-encoded"
        )
    if full:
        origin = f"{full['scheme'].lower()}://{full['authority'].lower()}"
        _check_authority(full["authority"], at, scope)
    path, _, query = (full["rest"] if full else text).partition("?")
    if not {".", ".."}.isdisjoint(path.split("/")):
        faults.add(at, "must not hold . or .. as a part of its path; write the address out")
    pieces = parse(path, at, scope, in_path=True)
    return Endpoint(origin, pieces, _compile_query(query, at, scope))


def _check_authority(authority: str, at: str, scope: Scope) -> None:
    if "{" in authority:
        scope.faults.add(at, "the host must be written out: no placeholder may choose where a request goes")
    elif "@" in authority:
        scope.faults.add(at, "must not hold a user name or password before the host")
    elif not _AUTHORITY.fullmatch(authority) or not _is_url(f"https://{authority}"):
        scope.faults.add(at, f"{authority!r} is no host; write an international name in its xn-- form")


def _is_url(text: str) -> bool:
    try:
        httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return True


def _compile_query(query: str, at: str, scope: Scope) -> list[tuple[str, list[Piece]]]:
    parameters = []
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if has_placeholder(name):
            scope.faults.add(
                at, f"query parameter {name!r}: placeholders are replaced in values, not in names"
            )
        elif name.lower() in KEY_PARAMETERS and value and not has_placeholder(value):
            scope.faults.add(at, f"query parameter {name!r} holds a key: write {{api_key}} in its place")
        parameters.append((name, parse(value, at, scope, key_allowed=True)))
    return parameters


# --- headers ------------------------------------------------------------------------------------------------


class Header:
    __slots__ = ("fill", "key", "name", "uses_key")

    def __init__(self, name: str, fill: Fill, *, uses_key: bool) -> None:
        self.name = name
        self.key = name.lower().encode()
        self.fill = fill
        self.uses_key = uses_key

    def line(self, values: Values) -> bytes | None:
        """The value as it is sent; None leaves the header out."""
        value = self.fill(values)
        if value is MISSING:
            return None
        text = text_of(value).strip()
        if not _BAD_IN_HEADER.search(text):
            return text.encode()
        if self.uses_key:
            raise MissingApiKey(
                "The stored provider key holds characters no header can carry; save it again."
            )
        raise InvalidRequest(f"The header {self.name} {_HEADER_RULE}.")


_HEADER_RULE = "can carry only plain ASCII text without line breaks"


def compile_headers(raw: Any, at: str, scope: Scope) -> list[Header]:
    headers: list[Header] = []
    for name, value in scope.faults.object(raw, at).items():
        where = f"{at}.{name}"
        if not isinstance(value, str | int | float):
            scope.faults.add(where, "must be text")
            continue
        text = text_of(value)
        _check_header(name, text, where, headers, scope)
        fill = compile_text(text, where, scope, key_allowed=True)
        headers.append(Header(name, fill, uses_key=f"{{{API_KEY}}}" in text))
    return headers


def _check_header(name: str, text: str, at: str, before: Sequence[Header], scope: Scope) -> None:
    lower = name.lower()
    if not _HEADER_NAME.fullmatch(name):
        scope.faults.add(at, "is no header name: use letters, digits and -")
    elif lower in _FIXED_HEADERS:
        scope.faults.add(at, "is set by the HTTP client; leave it out")
    elif any(lower.encode() == header.key for header in before):
        scope.faults.add(at, "is given twice; header names ignore upper and lower case")
    if lower in KEY_HEADERS and f"{{{API_KEY}}}" not in text:
        scope.faults.add(at, "must hold {api_key}: keys are stored with the instance, never in a mapping")
    if lower == "content-type" and "json" not in text.lower():
        scope.faults.add(at, "must be a JSON type: the body is sent as JSON")
    if _BAD_IN_HEADER.search(text):
        scope.faults.add(at, _HEADER_RULE)


# --- the whole request --------------------------------------------------------------------------------------


class RequestTemplate:
    """A request with holes in it."""

    __slots__ = ("_body", "endpoint", "headers", "method")

    def __init__(self, method: str, endpoint: Endpoint, headers: Sequence[Header], body: Fill | None) -> None:
        self.method = method
        self.endpoint = endpoint
        self.headers = headers
        self._body = body

    def fill(
        self, values: Values, *, api_key: str, base_url: str, headers: Sequence[tuple[str, str]] = ()
    ) -> httpx.Request:
        """headers: added as they are, in place of the template's own of the same name.

        Raises InvalidRequest naming each option whose value cannot be sent.
        """
        # A client's own option called api_key must not stand in for the stored one.
        values = {**values, API_KEY: api_key or None}
        try:
            url = self.endpoint.fill(values, base_url)
            lines = self._lines(values, url, headers)
            content = self._content(values)
        except (UnicodeError, RecursionError) as exc:
            raise InvalidRequest(
                "An option cannot be sent: it holds half a surrogate pair, or is nested too deep."
            ) from exc
        return _request(self.method, url, lines, content)

    def _lines(
        self, values: Values, url: httpx.URL, further: Sequence[tuple[str, str]]
    ) -> dict[bytes, bytes]:
        lines = {b"host": url.netloc}
        for header in self.headers:
            if (line := header.line(values)) is not None:
                lines[header.key] = line
        for name, text in further:
            if _BAD_IN_HEADER.search(text):
                raise InvalidRequest(f"The header {name} {_HEADER_RULE}.")
            lines[name.lower().encode()] = text.encode()
        return lines

    def _content(self, values: Values) -> bytes | None:
        if self._body is None:
            return None
        body = self._body(values)
        return _ENCODER.encode({} if body is MISSING else body)


def _request(method: str, url: httpx.URL, lines: dict[bytes, bytes], content: bytes | None) -> httpx.Request:
    if content is None:
        return httpx.Request(method, url, headers=list(lines.items()))
    lines[b"content-length"] = b"%d" % len(content)
    # With its stream given, httpx does not look for what we already know: a third of the time.
    request = httpx.Request(method, url, headers=list(lines.items()), stream=httpx.ByteStream(content))
    request.read()
    return request


_ENCODER = msgspec.json.Encoder()


def compile_request(
    raw: Mapping[str, Any],
    scope: Scope,
    *,
    at: str = "",
    default_method: str = "POST",
    main: RequestTemplate | None = None,
) -> RequestTemplate:
    """raw: the object holding endpoint, method, headers and body, at `at` in the mapping; body nested already.

    main: the request this one belongs to, whose host and headers a stream or a poll has where it names no own.
    """
    prefix = f"{at}." if at else ""
    method = _method(raw.get("method", default_method), f"{prefix}method", scope)
    origin = main.endpoint.origin if main else None
    endpoint = compile_endpoint(raw.get("endpoint"), f"{prefix}endpoint", scope, origin=origin)
    own = compile_headers(raw.get("headers"), f"{prefix}headers", scope)
    headers = [*(main.headers if main else ()), *own]  # of two with one name the later is sent
    body = raw.get("body")
    if method == "GET" and body:
        scope.faults.add(f"{prefix}body", "a GET sends no body: put these into the endpoint's query")
    if body is None or method == "GET":
        return RequestTemplate(method, endpoint, [h for h in headers if h.key != b"content-type"], None)
    if not isinstance(body, dict | list):
        scope.faults.add(f"{prefix}body", "must be a JSON object or list")
    if not any(header.key == b"content-type" for header in headers):
        headers = [*headers, Header("Content-Type", Constant("application/json"), uses_key=False)]
    return RequestTemplate(method, endpoint, headers, compile_tree(body, f"{prefix}body", scope))


def _method(raw: Any, at: str, scope: Scope) -> str:
    method = raw.upper() if isinstance(raw, str) else ""
    if method not in METHODS:
        scope.faults.add(at, f"must be one of {', '.join(METHODS)}")
    return method
