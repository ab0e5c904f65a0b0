"""Misbehaviour on request: what `X-DE-Rehearse` asks for, and what it does to an answer.

    status=429; retry-after=3   that maker's own error body      quota      its account has no money
    slow=2.5                    seconds to the first byte        hang       never answer
    pace=0.2                    seconds between stream events    refuse     its safety filter says no
    cut=10                      drop the connection after that many events, or half-way through a plain body
    midstream=3                 after that many events, the maker's own error event
    garbage                     200, and not what the content type says
    first=2                     only the first two attempts misbehave

Directives are separated by `;` or `,`. Attempts are counted by `X-DE-Rehearse-Key`, or by maker and body.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import OrderedDict
from typing import Any

import msgspec

from apps.sandbox.http import Reply, Request, Response, Stream
from apps.sandbox.maker import Fault, Maker

HEADER, KEY_HEADER = "x-de-rehearse", "x-de-rehearse-key"
MAX_COUNTED_KEYS = 10_000
A_DAY_S = 86_400.0

_HTML = b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n"
_JUNK = bytes(range(256)) * 2


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    status: int | None = None
    retry_after_s: float | None = None
    slow_s: float = 0.0
    pace_s: float | None = None
    cut_after: int | None = None
    midstream_after: int | None = None
    first: int | None = None
    is_garbage: bool = False
    is_hang: bool = False
    is_refused: bool = False
    is_unpaid: bool = False


# directive -> field, type, lowest and highest value
_VALUES: dict[str, tuple[str, type[int] | type[float], float, float]] = {
    "status": ("status", int, 400, 599),
    "retry-after": ("retry_after_s", float, 0, A_DAY_S),
    "slow": ("slow_s", float, 0, A_DAY_S),
    "pace": ("pace_s", float, 0, A_DAY_S),
    "cut": ("cut_after", int, 0, 1_000_000),
    "midstream": ("midstream_after", int, 1, 1_000_000),
    "first": ("first", int, 0, 1_000_000),
}
_FLAGS = {"garbage": "is_garbage", "hang": "is_hang", "refuse": "is_refused", "quota": "is_unpaid"}
_AS_USUAL = Rehearsal()


def rehearsal_read(maker: Maker, request: Request) -> Rehearsal:
    """What this attempt shall do. Raises the maker's 400 when the header cannot be read."""
    text = request.headers.get(HEADER, "").strip()
    if not text:
        return _AS_USUAL
    rehearsal = _parse(text)
    if rehearsal.first is not None and attempts.count(_attempt_key(maker, request, text)) > rehearsal.first:
        return _AS_USUAL
    return rehearsal


def rehearsal_apply(rehearsal: Rehearsal, response: Response) -> Response:
    """The answer, spoilt as asked."""
    response.delay_s = math.inf if rehearsal.is_hang else rehearsal.slow_s
    if isinstance(response, Reply):
        if rehearsal.is_garbage:
            response.status, response.body = 200, _HTML
        response.is_cut = rehearsal.cut_after is not None
        return response
    if rehearsal.pace_s is not None:
        response.pace_s = rehearsal.pace_s
    if rehearsal.is_garbage:
        response.frames = [_JUNK, _HTML]
    _break_off(rehearsal, response)
    return response


def _break_off(rehearsal: Rehearsal, stream: Stream) -> None:
    if rehearsal.midstream_after is not None:
        heard = itertools.islice(stream.frames, rehearsal.midstream_after)
        stream.frames = itertools.chain(heard, stream.failure)
    if rehearsal.cut_after is not None:
        stream.frames = itertools.islice(stream.frames, rehearsal.cut_after)
        stream.is_cut = True


def _parse(text: str) -> Rehearsal:
    fields: dict[str, Any] = {}
    for directive in text.replace(",", ";").split(";"):
        if not directive.strip():
            continue
        name, is_valued, value = (part.strip() for part in directive.partition("="))
        name = name.lower().replace("_", "-")
        if name in _FLAGS and not is_valued:
            fields[_FLAGS[name]] = True
        elif name in _FLAGS:
            raise _malformed(f"{name!r} takes no value")
        elif name in _VALUES:
            fields[_VALUES[name][0]] = _number(name, value)
        else:
            raise _malformed(f"{name!r} is unknown; there are {', '.join(sorted([*_VALUES, *_FLAGS]))}")
    if "retry_after_s" in fields and "status" not in fields:
        raise _malformed("'retry-after' belongs to a 'status'")
    return Rehearsal(**fields)


def _number(name: str, value: str) -> float:
    _, kind, lowest, highest = _VALUES[name]
    try:
        number = kind(value)
    except ValueError:
        raise _malformed(f"{name!r} needs a number, not {value!r}") from None
    if not lowest <= number <= highest:  # false for nan too
        raise _malformed(f"{name!r} goes from {lowest:g} to {highest:g}")
    return number


def _malformed(reason: str) -> Fault:
    return Fault(400, f"X-DE-Rehearse cannot be read: {reason}.", kind="invalid_request_error")


def _attempt_key(maker: Maker, request: Request, text: str) -> str:
    # The directives are part of the key, so that one body can be put through several rehearsals.
    if key := request.headers.get(KEY_HEADER):
        return f"{key}|{text}"
    digest = hashlib.sha256(f"{request.path}\n".encode() + request.body).hexdigest()
    return f"{maker.name}|{digest}|{text}"


class Attempts:
    """How often each key was seen; the keys longest unseen are forgotten when there are too many."""

    def __init__(self, limit: int = MAX_COUNTED_KEYS) -> None:
        self._limit = limit
        self._seen: OrderedDict[str, int] = OrderedDict()

    def count(self, key: str) -> int:
        """The number of this attempt, from 1."""
        self._seen[key] = self._seen.pop(key, 0) + 1
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return self._seen[key]


attempts = Attempts()
