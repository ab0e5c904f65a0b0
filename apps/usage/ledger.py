"""Answered means recorded: the ledger's group commit.

Finished requests hand their row over and wait; one thread writes whatever has gathered in a single transaction and
wakes them all, and only then does the last byte of each answer go out. Under load a commit carries many rows, alone
a request waits for one commit. See docs/adr/0003-ledger-group-commit.md.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec
import structlog
from django.db import DatabaseError, connection

from apps.core.errors import ServiceUnavailable
from apps.usage.models import LedgerEntry

log = structlog.get_logger(__name__)

# Times the columns, this stays below what either database takes as parameters of one statement.
MAX_BATCH = 500
# How long an answer is held back while the database refuses rows, before it fails.
HOLD_S = 20.0
RETRY_PAUSE_S = 0.2


class LedgerRow(msgspec.Struct, kw_only=True):
    """A row to be written: the columns of LedgerEntry by name. Not the model itself, whose making and preparing takes
    six times as long as the insert."""

    created_at: datetime
    request_id: str
    attempt: int = 1
    job_id: str | None = None
    instance_id: str
    project_id: str = ""
    user_id: str = ""
    key_id: str = ""
    service: str
    model_id: str
    provider_id: str
    provider_model: str
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    unit_prices: dict[str, str] = {}
    cost_usd: Decimal | None = None
    status: str
    error_code: str = ""
    latency_ms: int = 0
    ttft_ms: int | None = None
    is_stream: bool = False
    is_sandbox: bool = False
    is_estimated: bool = False


class _Item:
    """A row on its way, and who waits for it."""

    __slots__ = ("future", "loop", "queued_at", "row")

    def __init__(self, row: LedgerRow, loop: asyncio.AbstractEventLoop) -> None:
        self.row = row
        self.loop = loop
        self.future: asyncio.Future[None] = loop.create_future()
        self.queued_at = time.monotonic()


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

    def put(self, row: LedgerRow) -> asyncio.Future[None]:
        """Queue a row at once; the future is done when it is committed. The row is written even if nobody waits.

        The future raises ServiceUnavailable when the database has refused for HOLD_S; the row stays queued and is
        written as soon as the database is back.
        """
        item = _Item(row, asyncio.get_running_loop())
        self._items.put(item)
        return item.future

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
                rows_insert([item.row for item in batch])
                break
            except (DatabaseError, sqlite3.Error) as exc:
                if not failing:
                    log.error("ledger_write_failed", rows=len(batch), error=str(exc))
                failing = True
                connection.close()
                now = time.monotonic()
                _wake([item for item in batch if now - item.queued_at > HOLD_S], is_written=False)
                if give_up_at is not None and now > give_up_at:
                    log.critical("ledger_rows_lost", requests=[item.row.request_id for item in batch])
                    return
                time.sleep(RETRY_PAUSE_S)
        _wake(batch, is_written=True)


def _wake(items: list[_Item], *, is_written: bool) -> None:
    """Tell those who wait, with one call into their event loop (there is one, but in tests)."""
    for loop in {item.loop for item in items}:
        futures = [item.future for item in items if item.loop is loop]
        try:
            loop.call_soon_threadsafe(_settle, futures, is_written)
        except RuntimeError:
            pass  # the loop has closed: the process is on its way out, and what is written is safe


def _settle(futures: list[asyncio.Future[None]], is_written: bool) -> None:
    for future in futures:
        if future.done():
            continue
        if is_written:
            future.set_result(None)
        else:
            future.set_exception(
                ServiceUnavailable("The ledger can't be written right now; nothing is answered unrecorded.")
            )


def rows_insert(rows: Sequence[LedgerRow]) -> None:
    """Insert rows, all or none, durable when this returns (SQLite: synced to disk, unlike other writes).

    One statement and so one transaction: BEGIN and COMMIT of their own would hand the interpreter lock to and fro
    twice more, which on a busy process costs more than the insert.
    """
    if connection.vendor == "sqlite":
        raw = _sqlite_connection()
        raw.execute(
            _insert(len(rows), "?"), [value for row in rows for value in _values(row, is_sqlite=True)]
        )
        return
    with connection.cursor() as cursor:
        cursor.execute(
            _insert(len(rows), "%s"), [value for row in rows for value in _values(row, is_sqlite=False)]
        )


def _sqlite_connection() -> Any:
    """The database module's own connection, past Django's cursors: they rewrite the statement at every call."""
    if connection.connection is None:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=FULL")
    return connection.connection


@lru_cache(maxsize=MAX_BATCH)
def _insert(rows: int, hole: str) -> str:
    columns = LedgerRow.__struct_fields__
    values = "(" + ", ".join([hole] * len(columns)) + ")"
    table = LedgerEntry._meta.db_table
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([values] * rows)}"


def _values(row: LedgerRow, *, is_sqlite: bool) -> tuple[Any, ...]:
    """As the backend stores them; tests/usage/test_ledger.py reads them back through the model on either."""
    stored = msgspec.structs.replace(row, unit_prices=json.dumps(row.unit_prices))
    if is_sqlite:  # it has no types for these two
        stored.created_at = str(row.created_at.astimezone(UTC).replace(tzinfo=None))  # type: ignore[assignment]
        stored.cost_usd = None if row.cost_usd is None else format(row.cost_usd, "f")  # type: ignore[assignment]
    return msgspec.structs.astuple(stored)
