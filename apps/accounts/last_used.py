"""When each key was last used, written in batches: a row update per request would cost more than the request."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from apps.accounts.models import ApiKey
from apps.accounts.selectors import Caller

FLUSH_INTERVAL_S = 10.0

_pending: dict[str, float] = {}
_last_flush = 0.0


def key_touch(caller: Caller) -> None:
    if caller.key is not None:
        _pending[caller.key.key_id] = time.time()


def last_used_flush(*, force: bool = False) -> None:
    """Write what has gathered, at most every FLUSH_INTERVAL_S; called by the process's housekeeping thread."""
    global _last_flush
    if not _pending or not (force or time.monotonic() - _last_flush > FLUSH_INTERVAL_S):
        return
    _last_flush = time.monotonic()
    # Taken one by one: the event loop's thread goes on adding meanwhile.
    taken = [_pending.popitem() for _ in range(len(_pending))]
    rows = [ApiKey(key_id=key_id, last_used_at=datetime.fromtimestamp(at, UTC)) for key_id, at in taken]
    ApiKey.objects.bulk_update(rows, ["last_used_at"], batch_size=500)
