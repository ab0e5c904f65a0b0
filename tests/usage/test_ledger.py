"""The ledger's group commit, on a real database."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from apps.accounts.changes import run_in_database_thread
from apps.core.errors import ServiceUnavailable
from apps.usage import ledger as ledger_module
from apps.usage.ledger import Ledger, LedgerRow
from apps.usage.models import LedgerEntry

pytestmark = pytest.mark.django_db(transaction=True)


def row(request_id: str, **fields: Any) -> LedgerRow:
    base: dict[str, Any] = {
        "created_at": datetime(2026, 11, 23, 12, 30, 15, 123456, tzinfo=UTC),
        "instance_id": "acme-main",
        "service": "text",
        "model_id": "m",
        "provider_id": "openai",
        "provider_model": "gpt",
        "status": "succeeded",
    }
    return LedgerRow(request_id=request_id, **base | fields)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    made = Ledger()
    made.start()
    yield made
    made.stop()


def stored(request_id: str) -> LedgerEntry:
    return LedgerEntry.objects.get(request_id=request_id)


async def put_and_wait(ledger: Ledger, request_id: str) -> None:
    await ledger.put(row(request_id))


def test_a_row_to_be_written_has_the_columns_of_the_model():
    columns = [field.column for field in LedgerEntry._meta.concrete_fields if not field.primary_key]
    assert sorted(LedgerRow.__struct_fields__) == sorted(columns)


async def test_what_is_written_is_what_is_read_back(ledger: Ledger):
    await ledger.put(
        row(
            "r1",
            cost_usd=Decimal("1234.00000000012"),
            unit_prices={"input": "0.0000025"},
            ttft_ms=12,
            is_stream=True,
            input_tokens=2**40,
        )
    )
    await ledger.put(row("r2"))
    found = await run_in_database_thread(stored, "r1")
    assert found.created_at == datetime(2026, 11, 23, 12, 30, 15, 123456, tzinfo=UTC)
    assert found.cost_usd == Decimal("1234.00000000012")
    assert found.unit_prices == {"input": "0.0000025"}
    assert (found.ttft_ms, found.is_stream, found.input_tokens) == (12, True, 2**40)
    other = await run_in_database_thread(stored, "r2")
    assert (other.cost_usd, other.ttft_ms, other.job_id) == (None, None, None)


async def test_many_at_once_share_a_few_commits(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    batches = []
    insert = ledger_module.rows_insert

    def counted(rows: Any) -> None:
        batches.append(len(rows))
        insert(rows)

    monkeypatch.setattr(ledger_module, "rows_insert", counted)
    await asyncio.gather(*(ledger.put(row(f"many-{number}")) for number in range(300)))
    assert sum(batches) == 300
    assert len(batches) < 100
    assert await run_in_database_thread(LedgerEntry.objects.count) == 300


async def test_a_row_is_written_though_its_request_was_canceled(ledger: Ledger):
    waiting = asyncio.ensure_future(put_and_wait(ledger, "left"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.to_thread(ledger.stop)
    assert (await run_in_database_thread(stored, "left")).status == "succeeded"


async def test_stopping_writes_what_is_still_queued():
    ledger = Ledger()
    ledger.start()
    for number in range(50):
        ledger.put(row(f"late-{number}"))
    await asyncio.to_thread(ledger.stop)
    assert await run_in_database_thread(LedgerEntry.objects.count) == 50


@pytest.mark.skipif(connection.vendor != "sqlite", reason="locks the database as only SQLite can be locked")
async def test_while_the_database_refuses_answers_wait_and_then_fail_and_the_row_comes_later(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(ledger_module, "HOLD_S", 0.5)
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.1)
    name = connection.settings_dict["NAME"]
    release, locked = threading.Event(), threading.Event()

    def hold() -> None:
        with sqlite3.connect(name, isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            locked.set()
            release.wait(10)
            other.execute("ROLLBACK")
        other.close()

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(5)
    ledger = Ledger()
    ledger.start()
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable):
        await ledger.put(row("held"))
    assert 0.4 < time.monotonic() - started < 3
    release.set()
    holder.join()
    await asyncio.to_thread(ledger.stop)
    assert (await run_in_database_thread(stored, "held")).status == "succeeded"
