"""One connection to Redis per process, spoken to in batches.

Whatever is asked while a batch is under way goes into the next one, so under load a round trip serves many requests
and alone a request waits for nobody. What nobody waits for is put off a little, to ride along. A Redis that is slow is
worse than one that is dead: past REPLY_TIMEOUT_S it counts as away, and for AWAY_S nobody asks it again.

The client library connects (TLS, log-in, database) and parses; its own pipeline costs three times as much a call.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Any

import hiredis
import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError

log = structlog.get_logger(__name__)

REPLY_TIMEOUT_S = 0.1
AWAY_S = 1.0
# How long a call nobody waits for may wait for company.
RIDE_ALONG_S = 0.01

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
        # No time-outs of its own: each would cost a timer per reply. Every use below is inside one of ours.
        self._redis = Redis.from_url(url, socket_timeout=None, socket_connect_timeout=None)
        self._connection: AbstractConnection | None = None
        self._scripts: list[Script] = []
        self._waiting: list[_Call] = []
        self._sender: asyncio.Task[None] | None = None
        self._ride: asyncio.TimerHandle | None = None
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
        if self._is_given_up:
            future.set_exception(RedisAway())
            return future
        self._waiting.append((_evalsha(script, keys, arguments), future))
        self._send_soon()
        return future

    def send(self, script: Script, keys: list[str], arguments: list[str | int]) -> None:
        """As `call`, for replies nobody waits for; lost when Redis is away."""
        self.command(*_evalsha(script, keys, arguments))

    def command(self, *words: str | int) -> None:
        if self._is_given_up:
            return
        self._waiting.append((words, None))
        if self._ride is None and self._is_idle:
            self._ride = asyncio.get_running_loop().call_later(RIDE_ALONG_S, self._send_soon)

    async def aclose(self) -> None:
        """Sends what is still waiting, then lets go."""
        if self._waiting:
            self._send_soon()
        if self._sender is not None and not self._sender.done():
            await asyncio.wait([self._sender], timeout=1)
        await self._drop_connection()
        await self._redis.aclose()

    @property
    def _is_given_up(self) -> bool:
        return self.is_away and time.monotonic() < self._away_until

    @property
    def _is_idle(self) -> bool:
        return self._sender is None or self._sender.done()

    def _send_soon(self) -> None:
        if self._ride is not None:
            self._ride.cancel()
            self._ride = None
        if self._is_idle:
            self._sender = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        while self._waiting:
            calls, self._waiting = self._waiting, []
            try:
                async with asyncio.timeout(REPLY_TIMEOUT_S):
                    replies = await self._execute(calls)
            except (RedisError, OSError, TimeoutError) as exc:
                await self._gone(calls, exc)
                continue
            if self.is_away:
                self.is_away = False
                log.info("redis_back")
            for (_, future), reply in zip(calls, replies, strict=True):
                _settle(future, reply)

    async def _execute(self, calls: list[_Call]) -> list[Any]:
        replies = await self._exchange([words for words, _ in calls])
        if any(isinstance(reply, NoScriptError) for reply in replies):
            # A Redis that restarted has forgotten the scripts. None of these calls ran, so they may run now.
            await self._exchange([("SCRIPT", "LOAD", script.source) for script in self._scripts])
            missed = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            again = await self._exchange([calls[index][0] for index in missed])
            for index, reply in zip(missed, again, strict=True):
                replies[index] = reply
        return replies

    async def _exchange(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        connection = self._connection
        if connection is None:
            connection = self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            await connection.connect()
            self._connection = connection
        await connection.send_packed_command(
            b"".join([hiredis.pack_command(words) for words in commands]), check_health=False
        )
        return [await self._reply(connection) for _ in commands]

    async def _reply(self, connection: AbstractConnection) -> Any:
        try:
            return await connection.read_response()
        except NoScriptError as exc:
            return exc

    async def _gone(self, calls: list[_Call], exc: Exception) -> None:
        if not self.is_away:
            log.warning("redis_away", error=str(exc) or type(exc).__name__)
        self.is_away = True
        self._away_until = time.monotonic() + AWAY_S
        waiting, self._waiting = self._waiting, []
        for _, future in calls + waiting:
            _settle(future, RedisAway())
        await self._drop_connection()

    async def _drop_connection(self) -> None:
        """Replies still on their way would be taken for those of the next batch."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


def _evalsha(script: Script, keys: list[str], arguments: list[str | int]) -> tuple[str | int, ...]:
    return ("EVALSHA", script.sha, len(keys), *keys, *arguments)


def _settle(future: asyncio.Future[Any] | None, reply: Any) -> None:
    if future is None or future.done():
        return
    if isinstance(reply, Exception):
        future.set_exception(reply if isinstance(reply, RedisAway) else RedisAway(str(reply)))
    else:
        future.set_result(reply)
