"""What a web process holds from start to end: the provider client, the ledger's writer, the limiter, the feed."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings

from apps.accounts.changes import ChangeWatcher, run_in_database_thread
from apps.accounts.last_used import last_used_flush
from apps.usage import runtime

Message = MutableMapping[str, Any]


async def lifespan(
    receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """ASGI's lifespan protocol."""
    await receive()
    watcher = ChangeWatcher(also=last_used_flush)
    try:
        await runtime.open_runtime(
            redis_url=settings.DE_REDIS_URL, allow_private=settings.DE_ALLOW_PRIVATE_NETWORKS
        )
        await run_in_database_thread(watcher.poll)
        watcher.start()
    except Exception as exc:
        await send({"type": "lifespan.startup.failed", "message": f"{type(exc).__name__}: {exc}"})
        raise
    # All that start-up made lives as long as the process: keep the collector from walking it again and again.
    gc.collect()
    gc.freeze()
    # What requests leave behind is mostly freed by reference counts; at the default of 700 the collector would run
    # several times a request, and its full passes stop a thousand open streams for a third of a second.
    gc.set_threshold(10_000, 20, 100)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    watcher.stop()
    await runtime.close_runtime()
    await send({"type": "lifespan.shutdown.complete"})
