"""Limits: requests, tokens and concurrent requests, per key, per instance and provider, per instance and model.

All of a request's limits are taken together or not at all by one script inside Redis, so they are right across
processes. While Redis is away each process counts for itself: a process then lets through at most what the limit
allows one process, and says so in the X-DE-Degraded header and in /health/ready. See docs/adr/0002-limits.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from importlib import resources

import msgspec

from apps.core.errors import RateLimited
from apps.core.ratelimit import SlidingWindow, bucket_seconds
from apps.usage.redis_batch import RedisAway, RedisBatch

LEASE_S = 30.0
RENEW_INTERVAL_S = 10.0
_KEY_PREFIX = "de:limit:"

_WINDOWS = (
    ("rpm", "requests", 60),
    ("rph", "requests", 3600),
    ("rpd", "requests", 86_400),
    ("tpm", "tokens", 60),
)


class Window(msgspec.Struct, frozen=True):
    name: str  # "rpm"
    unit: str  # "requests" or "tokens"
    window_s: int
    limit: int
    key: str


class LimitScope(msgspec.Struct, frozen=True):
    """One set of limits and where it is counted. Build it once per configuration, not per request."""

    name: str  # "key", "provider" or "model": what a refusal calls it
    windows: tuple[Window, ...]
    slots_key: str
    concurrent_requests: int | None

    @classmethod
    def make(cls, name: str, counter: str, limits: Mapping[str, int]) -> LimitScope | None:
        """counter: what makes the scope unique, e.g. "acme:openai". None when nothing is limited."""
        root = f"{_KEY_PREFIX}{{{counter}}}:"
        windows = tuple(
            Window(limit_name, unit, window_s, int(limits[limit_name]), f"{root}{limit_name}")
            for limit_name, unit, window_s in _WINDOWS
            if limits.get(limit_name)
        )
        slots = limits.get("concurrent_requests") or None
        return cls(name, windows, f"{root}slots", slots) if windows or slots else None


class LimitPlan:
    """The scopes of one kind of request with everything about them that never changes worked out beforehand."""

    def __init__(self, scopes: Iterable[LimitScope]) -> None:
        self.scopes = tuple(scopes)
        self.windows = tuple((scope, window) for scope in self.scopes for window in scope.windows)
        self.slot_scopes = tuple(scope for scope in self.scopes if scope.concurrent_requests)
        self.keys = [window.key for _, window in self.windows] + [
            scope.slots_key for scope in self.slot_scopes
        ]
        self.token_windows = [
            (index, window) for index, (_, window) in enumerate(self.windows) if window.unit == "tokens"
        ]

    def arguments(self, lease: str, tokens: int) -> list[str | int]:
        arguments: list[str | int] = [lease, int(LEASE_S * 1000), len(self.windows)]
        for _, window in self.windows:
            is_tokens = window.unit == "tokens"
            arguments += (
                window.limit,
                window.window_s,
                bucket_seconds(window.window_s),
                tokens if is_tokens else 1,
                0 if is_tokens else 1,
            )
        arguments += [scope.concurrent_requests or 0 for scope in self.slot_scopes]
        return arguments

    def describe(self, index: int) -> tuple[str, str, int]:
        """(scope, limit name, limit) of the key at a script's 1-based index."""
        if index <= len(self.windows):
            scope, window = self.windows[index - 1]
            return scope.name, window.name, window.limit
        scope = self.slot_scopes[index - 1 - len(self.windows)]
        return scope.name, "concurrent_requests", scope.concurrent_requests or 0


class Grant:
    """Leave to go on, to be given back with `Limiter.release`; its slots die by themselves if it never is."""

    __slots__ = ("buckets", "headers", "is_local", "lease", "plan", "reserved_tokens")

    def __init__(
        self,
        plan: LimitPlan,
        lease: str,
        reserved_tokens: int,
        headers: dict[str, str],
        buckets: list[int],
        *,
        is_local: bool,
    ) -> None:
        self.plan = plan
        self.lease = lease
        self.reserved_tokens = reserved_tokens
        self.headers = headers
        self.buckets = buckets
        self.is_local = is_local


class Limiter:
    """One per process."""

    def __init__(self, redis_url: str) -> None:
        self._batch = RedisBatch(redis_url)
        self._acquire = self._batch.script(_lua("acquire.lua"))
        self._settle = self._batch.script(_lua("settle.lua"))
        self._local = LocalLimiter()
        self._held: dict[str, Grant] = {}
        self._leases = 0
        self._lease_root = f"{time.time_ns():x}-{id(self):x}"
        self._renewer: asyncio.Task[None] | None = None

    @property
    def is_degraded(self) -> bool:
        return self._batch.is_away

    async def ping(self) -> bool:
        """Whether Redis answers."""
        return await self._batch.ping()

    async def acquire(self, plan: LimitPlan, *, tokens: int) -> Grant:
        """Count one request and `tokens` estimated tokens against every scope of the plan.

        Raises RateLimited, with the headers' numbers in its details, when one of them is used up.
        """
        if not plan.scopes:
            return Grant(plan, "", tokens, {}, [], is_local=True)
        self._leases += 1
        lease = f"{self._lease_root}-{self._leases:x}"
        try:
            reply = await self._batch.call(self._acquire, plan.keys, plan.arguments(lease, tokens))
        except RedisAway:
            return self._local.acquire(plan, lease, tokens)
        if reply[0] == 0:
            raise _refusal(plan, reply[1], reply[2] / 1000, reply[3:6])
        grant = Grant(plan, lease, tokens, _headers(*reply[1:4]), reply[4:], is_local=False)
        if plan.slot_scopes:
            self._held[lease] = grant
            if self._renewer is None or self._renewer.done():
                self._renewer = asyncio.create_task(self._renew())
        return grant

    def release(self, grant: Grant, *, tokens: int) -> None:
        """Give the slots back; tokens: what was really used. Sent with the next batch, nobody waits for it."""
        plan = grant.plan
        if grant.is_local:
            self._local.release(grant, tokens)
            return
        self._held.pop(grant.lease, None)
        if not plan.token_windows and not plan.slot_scopes:
            return
        arguments: list[str | int] = [grant.lease, len(plan.token_windows)]
        for index, window in plan.token_windows:
            difference = tokens - min(grant.reserved_tokens, window.limit)
            arguments += (difference, grant.buckets[index], bucket_seconds(window.window_s))
        keys = [window.key for _, window in plan.token_windows] + [
            scope.slots_key for scope in plan.slot_scopes
        ]
        self._batch.send(self._settle, keys, arguments)

    async def aclose(self) -> None:
        if self._renewer is not None:
            self._renewer.cancel()
        await self._batch.aclose()

    async def _renew(self) -> None:
        """Keep the slots of requests that are still going. A process that dies stops renewing: that frees them."""
        while self._held:
            await asyncio.sleep(RENEW_INTERVAL_S)
            dies_ms = int((time.time() + LEASE_S) * 1000)
            for grant in list(self._held.values()):
                for scope in grant.plan.slot_scopes:
                    self._batch.command("ZADD", scope.slots_key, "XX", dies_ms, grant.lease)
                    self._batch.command("PEXPIRE", scope.slots_key, int(LEASE_S * 1000))


class LocalLimiter:
    """The same limits counted in this process alone, for the time when Redis is away."""

    def __init__(self) -> None:
        self._windows: dict[str, SlidingWindow] = {}
        self._slots: dict[str, int] = {}

    def acquire(self, plan: LimitPlan, lease: str, tokens: int) -> Grant:
        now = time.time()
        counters = [self._window(window) for _, window in plan.windows]
        tightest: tuple[float, tuple[int, int, int]] | None = None
        for index, ((_, window), counter) in enumerate(zip(plan.windows, counters, strict=True), start=1):
            amount = tokens if window.unit == "tokens" else 1
            wait_s = counter.wait_for(amount, window.limit, now=now)
            left = max(0, window.limit - counter.total - amount)
            if wait_s > 0:
                raise _refusal(plan, index, wait_s, [window.limit, left, int(now + wait_s) + 1])
            share = left / window.limit
            if window.unit == "requests" and (tightest is None or share < tightest[0]):
                tightest = share, (window.limit, left, counter.restored_at(now=now))
        for offset, scope in enumerate(plan.slot_scopes, start=len(plan.windows) + 1):
            if self._slots.get(scope.slots_key, 0) >= (scope.concurrent_requests or 0):
                raise _refusal(plan, offset, 1.0, [-1, 0, 0])
        buckets = [
            counter.add(min(tokens, window.limit) if window.unit == "tokens" else 1, now=now)
            for (_, window), counter in zip(plan.windows, counters, strict=True)
        ]
        for scope in plan.slot_scopes:
            self._slots[scope.slots_key] = self._slots.get(scope.slots_key, 0) + 1
        headers = _headers(*tightest[1]) if tightest else {}
        return Grant(plan, lease, tokens, headers, buckets, is_local=True)

    def release(self, grant: Grant, tokens: int) -> None:
        now = time.time()
        for index, window in grant.plan.token_windows:
            difference = tokens - min(grant.reserved_tokens, window.limit)
            self._window(window).correct(grant.buckets[index], difference, now=now)
        for scope in grant.plan.slot_scopes:
            self._slots[scope.slots_key] = max(0, self._slots.get(scope.slots_key, 0) - 1)

    def _window(self, window: Window) -> SlidingWindow:
        counter = self._windows.get(window.key)
        if counter is None:
            counter = self._windows[window.key] = SlidingWindow(window.window_s)
        return counter


def _headers(limit: int, remaining: int, reset: int) -> dict[str, str]:
    if limit < 0:
        return {}
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(reset),
    }


_NOUNS = {
    "rpm": "requests per minute",
    "rph": "requests per hour",
    "rpd": "requests per day",
    "tpm": "tokens per minute",
    "concurrent_requests": "concurrent requests",
}


def _refusal(plan: LimitPlan, index: int, wait_s: float, shown: list[int]) -> LimitReached:
    scope, name, limit = plan.describe(index)
    return LimitReached(
        f"This {scope}'s limit of {limit} {_NOUNS[name]} is reached.",
        retry_after_s=wait_s,
        details={"scope": scope, "limit": name, "value": limit},
        shown=_headers(*shown),
    )


class LimitReached(RateLimited):
    """RateLimited with the X-RateLimit headers of the limit that refused."""

    def __init__(
        self, message: str, *, retry_after_s: float, details: dict[str, object], shown: dict[str, str]
    ):
        super().__init__(message, retry_after_s=retry_after_s, details=details)
        self._shown = shown

    @property
    def headers(self) -> dict[str, str]:
        return super().headers | self._shown


def _lua(name: str) -> str:
    return (resources.files("apps.usage") / "lua" / name).read_text()
