from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from apps.usage.models import LedgerEntry
from tests.factories import Cast, make_cast
from tests.usage.ledger_client import NOON, ask, entry, page


@pytest.fixture
def people(db) -> Cast:
    return make_cast()


def test_sums_add_up_exactly_and_say_what_has_no_price(people):
    for _ in range(10):
        entry(people.instance, cost_usd=Decimal("0.1"), cached_input_tokens=3, reasoning_tokens=2)
    entry(people.instance, cost_usd=Decimal("123456.000000000001"), status="failed")
    entry(people.instance, cost_usd=None, status="canceled")
    entry(people.instance, model_id="other", cost_usd=None)
    assert page(people.bob_key, group_by="model")["rows"] == [
        {
            "model_id": "gpt-4o",
            "requests": 12,
            "succeeded": 10,
            "failed": 1,
            "canceled": 1,
            "input_tokens": 1200,
            "cached_input_tokens": 30,
            "cache_write_tokens": 0,
            "output_tokens": 240,
            "reasoning_tokens": 20,
            "cost_usd": pytest.approx(123457.0),
            "unpriced": 1,
        },
        {
            "model_id": "other",
            "requests": 1,
            "succeeded": 1,
            "failed": 0,
            "canceled": 0,
            "input_tokens": 100,
            "cached_input_tokens": 0,
            "cache_write_tokens": 0,
            "output_tokens": 20,
            "reasoning_tokens": 0,
            "cost_usd": None,
            "unpriced": 1,
        },
    ]


def test_a_sum_of_tenths_is_written_as_one(people):
    for _ in range(10):
        entry(people.instance, cost_usd=Decimal("0.1"))
    entry(people.instance, cost_usd=Decimal("0.000000000003"))
    body = ask(people.bob_key, group_by="provider").content.decode()
    assert '"cost_usd":1.000000000003,' in body


def test_sums_of_more_than_an_integer_holds_do_not_overflow(people):
    row = entry(people.instance, cost_usd=Decimal("999.999999999999"))
    row.pk = None
    LedgerEntry.objects.bulk_create([row] * 9_299)
    body = ask(people.bob_key, group_by="provider").content.decode()
    assert '"cost_usd":9299999.9999999907,' in body


@pytest.mark.parametrize(
    ("group_by", "name", "values"),
    [
        ("provider", "provider_id", ["gemini", "openai"]),
        ("project", "project_id", [None, "acme-web"]),
        ("key", "key_id", [None, "key_1"]),
        ("day", "day", ["2026-11-24", "2026-11-23"]),
    ],
)
def test_groups_are_named_and_ordered(people, group_by, name, values):
    entry(people.instance)
    entry(
        people.instance,
        provider_id="gemini",
        project_id="acme-web",
        key_id="key_1",
        created_at=NOON + dt.timedelta(hours=12),
    )
    rows = page(people.bob_key, group_by=group_by)["rows"]
    assert [row[name] for row in rows] == values
    assert [row["requests"] for row in rows] == [1, 1]


@pytest.mark.parametrize("group_by", ["model", "day", "key"])
def test_pages_of_groups_join_without_gap_or_repeat(people, group_by):
    for n in range(5):
        for _ in range(2):
            moment = NOON + dt.timedelta(days=n)
            entry(people.instance, model_id=f"m-{n}", key_id=f"k-{n}" if n else "", created_at=moment)
    whole = page(people.bob_key, group_by=group_by)["rows"]
    seen, cursor = [], None
    while cursor is not None or not seen:
        query = {"cursor": cursor} if cursor else {}
        found = page(people.bob_key, group_by=group_by, limit=2, **query)
        seen += found["rows"]
        cursor = found["next"]
    assert seen == whole
    assert len(whole) == 5


def test_sums_obey_the_filters(people):
    entry(people.instance, created_at=NOON - dt.timedelta(days=3))
    entry(people.instance, status="failed")
    entry(people.instance)
    rows = page(people.bob_key, group_by="model", since=NOON, status="succeeded")["rows"]
    assert [row["requests"] for row in rows] == [1]
