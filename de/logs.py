"""Logs: one line an event, the request id on each, for people or (DE_LOG_FORMAT=json) for machines."""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any

import structlog

# Keys of ours and of the makers, wherever they turn up.
_KEY = re.compile(
    r"\b(sk[-_](?:live_|test_|ant-|proj-)?[A-Za-z0-9_-]{8})[A-Za-z0-9_-]{8,}|\bAIza[A-Za-z0-9_-]{20,}"
)


def scrub(text: str) -> str:
    return _KEY.sub(lambda found: f"{found[0][:7]}…", text)


def _scrub_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = scrub(value)
    return event


def configure(*, level: str, as_json: bool) -> None:
    """Set up structlog and send the standard library's records through it."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _scrub_event,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Clients' mistakes are answered, not logged: a busy public address would write of nothing else.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    for noisy in ("uvicorn.access", "uvicorn.error", "httpx", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
