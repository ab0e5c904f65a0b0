"""What every maker's file hands over: its routes, its gate, its headers and its way of saying no."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from apps.sandbox.http import Reply, Request, Response


class Fault(Exception):
    """A request the maker turns down, before it is put in the maker's own words and shape.

    kind, code, param, details: what that maker's error body has room for beside the message; each maker reads the
    ones it knows. retry_after_s: when to come back.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str | None = None,
        code: str | None = None,
        param: str | None = None,
        details: tuple[Mapping[str, Any], ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.details = details
        self.retry_after_s = retry_after_s


class Route(NamedTuple):
    """path: a pattern for the whole path; its named groups are the handler's keyword arguments."""

    method: str
    path: re.Pattern[str]
    handler: Callable[..., Response]


class Maker(msgspec.Struct, frozen=True, kw_only=True):
    """One maker's wire protocol.

    gate: raises the Fault for a missing or bad key. headers: what every answer carries.
    fault_reply: a Fault in that maker's shape. rehearsed: the Fault that goes with a status (and when to retry).
    unpaid: the Fault for an account without money.
    """

    name: str
    routes: tuple[Route, ...]
    gate: Callable[[Request], None]
    headers: Callable[[Request], dict[str, str]]
    fault_reply: Callable[[Request, Fault], Reply]
    rehearsed: Callable[[int, float | None], Fault]
    unpaid: Callable[[], Fault]
    no_route: Callable[[Request], Fault]
    wrong_method: Callable[[Request], Fault]

    def handle(self, request: Request) -> Response:
        """Raises Fault: no such path, another method, or whatever the handler says."""
        if request.is_too_large:
            raise self.rehearsed(413, None)
        is_known_path = False
        for route in self.routes:
            if found := route.path.fullmatch(request.path):
                is_known_path = True
                if route.method == request.method:
                    return route.handler(request, **found.groupdict())
        raise self.wrong_method(request) if is_known_path else self.no_route(request)


def route(method: str, path: str, handler: Callable[..., Response]) -> Route:
    return Route(method, re.compile(path), handler)


def bearer_token(request: Request) -> str | None:
    """The key of `Authorization: Bearer KEY`, or None."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
