from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

import pytest
from django.core import signing
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator

from apps.accounts.changes import caches_clear
from apps.accounts.models import Instance, InstanceAccess, Project
from apps.usage import selectors
from apps.usage.models import LedgerEntry
from apps.usage.serializers import GROUPS
from tests.factories import Cast, make_cast, make_key
from tests.usage.ledger_client import NOON, ask, entry, ids, page, refusal


@pytest.fixture
def people(db) -> Cast:
    return make_cast()


# --- rows -----------------------------------------------------------------------------------------------------


def test_a_row_says_all_the_ledger_knows(people):
    entry(
        people.instance,
        request_id="req-a",
        project_id="acme-web",
        key_id="key_1",
        cached_input_tokens=40,
        cache_write_tokens=5,
        reasoning_tokens=7,
        ttft_ms=120,
        is_stream=True,
    )
    assert page(people.bob_key)["rows"] == [
        {
            "request_id": "req-a",
            "attempt": 1,
            "job_id": None,
            "created_at": "2026-11-23T12:00:00Z",
            "instance_id": "acme-main",
            "project_id": "acme-web",
            "user_id": None,
            "key_id": "key_1",
            "service": "text",
            "model_id": "gpt-4o",
            "provider_id": "openai",
            "provider_model": "gpt-4o",
            "input_tokens": 100,
            "cached_input_tokens": 40,
            "cache_write_tokens": 5,
            "output_tokens": 20,
            "reasoning_tokens": 7,
            "unit_prices": {"input": "0.0000025", "output": "0.00001"},
            "cost_usd": 0.00045,
            "status": "succeeded",
            "error_code": None,
            "latency_ms": 800,
            "ttft_ms": 120,
            "is_stream": True,
            "is_sandbox": False,
            "is_estimated": False,
        }
    ]


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        ("0.000000000001", "0.000000000001"),
        ("0.0000025", "0.0000025"),
        ("12", "12"),
        ("100", "100"),
        ("0", "0"),
        ("123.456789012345", "123.456789012345"),
        (None, "null"),
    ],
)
def test_costs_are_plain_json_numbers_with_every_digit(people, cost, text):
    entry(people.instance, cost_usd=None if cost is None else Decimal(cost))
    body = ask(people.bob_key).content.decode()
    assert re.search(r'"cost_usd":([^,}]+)', body)[1] == text


def test_the_newest_come_first(people):
    made = [entry(people.instance).request_id for _ in range(3)]
    assert ids(people.bob_key) == made[::-1]


def test_pages_join_without_gap_or_repeat(people):
    made = [entry(people.instance).request_id for _ in range(7)]
    seen, cursor = [], None
    for _ in range(4):
        found = page(people.bob_key, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [row["request_id"] for row in found["rows"]]
        cursor = found["next"]
        entry(people.instance)  # newer rows must not shift the pages
    assert cursor is None
    assert seen == made[::-1]


def test_a_full_last_page_has_no_next(people):
    entry(people.instance)
    entry(people.instance)
    assert page(people.bob_key, limit=2)["next"] is None


# --- filters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("request_id", "req-x", "req-y"),
        ("job_id", "job_1", "job_2"),
        ("key_id", "key_1", "key_2"),
        ("model_id", "gpt-6-luna", "gpt-4o"),
        ("provider_id", "gemini", "openai"),
        ("status", "failed", "succeeded"),
    ],
)
def test_each_filter_keeps_what_it_names(people, name, value, other):
    entry(people.instance, **{name: other})
    wanted = entry(people.instance, **{name: value}).request_id
    assert ids(people.bob_key, **{name: value}) == [wanted]
    assert ids(people.root_key, **{name: value}) == [wanted]


def test_project_filter_keeps_that_projects_rows(people):
    entry(people.instance)
    wanted = entry(people.instance, project_id="acme-web").request_id
    assert ids(people.bob_key, project_id="acme-web") == [wanted]


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z"),
        ("2026-11-23T12:00:00", "2026-11-23T13:00:00"),
        ("2026-11-23T13:00:00+01:00", "2026-11-23T14:00:00 01:00"),
        (str(int(NOON.timestamp())), f"{NOON.timestamp() + 3600:.3f}"),
    ],
)
def test_since_is_inclusive_and_until_is_not(people, since, until):
    entry(people.instance, created_at=NOON - dt.timedelta(seconds=1))
    first = entry(people.instance, created_at=NOON).request_id
    last = entry(people.instance, created_at=NOON + dt.timedelta(minutes=59)).request_id
    entry(people.instance, created_at=NOON + dt.timedelta(hours=1))
    assert ids(people.bob_key, since=since, until=until) == [last, first]


def test_times_cut_a_large_table_by_id_without_losing_rows(people, monkeypatch):
    monkeypatch.setattr(selectors, "MIN_ID_SPAN", 0)
    days = [entry(people.instance, created_at=NOON + dt.timedelta(days=n)).request_id for n in range(12)]
    assert ids(people.bob_key, since=NOON + dt.timedelta(days=5)) == days[:4:-1]
    assert ids(people.bob_key, until=NOON + dt.timedelta(days=5)) == days[4::-1]
    assert ids(people.bob_key, since=NOON - dt.timedelta(days=5)) == days[::-1]
    assert ids(people.bob_key, since=NOON + dt.timedelta(days=50)) == []
    LedgerEntry.objects.filter(request_id__in=days[3:9]).delete()  # retention leaves gaps
    assert ids(people.bob_key, since=NOON + dt.timedelta(days=2)) == [days[11], days[10], days[9], days[2]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"since": "0001-01-01"}, "since"),
        ({"since": "9999-12-31T23:59:59-10:00"}, "since"),
        ({"until": "99999999999999999999"}, "until"),
        ({"until": "\x00"}, "until"),
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"request_id": "a\x00b"}, "request_id"),
        ({"model_id": "x" * 300}, "model_id"),
        ({"colour": "red"}, "colour"),
        ({"tenant": "globex"}, "tenant"),
    ],
)
def test_a_bad_parameter_is_named(people, query, field):
    status, code, details = refusal(people.bob_key, **query)
    assert (status, code) == (400, "INVALID_REQUEST")
    assert list(details["fields"]) == [field]


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("status", ["succeeded", "failed", "canceled"]),
        ("group_by", ["model", "provider", "project", "key", "day"]),
    ],
)
def test_an_unknown_filter_value_is_answered_with_the_allowed_ones(people, name, allowed):
    status, _, details = refusal(people.bob_key, **{name: "purple"})
    assert status == 400
    assert details["allowed"][name] == allowed


def test_a_cursor_that_was_tampered_with_is_refused(people):
    for _ in range(3):
        entry(people.instance)
    cursor = page(people.bob_key, limit=1)["next"]
    assert refusal(people.bob_key, cursor=cursor[:-1] + ("A" if cursor[-1] != "A" else "B"))[0] == 400
    forged = signing.Signer(salt="another.salt").sign_object({"of": "", "id": 1})
    assert refusal(people.bob_key, cursor=forged)[0] == 400


def test_a_cursor_of_sums_does_not_page_rows(people):
    entry(people.instance, model_id="a")
    entry(people.instance, model_id="b")
    cursor = page(people.bob_key, limit=1, group_by="model")["next"]
    assert refusal(people.bob_key, cursor=cursor)[2]["fields"].keys() == {"cursor"}
    assert refusal(people.bob_key, cursor=cursor, group_by="day")[0] == 400


# --- whose rows -----------------------------------------------------------------------------------------------


@pytest.fixture
def rows(people):
    return {
        "acme": entry(people.instance).request_id,
        "acme-web": entry(people.instance, project_id="acme-web").request_id,
        "globex": entry(people.other_instance).request_id,
        "deleted": entry(Instance(pk="long-gone")).request_id,
    }


def test_everybody_sees_their_own_tenants_rows_and_no_others(people, rows):
    acme = [rows["acme-web"], rows["acme"]]
    assert ids(people.bob_key) == acme
    assert ids(people.rita_key) == acme  # readonly is enough to read
    assert ids(people.alice_key) == acme
    assert ids(people.charlie_key) == [rows["globex"]]
    assert ids(people.bob_test_key) == acme
    assert ids(people.root_key) == [rows["deleted"], rows["globex"], *acme]


def test_a_projects_key_sees_its_own_project_only(people, rows):
    assert ids(people.project_key) == [rows["acme-web"]]
    assert ids(people.project_key, instance_id="acme-main") == [rows["acme-web"]]
    assert ids(people.project_key, project_id="acme-web") == [rows["acme-web"]]
    assert [row["requests"] for row in page(people.project_key, group_by="model")["rows"]] == [1]


def test_a_projects_key_may_not_ask_for_another_project(people, rows):
    Project.objects.create(project_id="acme-app", instance=people.instance, name="Acme app")
    assert refusal(people.project_key, project_id="acme-app")[:2] == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("query", [{"instance_id": "acme-main"}, {"project_id": "acme-web"}])
def test_another_tenants_instance_or_project_is_refused(people, rows, query):
    assert refusal(people.charlie_key, **query)[:2] == (403, "PERMISSION_DENIED")
    assert refusal(people.charlie_key, group_by="model", **query)[:2] == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"instance_id": "nowhere"}, "INSTANCE_NOT_FOUND"),
        ({"instance_id": "../x"}, "INSTANCE_NOT_FOUND"),
        ({"project_id": "nothing"}, "PROJECT_NOT_FOUND"),
    ],
)
def test_an_unknown_instance_or_project_is_not_found(people, query, code):
    assert refusal(people.root_key, **query)[:2] == (404, code)
    assert refusal(people.bob_key, **query)[:2] == (404, code)


def test_a_project_must_be_on_the_instance_named_with_it(people, rows):
    assert refusal(people.root_key, project_id="acme-web", instance_id="globex-main")[0] == 403


def test_another_tenants_request_id_finds_nothing(people, rows):
    assert ids(people.charlie_key, request_id=rows["acme"]) == []
    assert ids(people.bob_key, request_id=rows["acme"]) == [rows["acme"]]


def test_the_instance_header_names_the_instance_too(people, rows):
    answer = Client().get(
        "/config/usage", HTTP_AUTHORIZATION=people.root_key, HTTP_X_INSTANCE_ID="globex-main"
    )
    assert [row["request_id"] for row in answer.json()["data"]["rows"]] == [rows["globex"]]


def test_a_key_of_other_services_may_not_read_usage(people):
    key = make_key(people.bob, name="text only", allowed_services=["text"])
    assert refusal(key)[:2] == (403, "PERMISSION_DENIED")


def test_without_a_key_there_is_nothing_to_see(db):
    answer = Client().get("/config/usage")
    assert (answer.status_code, answer.json()["error_code"]) == (401, "UNAUTHENTICATED")


def test_the_ledger_can_only_be_read(people):
    answer = Client().post("/config/usage", {}, HTTP_AUTHORIZATION=people.root_key)
    assert (answer.status_code, answer.json()["error_code"]) == (405, "METHOD_NOT_ALLOWED")


# --- several instances at once --------------------------------------------------------------------------------


def test_pages_over_several_instances_are_in_order(people):
    instances = [people.instance, people.other_instance]
    instances += [
        Instance.objects.create(instance_id=f"bob-{n}", org=people.globex, name="x") for n in range(5)
    ]
    for instance in instances[2:]:
        InstanceAccess.objects.create(user=people.bob, instance=instance)
    caches_clear()
    order = [0, 2, 2, 3, 1, 2, 4, 4, 4, 3, 0, 1, 5, 2, 2, 2, 0]  # 1 is Globex's: not his; 6 has none
    made = [(place, entry(instances[place]).request_id) for place in order]
    expected = [request_id for place, request_id in reversed(made) if place != 1]
    seen, cursor = [], None
    while cursor is not None or not seen:
        found = page(people.bob_key, limit=3, **({"cursor": cursor} if cursor else {}))
        seen += [row["request_id"] for row in found["rows"]]
        cursor = found["next"]
    assert seen == expected
    assert ids(people.bob_key, model_id="nothing") == []


def test_a_key_that_may_read_no_instance_sees_nothing(people):
    InstanceAccess.objects.filter(user=people.bob).delete()
    caches_clear()
    entry(people.instance)
    assert ids(people.bob_key) == []
    assert page(people.bob_key, group_by="day") == {"rows": [], "next": None}


# --- speed ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's query plans")
@pytest.mark.parametrize("who", ["bob_key", "root_key", "several"])
@pytest.mark.parametrize("query", [{}, {"since": "2026-11-01"}, {"request_id": "req-x"}])
def test_a_page_is_one_walk_along_an_index(people, who, query):
    """No sorting of a tenant's rows, no walk through everybody's: either would take seconds on millions of rows."""
    entry(people.instance, request_id="req-x")
    key = make_key(people.bob) if who == "several" else getattr(people, who)
    if who == "several":
        InstanceAccess.objects.create(user=people.bob, instance=people.other_instance)
        caches_clear()
    with CaptureQueriesContext(connection) as queries:
        page(key, **query)
    asked = [q["sql"] for q in queries if "usage_ledgerentry" in q["sql"] and q["sql"].startswith("SELECT")]
    assert asked
    for sql in asked:
        plan = " | ".join(
            row[3] for row in connection.cursor().execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
        )
        is_first_or_last_row = sql.endswith("LIMIT 1")
        if who != "root_key" and not is_first_or_last_row:
            assert "SCAN usage_ledgerentry" not in plan
        if "accounts_instance" not in sql:  # there the heads of a few instances are sorted
            assert "TEMP B-TREE" not in plan
        if query.get("request_id"):
            assert "ledger_request (request_id=?)" in plan


# --- documentation --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def schema():
    return SchemaGenerator().get_schema(request=None, public=True)


def test_the_schema_knows_every_filter_and_every_answer(schema):
    operation = schema["paths"]["/config/usage"]["get"]
    assert {"200", "400", "401", "403", "404", "405", "429"} <= set(operation["responses"])
    assert {parameter["name"] for parameter in operation["parameters"]} == {
        *("request_id", "job_id", "instance_id", "project_id", "key_id", "model_id", "provider_id", "status"),
        *("since", "until", "group_by", "limit", "cursor"),
    }


def as_json_schema(openapi):
    """OpenAPI 3.0 says "nullable" where JSON Schema has a type of its own."""
    if isinstance(openapi, list):
        return [as_json_schema(item) for item in openapi]
    if not isinstance(openapi, dict):
        return openapi
    made = {name: as_json_schema(value) for name, value in openapi.items()}
    return made | {"type": [made["type"], "null"]} if made.pop("nullable", False) is True else made


def test_answers_are_what_the_schema_says(people, schema):
    answer = schema["paths"]["/config/usage"]["get"]["responses"]["200"]["content"]["application/json"]
    validator = Draft202012Validator(as_json_schema(answer["schema"] | {"components": schema["components"]}))
    for query in ({}, {"group_by": "model"}):
        validator.validate(ask(people.bob_key, **query).json())
    entry(people.instance)
    entry(people.instance, cost_usd=None, project_id="acme-web", job_id="job_1", ttft_ms=3, error_code="X")
    for query in ({}, {"limit": 1}, *({"group_by": group} for group in GROUPS)):
        validator.validate(ask(people.bob_key, **query).json())
