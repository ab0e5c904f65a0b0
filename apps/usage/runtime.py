"""The few things a process opens once and every request shares."""

from __future__ import annotations

from apps.providers.http import ProviderClient
from apps.usage.ledger import Ledger
from apps.usage.limits import Limiter


class Runtime:
    """Made inside the event loop that will use it."""

    def __init__(self, *, redis_url: str, allow_private: bool) -> None:
        self.client = ProviderClient(allow_private=allow_private)
        self.limiter = Limiter(redis_url)
        self.ledger = Ledger()


_current: Runtime | None = None


def runtime() -> Runtime:
    if _current is None:
        raise RuntimeError("No runtime is open: call open_runtime() when the process starts.")
    return _current


async def open_runtime(*, redis_url: str, allow_private: bool) -> Runtime:
    global _current
    _current = Runtime(redis_url=redis_url, allow_private=allow_private)
    _current.ledger.start()
    return _current


async def close_runtime() -> None:
    """Writes the rows still queued, then lets go of connections."""
    global _current
    if _current is None:
        return
    closing, _current = _current, None
    closing.ledger.stop()
    await closing.client.aclose()
    await closing.limiter.aclose()
