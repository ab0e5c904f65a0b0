"""Bodies from anybody: each is refused in the one envelope, nothing is half written."""

from __future__ import annotations

import json

import pytest

from apps.accounts.models import ApiKey, AuditEntry
from tests.config.conftest import make_model

WRITES = [
    ("POST", "/instance"),
    ("PUT", "/instance/acme-main"),
    ("POST", "/user"),
    ("PUT", "/user/{bob}"),
    ("POST", "/project"),
    ("PUT", "/project/acme-web"),
    ("POST", "/provider-key"),
    ("POST", "/api-key"),
    ("POST", "/api-key/{key}/rotate"),
    ("POST", "/model-config"),
    ("PUT", "/model-config/gpt-4o"),
]


@pytest.fixture
def send(call, cast):
    make_model()
    ids = {"bob": cast.bob.user_id, "key": ApiKey.objects.filter(user=cast.bob).first().key_id}

    def send_raw(route, raw):
        response = call(route[0], route[1].format(**ids), cast.root_key, raw=raw)
        assert AuditEntry.objects.count() == 0
        return response

    return send_raw


RAW = {
    "broken JSON": b'{"name": ',
    "an array": b"[]",
    "a number": b"1",
    "null": b"null",
    "text": b'"name"',
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "a lone surrogate": b'{"name": "\\ud800"}',
    "NUL": b'{"name": "a\\u0000b"}',
    "NUL in a name": b'{"na\\u0000me": "a"}',
    "deep nesting": b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nesting just over": b'{"name": ' + b"[" * 70 + b"]" * 70 + b"}",
    "an unknown field": b'{"nmae": "x"}',
    "an unknown field with a huge name": b'{"' + b"x" * 100_000 + b'": 1}',
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
@pytest.mark.parametrize("route", WRITES, ids=" ".join)
def test_a_body_that_makes_no_sense_is_refused(send, route, raw):
    response = send(route, raw)
    assert response.status_code == 400, response.content
    body = response.json()
    assert body["error_code"] == "INVALID_REQUEST"
    assert len(response.content) < 2_000
    assert "Traceback" not in body["error"]


@pytest.mark.parametrize("route", WRITES, ids=" ".join)
def test_a_body_over_the_limit_is_refused(send, settings, route):
    raw = json.dumps({"name": "x" * 11_000_000}).encode()
    response = send(route, raw)
    assert (response.status_code, response.json()["error_code"]) == (413, "PAYLOAD_TOO_LARGE")


WRONG = {
    ("POST", "/instance"): {
        "instance_id": ["a b", "", 7, None, "x" * 65, "-x", "a/b", "a\n"],
        "org_id": ["a b", 7, "x" * 65],
        "name": ["", "   ", 7, None, [], {}, "x" * 201, True],
        "api_keys": [
            [],
            "sk",
            {"openai": 7},
            {"openai": ""},
            {"openai": "a\nb"},
            {"Open AI": "sk"},
            {"openai": "é"},
        ],
        "rate_limits": [
            *([], {"openai": 5}, {"openai": {"rpm": 0}}, {"openai": {"rpm": -1}}, {"openai": {"rpm": "5"}}),
            *(
                {"openai": {"rpm": 1.5}},
                {"openai": {"rpm": True}},
                {"openai": {"rpx": 5}},
                {"openai": {"rpm": 2**40}},
            ),
            *({"openai": {"rpm": None}}, {"": {"rpm": 1}}),
        ],
        "base_urls": [[], {"openai": 7}, {"openai": "gpu-box"}, {"x" * 65: "http://gpu-box"}],
        "default_model_id": [7, None, "x" * 101],
        "r2_bucket": [7, None, "x" * 256],
        "authorized_users": [
            *("bob", {"user_id": "bob"}, [7], [None], [{}], [{"user_id": 7}], [["bob"]], ["nobody"]),
            *([{"user_id": "nobody", "permission": "god"}], [{"user_id": "nobody", "x": 1}]),
        ],
        "webhook_secret": [7, "", "secret", "whsec_", "whsec_!!!", "whsec_c2hvcnQ="],
        "is_active": [1, 0, "true", None, []],
    },
    ("POST", "/user"): {
        "email": [7, None, "", "nope", "a@b", "x" * 250 + "@acme.test", ["a@acme.test"]],
        "user_id": ["a b", 7],
        "name": [7, None, "x" * 201],
        "role": ["owner", 7, None, ["user"]],
        "org_id": [7, "a b"],
        "default_instance_id": [7, "a b"],
        "is_active": ["yes", 1],
        "create_api_key": ["yes", 1, None],
        "api_key_mode": ["prod", 1],
    },
    ("POST", "/project"): {
        "instance_id": ["a b", 7],
        "project_id": ["a b", 7, ""],
        "name": ["", 7, None, "x" * 201],
        "description": [7, None, "x" * 10_001],
        "is_active": ["yes", 1],
    },
    ("POST", "/provider-key"): {
        "instance_id": ["a b", 7],
        "provider": ["", "Open AI", 7, None, "x" * 65, "../x"],
        "api_key": ["", "a b", "a\r\nX-Evil: 1", 7, None, "x" * 4097, "sk-…a1b2", "ключ"],
    },
    ("POST", "/api-key"): {
        "name": ["", 7, None, "x" * 201],
        "mode": ["prod", 7, None],
        "user_id": [7, "a b"],
        "project_id": [7, "a b"],
        "expires_at": ["soon", 7, "2020-01-01T00:00:00Z", "9999-99-99", "0001-01-01T00:00:00+14:00", {}],
        "allowed_models": ["gpt-4o", {"gpt-4o": 1}, [7], [""], ["nope"], [["gpt-4o"]]],
        "allowed_services": ["text", [7], ["mining"], [None]],
        "allowed_networks": ["10.0.0.0/8", [7], ["localhost"], ["10.0.0.0/99"]],
        "rate_limits": [[], {"rpm": 0}, {"openai": {"rpm": 1}}],
    },
    ("POST", "/api-key/{key}/rotate"): {"grace_seconds": [-1, 2_592_001, "60", 1.5, None, True, 1e300]},
}
GOOD = {
    ("POST", "/instance"): {"org_id": "acme", "name": "New"},
    ("POST", "/user"): {"email": "new@acme.test", "org_id": "acme"},
    ("POST", "/project"): {"instance_id": "acme-main", "name": "New"},
    ("POST", "/provider-key"): {"instance_id": "acme-main", "provider": "openai", "api_key": "sk-1"},
    ("POST", "/api-key"): {"name": "New"},
    ("POST", "/api-key/{key}/rotate"): {},
}
FIELDS = [(route, field) for route, fields in WRONG.items() for field in fields]


@pytest.mark.parametrize(
    ("route", "field"), FIELDS, ids=lambda part: part if isinstance(part, str) else part[1]
)
def test_a_wrong_value_is_refused_and_its_field_named(send, route, field):
    for value in WRONG[route][field]:
        response = send(route, json.dumps(GOOD[route] | {field: value}).encode())
        assert response.status_code == 400, (value, response.content)
        named = response.json()["details"]["fields"]
        assert {name.partition(".")[0] for name in named} == {field}, (value, named)


def test_every_bad_field_is_named_at_once(send):
    body = {
        "name": 7,
        "org_id": "a b",
        "rate_limits": {"openai": {"rpm": 0, "x": 1}},
        "is_active": "no",
        "zip": 1,
    }
    named = send(("POST", "/instance"), json.dumps(body).encode()).json()["details"]["fields"]
    assert set(named) == {
        *("name", "org_id", "rate_limits.openai.rpm", "rate_limits.openai.x", "is_active", "zip"),
    }


@pytest.mark.parametrize(
    ("route", "needed"),
    [
        (("POST", "/instance"), {"name"}),
        (("POST", "/user"), {"email"}),
        (("POST", "/project"), {"name"}),
        (("POST", "/provider-key"), {"provider", "api_key"}),
        (("POST", "/api-key"), {"name"}),
        (("POST", "/model-config"), {"model_id", "provider_id", "capabilities"}),
    ],
    ids=lambda part: part[1] if isinstance(part, tuple) else "",
)
def test_missing_fields_are_named(send, route, needed):
    for raw in (b"", b"{}"):
        response = send(route, raw)
        assert response.status_code == 400
        assert set(response.json()["details"]["fields"]) == needed


def test_an_empty_form_is_an_empty_object_and_changes_nothing(client, cast):
    response = client.put(
        "/config/instance/acme-main",
        b"",
        content_type="application/x-www-form-urlencoded",
        headers={"Authorization": f"Bearer {cast.root_key}"},
    )
    assert response.status_code == 200
    assert response.json()["data"]["is_active"] is True
    assert AuditEntry.objects.count() == 0
