"""Answered means recorded: the ledger's group commit.

Finished requests hand their row over and wait; one thread writes whatever has gathered in a single transaction and
wakes them all, and only then does the last byte of each answer go out. Under load a commit carries many rows, alone
a request waits for one commit. See docs/adr/0003-ledger-group-commit.md.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from django.db import DatabaseError, connection, transaction

from apps.core.errors import ServiceUnavailable
from apps.usage.models import LedgerEntry

log = structlog.get_logger(__name__)

MAX_BATCH = 500
# How long an answer is held back while the database refuses rows, before it fails.
HOLD_S = 20.0
RETRY_PAUSE_S = 0.2

_Item = tuple[LedgerEntry, Callable[[], None]]

_FIELDS = [field for field in LedgerEntry._meta.concrete_fields if not field.primary_key]


class Ledger:
    """One per process. start() before the first row, stop() after the last: it writes what is left."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="de-ledger", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self._items.put(None)
            self._thread.join(timeout=HOLD_S)
            self._thread = None

    def put(self, entry: LedgerEntry) -> asyncio.Future[None]:
        """Queue a row at once; the future is done when it is committed. The row is written even if nobody waits."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def resolve() -> None:
            if not future.done():
                future.set_result(None)

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(resolve)
            except RuntimeError:
                pass  # the loop has closed: the process is on its way out, and the row is safe

        self._items.put((entry, wake))
        return future

    async def record(self, entry: LedgerEntry) -> None:
        """Return when the row is committed. Raises ServiceUnavailable when the database refuses for HOLD_S; the row
        stays queued and is written as soon as the database is back."""
        future = self.put(entry)
        try:
            async with asyncio.timeout(HOLD_S):
                await asyncio.shield(future)
        except TimeoutError as exc:
            raise ServiceUnavailable(
                "The ledger can't be written right now; nothing is answered unrecorded."
            ) from exc

    def _run(self) -> None:
        stopping = False
        while not stopping:
            first = self._items.get()
            if first is None:
                break
            batch = [first]
            while len(batch) < MAX_BATCH:
                try:
                    item = self._items.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    stopping = True
                    break
                batch.append(item)
            self._write(batch, give_up_at=time.monotonic() + HOLD_S if stopping else None)
        connection.close()

    def _write(self, batch: list[_Item], *, give_up_at: float | None) -> None:
        """Commit the batch, trying again for as long as the database is away."""
        failing = False
        while True:
            try:
                entries_insert([entry for entry, _ in batch])
                break
            except DatabaseError as exc:
                if not failing:
                    log.error("ledger_write_failed", rows=len(batch), error=str(exc))
                failing = True
                connection.close()
                if give_up_at is not None and time.monotonic() > give_up_at:
                    log.critical("ledger_rows_lost", requests=[entry.request_id for entry, _ in batch])
                    return
                time.sleep(RETRY_PAUSE_S)
        for _, wake in batch:
            wake()


def entries_insert(entries: Sequence[LedgerEntry]) -> None:
    """Insert rows in one transaction, durable when this returns (SQLite: synced to disk, unlike other writes)."""
    if connection.connection is None and connection.vendor == "sqlite":
        connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=FULL")
    with transaction.atomic(), connection.cursor() as cursor:
        # bulk_create costs four times as much a row, most of it in building expressions for plain values.
        cursor.executemany(_insert_sql(), [_values(entry) for entry in entries])


def _insert_sql() -> str:
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in _FIELDS)
    holes = ", ".join(["%s"] * len(_FIELDS))
    return f"INSERT INTO {quote(LedgerEntry._meta.db_table)} ({columns}) VALUES ({holes})"


def _values(entry: LedgerEntry) -> list[Any]:
    return [field.get_db_prep_save(getattr(entry, field.attname), connection) for field in _FIELDS]
