"""What any client may throw at the front door: the contract's manners, and bad input of every kind."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Platform, auth

KNOWN = {"prompt": "Hi"}


def test_every_answer_carries_a_request_id_and_echoes_a_harmless_one(platform: Platform):
    for path in ("/health", "/text/health", "/nowhere", "/config/instance", "/text/generate"):
        answer = platform.request("GET", path)
        assert len(answer.headers["X-Request-ID"]) == 36
        echoed = platform.request("GET", path, headers={"X-Request-ID": "mine-1"})
        assert echoed.headers["X-Request-ID"] == "mine-1"
        replaced = platform.request("GET", path, headers={"X-Request-ID": "x" * 129})
        assert replaced.headers["X-Request-ID"] != "x" * 129


@pytest.mark.parametrize(
    "headers",
    [
        lambda key: {"Authorization": f"Bearer {key}"},
        lambda key: {"Authorization": key},
        lambda key: {"Authorization": f"bearer {key}"},
        lambda key: {"X-API-Key": key},
    ],
)
def test_a_key_is_taken_from_each_place_the_contract_names(platform: Platform, headers: Any):
    key = platform.credentials["test_key"]
    for method, path, body in (("POST", "/text/generate", KNOWN), ("GET", "/config/instance", None)):
        answer = platform.request(method, path, json=body, headers=headers(key))
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("key", [None, "nonsense", "sk_live_" + "0" * 64, "sk_live_é", "x" * 5000])
@pytest.mark.parametrize("path", ["/text/generate", "/text/generate/stream"])
def test_no_key_or_a_wrong_one_is_401_in_the_envelope(platform: Platform, key: str | None, path: str):
    headers = {} if key is None else {"Authorization": f"Bearer {key}".encode()}
    answer = platform.request("POST", path, json=KNOWN, headers=headers)
    assert answer.status_code in (401, 429)  # the address may have failed too often by now
    assert answer.json()["error_code"] in ("UNAUTHENTICATED", "RATE_LIMIT_EXCEEDED")
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/text/generate", "/config/instance", "/health"])
def test_a_trailing_slash_changes_nothing(platform: Platform, path: str):
    method = "POST" if "generate" in path else "GET"
    answers = [
        platform.request(
            method, path + slash, json=KNOWN if method == "POST" else None, headers=platform.test
        )
        for slash in ("", "/")
    ]
    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("path", ["/text/nowhere", "/config/nowhere/at/all", "/v1/nope", "/jobs/x/y/z"])
def test_an_unknown_api_path_is_route_not_found(platform: Platform, path: str):
    answer = platform.request("GET", path, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.json()["error_code"]) == (404, "ROUTE_NOT_FOUND")


def test_a_wrong_method_is_405_and_says_which_are_right(platform: Platform):
    answer = platform.request("GET", "/text/generate", headers=platform.test)
    assert (answer.status_code, answer.json()["error_code"]) == (405, "METHOD_NOT_ALLOWED")
    assert "POST" in answer.headers["Allow"]


def test_head_and_options_behave(platform: Platform):
    head = platform.request("HEAD", "/text/health")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0
    options = platform.request("OPTIONS", "/text/generate")
    assert options.status_code in (200, 204)
    assert "POST" in options.headers["Allow"]


@pytest.mark.parametrize("path", ["/text/generate", "/config/instance", "/v1/anything"])
def test_preflight_is_answered_on_every_api_path(platform: Platform, path: str):
    answer = platform.request(
        "OPTIONS",
        path,
        headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"},
    )
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "  \n"}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}]}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages.0.content.0"),
        ({"prompt": "Hi", "options": []}, "options"),
        ({"prompt": "Hi", "options": {"temperature": "hot"}}, "options.temperature"),
        ({"prompt": "Hi", "options": {"temperature": 9}}, "options.temperature"),
        ({"prompt": "Hi", "options": {"max_tokens": 0}}, "options.max_tokens"),
        ({"prompt": "Hi", "options": {"max_tokens": 1.5}}, "options.max_tokens"),
        ({"prompt": "Hi", "options": {"max_tokens": True}}, "options.max_tokens"),
        ({"prompt": "Hi", "options": {"stop": [1]}}, "options.stop"),
        ({"prompt": "Hi", "options": {"model": "other"}}, "options.model"),
        ({"prompt": "Hi", "model_id": 5}, "model_id"),
        ({"prompt": "Hi", "json_schema": {"type": "nonsense"}}, "json_schema"),
        ({"prompt": "Hi", "json_schema": {"$ref": "http://127.0.0.1/x"}}, "json_schema"),
        ({"prompt": "Hi", "expect_json": "yes"}, "expect_json"),
        ({"prompt": "Hi", "promt": "typo"}, "promt"),
    ],
)
def test_a_bad_field_is_400_and_named(platform: Platform, body: dict[str, Any], field: str):
    for path in ("/text/generate", "/text/generate/stream"):
        answer = platform.request("POST", path, json=body, headers=platform.test)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_REQUEST"), answer.text
        assert field in answer.json()["details"]["fields"]


def test_all_bad_fields_are_named_at_once(platform: Platform):
    body = {"prompt": 5, "model_id": [], "options": {"seed": "x", "top_p": 7}}
    fields = platform.request("POST", "/text/generate", json=body, headers=platform.test).json()["details"][
        "fields"
    ]
    assert set(fields) == {"prompt", "model_id", "options.seed", "options.top_p"}


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b'"prompt"',
        b"null",
        b"\xff\xfe",
        b'{"prompt": "\xff"}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "a\\u0000b"}',
        b'{"prompt": NaN}',
        b'{"prompt": "Hi", "options": {"x": 1e999}}',
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b'{"prompt": "Hi", "options": {"deep": ' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}}",
    ],
)
def test_a_broken_body_is_400_never_500(platform: Platform, raw: bytes):
    for path in ("/text/generate", "/text/generate/stream", "/config/instance"):
        answer = platform.request("POST", path, content=raw, headers=platform.live)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_REQUEST"), answer.text
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("path", ["/text/generate", "/config/instance"])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_eleven_megabytes_are_413(platform: Platform, path: str, is_chunked: bool):
    raw = b'{"prompt": "' + b"x" * 11 * 1024 * 1024 + b'"}'
    content = iter([raw[:5_000_000], raw[5_000_000:]]) if is_chunked else raw
    answer = platform.request("POST", path, content=content, headers=platform.live)
    assert (answer.status_code, answer.json()["error_code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ({"model_id": "no-such-model"}, "MODEL_NOT_FOUND", 404),
        ({"model": "no-such-model"}, "MODEL_NOT_FOUND", 404),
        ({"model": "nobody:some-model"}, "MODEL_NOT_FOUND", 404),
        ({"model_id": "dall-e-3"}, "INVALID_MODEL_CAPABILITY", 400),
        ({"instance_id": "no-such-instance"}, "INSTANCE_NOT_FOUND", 404),
        ({"project_id": "no-such-project"}, "PROJECT_NOT_FOUND", 404),
    ],
)
def test_unknown_ids_have_their_own_codes(platform: Platform, body: dict[str, Any], code: str, status: int):
    answer = platform.request("POST", "/text/generate", json=KNOWN | body, headers=platform.test)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


def test_another_tenants_ids_are_refused_and_nothing_is_recorded(platform: Platform):
    mine = platform.make_instance("http://127.0.0.1:9", org_id="tenant-a")
    platform.make_instance("http://127.0.0.1:9", org_id="tenant-b")
    user = platform.post(
        "/config/user",
        {"email": "eve@tenant-b.test", "org_id": "tenant-b", "create_api_key": True},
    )
    assert user.status_code == 201, user.text
    eve = auth(user.json()["data"]["api_key"])
    answer = platform.request("POST", "/text/generate", json=KNOWN | {"instance_id": mine}, headers=eve)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED")
    header = platform.request("POST", "/text/generate", json=KNOWN, headers=eve | {"X-Instance-ID": mine})
    assert header.status_code == 403
    assert platform.ledger(request_id=answer.headers["X-Request-ID"]) == []
    assert platform.request("GET", f"/config/instance/{mine}", headers=eve).status_code == 403


def raw_exchange(platform: Platform, head: bytes, body: bytes = b"") -> bytes:
    address = urlsplit(platform.base_url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection:
        connection.sendall(head + b"\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


def test_header_injection_gets_nowhere(platform: Platform):
    key = platform.credentials["test_key"].encode()
    body = json.dumps(KNOWN).encode()
    for name, value in (
        (b"x-request-id", b"a\rX-Evil: 1"),
        (b"x-de-rehearse", b"status=500\rX-Evil: 1"),
        (b"x-instance-id", b"default\x00"),
        (b"x-request-id", "é".encode()),
    ):
        head = (
            b"POST /text/generate HTTP/1.1\r\nhost: x\r\nauthorization: Bearer "
            + key
            + b"\r\n"
            + name
            + b": "
            + value
        )
        answer = raw_exchange(platform, head, body)
        assert b" 500 " not in answer.split(b"\r\n", 1)[0]
        assert b"X-Evil" not in answer.split(b"\r\n\r\n", 1)[0]


def test_a_path_with_nul_and_a_query_with_nul_are_not_500(platform: Platform):
    for path in (
        "/config/instance/a%00b",
        "/config/model-config/%00",
        "/config/user?org_id=%00",
        "/text/%00",
    ):
        answer = platform.request("GET", path, headers=platform.live)
        assert answer.status_code in (400, 404), (path, answer.text)
        assert answer.json()["error_code"]


def test_failed_keys_are_counted_per_address_and_then_refused(platform: Platform):
    answers = [
        platform.request("POST", "/text/generate", json=KNOWN, headers=auth("sk_live_wrong"))
        for _ in range(45)
    ]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
    # A good key from the same address still works.
    assert platform.request("POST", "/text/generate", json=KNOWN, headers=platform.test).status_code == 200
