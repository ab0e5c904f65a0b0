"""The web process: uvicorn, with streams that end well when it must stop.

    python -m de.server

On SIGTERM no new connection is taken and what is in flight goes on. Streams still running after DE_SHUTDOWN_GRACE_S
are ended with an error event, and charged; uvicorn alone would drop them without running their clean-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket

import uvicorn
from django.conf import settings

from de.asgi import application
from de.lean import streams_end

_M_ARENA_MAX = -8  # malloc.h
# What a stream may still need after its last words: the ledger's commit.
SETTLE_S = 5.0


class Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(settings.DE_SHUTDOWN_GRACE_S, streams_end)
        await super().shutdown(sockets)


def config() -> uvicorn.Config:
    return uvicorn.Config(
        application,
        host=settings.DE_HOST,
        port=settings.PORT,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(settings.DE_SHUTDOWN_GRACE_S + SETTLE_S),
        backlog=4096,
    )


def _share_one_heap() -> None:
    """glibc gives each thread a heap of its own, and what is freed in one is not used in another; ours do little
    allocating at the same time. Elsewhere than on glibc there is nothing to set."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


if __name__ == "__main__":
    _share_one_heap()
    Server(config()).run()
