"""One connection to Redis per process, spoken to in batches.

Whatever is asked while a batch is under way goes into the next one, so under load a round trip serves many requests
and alone a request waits for nobody. A Redis that is slow is worse than one that is dead: past REPLY_TIMEOUT_S it
counts as away, and for AWAY_S nobody asks it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

log = structlog.get_logger(__name__)

REPLY_TIMEOUT_S = 0.1
AWAY_S = 1.0

_Call = tuple[tuple[Any, ...], "asyncio.Future[Any] | None"]


class RedisAway(Exception):
    """Redis did not answer in time, or not at all."""


class Script:
    """A Lua script by its digest."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class RedisBatch:
    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(
            url, socket_timeout=REPLY_TIMEOUT_S, socket_connect_timeout=REPLY_TIMEOUT_S, max_connections=2
        )
        self._scripts: list[Script] = []
        self._waiting: list[_Call] = []
        self._sender: asyncio.Task[None] | None = None
        self._away_until = 0.0
        self.is_away = False

    async def ping(self) -> bool:
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S * 2):
                return bool(await self._redis.ping())
        except (RedisError, OSError, TimeoutError):
            return False

    def script(self, source: str) -> Script:
        made = Script(source)
        self._scripts.append(made)
        return made

    def call(self, script: Script, keys: list[str], arguments: list[str | int]) -> asyncio.Future[Any]:
        """The script's reply. The future raises RedisAway."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.is_away and time.monotonic() < self._away_until:
            future.set_exception(RedisAway())
            return future
        self._put(("EVALSHA", script.sha, len(keys), *keys, *arguments), future)
        return future

    def send(self, script: Script, keys: list[str], arguments: list[str | int]) -> None:
        """As `call`, for replies nobody waits for; lost when Redis is away."""
        self._put(("EVALSHA", script.sha, len(keys), *keys, *arguments), None)

    def command(self, *words: str | int) -> None:
        self._put(words, None)

    async def aclose(self) -> None:
        if self._sender is not None and not self._sender.done():
            await asyncio.wait([self._sender], timeout=1)
        await self._redis.aclose()

    def _put(self, words: tuple[Any, ...], future: asyncio.Future[Any] | None) -> None:
        if self.is_away and time.monotonic() < self._away_until:
            return
        self._waiting.append((words, future))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        while self._waiting:
            calls, self._waiting = self._waiting, []
            try:
                async with asyncio.timeout(REPLY_TIMEOUT_S * 2):
                    replies = await self._execute(calls)
            except (RedisError, OSError, TimeoutError) as exc:
                self._gone(calls, exc)
                continue
            if self.is_away:
                self.is_away = False
                log.info("redis_back")
            for (_, future), reply in zip(calls, replies, strict=True):
                _settle(future, reply)

    async def _execute(self, calls: list[_Call]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for words, _ in calls:
            pipeline.execute_command(*words)
        replies = await pipeline.execute(raise_on_error=False)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            # A Redis that restarted has forgotten the scripts. None of these calls ran, so they may run now.
            for script in self._scripts:
                await self._redis.script_load(script.source)
            for index, reply in enumerate(replies):
                if isinstance(reply, NoScriptError):
                    replies[index] = await self._redis.execute_command(*calls[index][0])  # type: ignore[no-untyped-call]
        return replies

    def _gone(self, calls: list[_Call], exc: Exception) -> None:
        if not self.is_away:
            log.warning("redis_away", error=str(exc) or type(exc).__name__)
        self.is_away = True
        self._away_until = time.monotonic() + AWAY_S
        waiting, self._waiting = self._waiting, []
        for _, future in calls + waiting:
            _settle(future, RedisAway())


def _settle(future: asyncio.Future[Any] | None, reply: Any) -> None:
    if future is None or future.done():
        return
    if isinstance(reply, RedisAway):
        future.set_exception(reply)
    elif isinstance(reply, Exception):
        future.set_exception(RedisAway(str(reply)))
    else:
        future.set_result(reply)
