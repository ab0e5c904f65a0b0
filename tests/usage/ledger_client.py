"""What the tests of GET /config/usage share: ledger rows, and a client that asks for them."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal

from django.test import Client

from apps.accounts.models import Instance
from apps.usage.models import LedgerEntry

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
_numbers = itertools.count(1)


def entry(instance: Instance, **fields) -> LedgerEntry:
    made = {
        "created_at": NOON,
        "request_id": f"req-{next(_numbers)}",
        "instance_id": instance.pk,
        "service": "text",
        "model_id": "gpt-4o",
        "provider_id": "openai",
        "provider_model": "gpt-4o",
        "input_tokens": 100,
        "output_tokens": 20,
        "unit_prices": {"input": "0.0000025", "output": "0.00001"},
        "cost_usd": Decimal("0.00045"),
        "status": "succeeded",
        "latency_ms": 800,
    }
    return LedgerEntry.objects.create(**made | fields)


def ask(key: str, **query):
    return Client().get("/config/usage", query, HTTP_AUTHORIZATION=f"Bearer {key}")


def page(key: str, **query):
    answer = ask(key, **query)
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


def ids(key: str, **query) -> list[str]:
    return [row["request_id"] for row in page(key, **query)["rows"]]


def refusal(key: str, **query):
    answer = ask(key, **query)
    body = answer.json()
    assert body["request_id"]
    return answer.status_code, body["error_code"], body.get("details", {})
