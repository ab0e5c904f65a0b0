"""Each provider as this process last saw it: what the health endpoints show without calling anybody."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

_states: dict[str, dict[str, Any]] = {}


def provider_succeeded(provider: str) -> None:
    _states.setdefault(provider, {})["last_success_at"] = time.time()


def provider_failed(provider: str, error_code: str) -> None:
    _states.setdefault(provider, {}).update(last_failure_at=time.time(), last_error_code=error_code)


def provider_states(known: Iterable[str]) -> dict[str, dict[str, Any]]:
    """provider -> {"status": "healthy"|"failing"|"unknown", "last_success_at", "last_failure_at", "last_error_code"}.

    Of those seen, and of `known` ones ("unknown" until they are called).
    """
    return {provider: _describe(_states.get(provider, {})) for provider in sorted({*_states, *known})}


def _describe(state: dict[str, Any]) -> dict[str, Any]:
    succeeded, failed = state.get("last_success_at", 0.0), state.get("last_failure_at", 0.0)
    status = "unknown" if not state else "healthy" if succeeded >= failed else "failing"
    shown: dict[str, Any] = {"status": status}
    for name, at in (("last_success_at", succeeded), ("last_failure_at", failed)):
        shown[name] = datetime.fromtimestamp(at, UTC).isoformat() if at else None
    shown["last_error_code"] = state.get("last_error_code")
    return shown
