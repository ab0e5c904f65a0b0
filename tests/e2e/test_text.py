"""Text through the whole platform: real processes, the sandbox or a provider of the test's own behind it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Platform, auth, wait_until
from tests.upstream import (
    CHAT_END,
    EVENT_STREAM,
    Answer,
    Exchange,
    Upstream,
    chat_answer,
    chat_event,
)


def events_of(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def streaming(*pieces: bytes, pause_s: float = 0.0, cut: bool = False) -> Any:
    async def handler(_exchange: Exchange) -> Answer:
        async def send() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece
                await asyncio.sleep(pause_s)

        return Answer(headers=EVENT_STREAM, pieces=send(), cut=cut)

    return handler


# --- the answer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_id", ["gpt-4o-mini", "claude-3-5-haiku", "gemini-3.8-flash"])
def test_every_maker_answers_a_prompt_in_the_contracts_form(platform: Platform, model_id: str):
    answer = platform.request(
        "POST",
        "/text/generate",
        json={"prompt": "Name a river.", "model_id": model_id},
        headers=platform.test,
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["success"] is True
    assert body["text"]
    metadata = body["metadata"]
    assert metadata["tokens_used"] == metadata["input_tokens"] + metadata["output_tokens"] > 0
    assert metadata["sandbox"] is True
    assert metadata["fallback_used"] is False
    assert metadata["finish_reason"] == "stop"
    assert isinstance(metadata["cost_usd"], float)
    assert answer.headers["X-DE-Sandbox"] == "1"
    assert answer.headers["X-Request-ID"] == body["request_id"]
    assert int(answer.headers["X-RateLimit-Remaining"]) < int(answer.headers["X-RateLimit-Limit"])


@pytest.mark.parametrize("model_id", ["gpt-4o-mini", "claude-3-5-haiku", "gemini-3.8-flash"])
def test_a_streams_deltas_joined_are_the_text_of_its_done_event(platform: Platform, model_id: str):
    answer = platform.request(
        "POST",
        "/text/generate/stream",
        json={"prompt": "Name a river.", "model_id": model_id},
        headers=platform.test,
    )
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert [name for name, _ in events[:-1]] == ["delta"] * (len(events) - 1)
    name, done = events[-1]
    assert name == "done"
    assert "success" not in done
    assert "".join(data["text"] for _, data in events[:-1]) == done["text"]
    assert done["metadata"]["output_tokens"] > 0


def test_a_model_that_thinks_aloud_streams_its_answer_alone(platform: Platform):
    answer = platform.request(
        "POST",
        "/text/generate/stream",
        json={"prompt": "Name a river.", "model_id": "claude-sonnet-5-5"},
        headers=platform.test,
    )
    events = events_of(answer.text)
    assert {name for name, _ in events[:-1]} == {"delta"}
    assert events[-1][1]["metadata"]["reasoning_tokens"] > 0


def test_health_lists_each_provider_as_last_seen(platform: Platform):
    platform.request(
        "POST", "/text/generate", json={"prompt": "Hi", "model_id": "gpt-4o-mini"}, headers=platform.test
    )
    providers = platform.request("GET", "/text/health").json()["providers"]
    assert {"openai", "anthropic", "gemini"} <= set(providers)
    assert providers["openai"]["status"] == "healthy"
    assert providers["openai"]["last_success_at"]


def test_options_stream_true_streams_too(platform: Platform):
    answer = platform.request(
        "POST", "/text/generate", json={"prompt": "Hi", "options": {"stream": True}}, headers=platform.test
    )
    assert events_of(answer.text)[-1][0] == "done"


@pytest.mark.parametrize(
    ("named", "provider"),
    [
        ("anthropic:claude-3-5-sonnet-20241022", "anthropic"),
        ("openai:gpt-4o", "openai"),
        ("claude-3-5-haiku-20241022", "anthropic"),
        ("gpt-4.1", "openai"),
        ("o3", "openai"),
        ("gemini-3.7-flash", "gemini"),
        ("gpt-4o-mini", "openai"),
    ],
)
def test_the_older_model_form_finds_its_provider(platform: Platform, named: str, provider: str):
    answer = platform.request(
        "POST", "/text/generate", json={"prompt": "Hi", "model": named}, headers=platform.test
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["metadata"]["provider"] == provider


def test_messages_system_stop_and_seed_reach_the_provider(platform: Platform):
    async def handler(_exchange: Exchange) -> Answer:
        return chat_answer()

    with Upstream(handler) as upstream:
        instance = platform.make_instance(upstream.url)
        answer = platform.post(
            "/text/generate",
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Name a river."},
                    {"role": "assistant", "content": "The Po."},
                    {"role": "user", "content": [{"type": "text", "text": "Another."}]},
                ],
                "model_id": "gpt-4o-mini",
                "instance_id": instance,
                "options": {"stop": ["\n"], "seed": 7, "temperature": 0.5, "max_tokens": 50},
            },
        )
        assert answer.status_code == 200, answer.text
        sent = upstream.exchanges[0].json
    assert sent["messages"][0]["content"] == "Be brief."
    assert [message["role"] for message in sent["messages"][1:]] == ["user", "assistant", "user"]
    assert (sent["seed"], sent["temperature"]) == (7, 0.5)
    assert sent["stop"] in ("\n", ["\n"])
    assert sent["max_completion_tokens"] == 50
    assert upstream.exchanges[0].headers["authorization"] == "Bearer sk-upstream-key-1234567890"


def test_a_deprecated_model_answers_and_says_so(platform: Platform):
    answer = platform.request(
        "POST",
        "/text/generate",
        json={"prompt": "Hi", "model_id": "claude-3-5-sonnet"},
        headers=platform.test,
    )
    assert answer.status_code == 200
    assert answer.headers["Deprecation"] == "true"


# --- the ledger ----------------------------------------------------------------------------------------------


def test_cost_is_right_to_the_cent_and_cached_tokens_are_cheaper(platform: Platform):
    async def handler(_exchange: Exchange) -> Answer:
        usage = {
            "prompt_tokens": 1_000_000,
            "completion_tokens": 100_000,
            "total_tokens": 1_100_000,
            "prompt_tokens_details": {"cached_tokens": 400_000},
        }
        return chat_answer(usage=usage)

    with Upstream(handler) as upstream:
        instance = platform.make_instance(upstream.url)
        answer = platform.post(
            "/text/generate", {"prompt": "Hi", "model_id": "gpt-4o-mini", "instance_id": instance}
        )
    # 600,000 at 0.15, 400,000 at 0.075, 100,000 at 0.60 dollars a million.
    assert answer.json()["metadata"]["cost_usd"] == pytest.approx(0.09 + 0.03 + 0.06, abs=1e-12)
    [row] = platform.ledger(request_id=answer.json()["request_id"])
    assert row["cost_usd"] == pytest.approx(0.18, abs=1e-12)
    assert (row["input_tokens"], row["cached_input_tokens"], row["output_tokens"]) == (
        1_000_000,
        400_000,
        100_000,
    )
    assert (row["status"], row["provider_id"], row["is_sandbox"]) == ("succeeded", "openai", False)


def test_a_model_without_a_price_costs_null_not_nothing(platform: Platform):
    async def handler(_exchange: Exchange) -> Answer:
        return chat_answer()

    with Upstream(handler) as upstream:
        instance = platform.make_instance(upstream.url)
        model = platform.make_model(model="nobody-knows-what-this-costs")
        answer = platform.post("/text/generate", {"prompt": "Hi", "model_id": model, "instance_id": instance})
    assert answer.json()["metadata"]["cost_usd"] is None
    assert platform.ledger(request_id=answer.json()["request_id"])[0]["cost_usd"] is None


def test_a_failed_call_is_recorded_with_its_code_and_costs_nothing(platform: Platform):
    answer = platform.request(
        "POST",
        "/text/generate",
        json={"prompt": "Hi", "model_id": "gpt-4o-mini"},
        headers=platform.test | {"X-DE-Rehearse": "status=500"},
    )
    assert answer.status_code == 502
    [row] = platform.ledger(request_id=answer.json()["request_id"])
    assert (row["status"], row["error_code"], row["cost_usd"]) == ("failed", "PROVIDER_ERROR", 0)


def test_the_row_of_an_answer_can_be_read_the_moment_the_answer_is_there(platform: Platform):
    for _ in range(20):
        answer = platform.request("POST", "/text/generate", json={"prompt": "Hi"}, headers=platform.test)
        assert len(platform.ledger(request_id=answer.json()["request_id"])) == 1


# --- leaving, waiting, breaking -------------------------------------------------------------------------------


def test_a_client_that_hangs_up_closes_the_providers_stream_within_a_second_and_is_charged(
    platform: Platform,
):
    pieces = [chat_event("word ") for _ in range(400)]
    with Upstream(streaming(*pieces, pause_s=0.05)) as upstream:
        instance = platform.make_instance(upstream.url)
        body = {"prompt": "Hi", "model_id": "gpt-4o-mini", "instance_id": instance}
        with httpx.stream(
            "POST", f"{platform.base_url}/text/generate/stream", json=body, headers=platform.live, timeout=10
        ) as answer:
            request_id = answer.headers["X-Request-ID"]
            lines = answer.iter_lines()
            while "word" not in next(lines):
                pass
        left_at = time.monotonic()
        upstream.wait_for(lambda: upstream.exchanges[0].closed_at)
        assert (upstream.exchanges[0].closed_at or 0) - left_at < 1.0
        wait_until(lambda: platform.ledger(request_id=request_id))
    [row] = platform.ledger(request_id=request_id)
    assert row["status"] == "canceled"
    assert row["output_tokens"] > 0
    assert row["cost_usd"] > 0
    assert row["is_estimated"] is True


def test_a_client_that_hangs_up_before_the_first_token_closes_the_providers_stream_too(platform: Platform):
    with Upstream(streaming(b": thinking\n\n", CHAT_END, pause_s=30)) as upstream:
        instance = platform.make_instance(upstream.url)
        body = {"prompt": "Hi", "model_id": "gpt-4o-mini", "instance_id": instance}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{platform.base_url}/text/generate/stream", json=body, headers=platform.live, timeout=0.5
            )
        left_at = time.monotonic()
        upstream.wait_for(lambda: upstream.exchanges and upstream.exchanges[0].closed_at)
        assert time.monotonic() - left_at < 1.0


@pytest.mark.parametrize(
    ("pieces", "pause_s", "timeouts"),
    [
        ([b": thinking\n\n"] * 5, 0.3, {"first_token_s": 0.5}),
        ([chat_event("a"), chat_event("b"), CHAT_END], 1.5, {"idle_s": 0.5}),
        ([chat_event("a")] * 30, 0.1, {"total_s": 0.8}),
    ],
    ids=["first token", "between tokens", "total"],
)
def test_each_clock_ends_a_stream_as_a_gateway_timeout(
    platform: Platform, pieces: list[bytes], pause_s: float, timeouts: dict[str, float]
):
    with Upstream(streaming(*pieces, pause_s=pause_s)) as upstream:
        instance = platform.make_instance(upstream.url)
        model = platform.make_model(timeouts=timeouts)
        answer = platform.post(
            "/text/generate/stream", {"prompt": "Hi", "model_id": model, "instance_id": instance}
        )
    if "first_token_s" in timeouts:
        assert answer.status_code == 504
        assert answer.json()["error_code"] == "GATEWAY_TIMEOUT"
    else:
        name, data = events_of(answer.text)[-1]
        assert (name, data["error_code"]) == ("error", "GATEWAY_TIMEOUT")
        assert data["request_id"] == answer.headers["X-Request-ID"]
    [row] = platform.ledger(request_id=answer.headers["X-Request-ID"])
    assert (row["status"], row["error_code"]) == ("failed", "GATEWAY_TIMEOUT")


def test_a_plain_call_that_takes_longer_than_its_total_is_a_gateway_timeout(platform: Platform):
    async def handler(_exchange: Exchange) -> Answer:
        await asyncio.sleep(5)
        return chat_answer()

    with Upstream(handler) as upstream:
        instance = platform.make_instance(upstream.url)
        model = platform.make_model(timeouts={"total_s": 0.5})
        answer = platform.post("/text/generate", {"prompt": "Hi", "model_id": model, "instance_id": instance})
    assert answer.status_code == 504
    assert answer.json()["error_code"] == "GATEWAY_TIMEOUT"


def test_an_address_nobody_listens_on_is_a_provider_error(platform: Platform):
    instance = platform.make_instance("http://127.0.0.1:9")
    answer = platform.post(
        "/text/generate", {"prompt": "Hi", "model_id": "gpt-4o-mini", "instance_id": instance}
    )
    assert (answer.status_code, answer.json()["error_code"]) == (502, "PROVIDER_ERROR")


def test_a_stream_cut_in_the_middle_ends_in_an_error_event_and_is_charged(platform: Platform):
    with Upstream(streaming(chat_event("Some words "), chat_event("were said."), cut=True)) as upstream:
        instance = platform.make_instance(upstream.url)
        answer = platform.post(
            "/text/generate/stream", {"prompt": "Hi", "model_id": "gpt-4o-mini", "instance_id": instance}
        )
    events = events_of(answer.text)
    assert events[0] == ("delta", {"text": "Some words "})
    assert (events[-1][0], events[-1][1]["error_code"]) == ("error", "PROVIDER_ERROR")
    [row] = platform.ledger(request_id=answer.headers["X-Request-ID"])
    assert (row["status"], row["is_estimated"]) == ("failed", True)
    assert row["cost_usd"] > 0


def test_an_end_without_the_providers_own_end_is_an_interruption_not_an_answer(platform: Platform):
    with Upstream(streaming(chat_event("Half an ans"))) as upstream:
        instance = platform.make_instance(upstream.url)
        answer = platform.post(
            "/text/generate/stream", {"prompt": "Hi", "model_id": "gpt-4o-mini", "instance_id": instance}
        )
    assert events_of(answer.text)[-1][0] == "error"


@pytest.mark.parametrize("model_id", ["gpt-4o-mini", "claude-3-5-haiku", "gemini-3.8-flash"])
@pytest.mark.parametrize(
    ("rehearsal", "status", "code"),
    [
        ("status=500", 502, "PROVIDER_ERROR"),
        ("status=503", 502, "PROVIDER_ERROR"),
        ("status=429; retry-after=3", 429, "PROVIDER_RATE_LIMIT"),
        ("status=401", 502, "INVALID_API_KEY"),
        ("status=402", 502, "PROVIDER_ERROR"),
        ("refuse", 422, "CONTENT_REFUSED"),
        ("garbage", 502, "PROVIDER_ERROR"),
        ("cut=1", 502, "PROVIDER_ERROR"),
    ],
)
@pytest.mark.parametrize("path", ["/text/generate", "/text/generate/stream"])
def test_each_makers_failure_becomes_the_contracts_code(
    platform: Platform, model_id: str, rehearsal: str, status: int, code: str, path: str
):
    answer = platform.request(
        "POST",
        path,
        json={"prompt": "Name a river.", "model_id": model_id},
        headers=platform.test | {"X-DE-Rehearse": rehearsal},
    )
    if answer.status_code == 200:  # a stream that had begun
        assert path.endswith("/stream")
        name, body = events_of(answer.text)[-1]
        assert name == "error"
    else:
        body = answer.json()
        assert answer.status_code == status, answer.text
    assert body["error_code"] == code
    assert body["request_id"] == answer.headers["X-Request-ID"]
    if "retry-after" in rehearsal:
        assert answer.headers["Retry-After"] == "3"
    if code != "CONTENT_REFUSED":
        assert body["details"]["provider"]


@pytest.mark.parametrize("model_id", ["gpt-4o-mini", "claude-3-5-haiku", "gemini-3.8-flash"])
def test_a_makers_error_in_mid_stream_is_the_last_event(platform: Platform, model_id: str):
    answer = platform.request(
        "POST",
        "/text/generate/stream",
        json={"prompt": "Name a river.", "model_id": model_id},
        headers=platform.test | {"X-DE-Rehearse": "midstream=4"},
    )
    assert answer.status_code == 200
    events = events_of(answer.text)
    assert events[0][0] == "delta"
    assert (events[-1][0], events[-1][1]["error_code"]) == ("error", "PROVIDER_ERROR")


# --- JSON expected --------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {"river": {"type": "string"}, "length_km": {"type": "integer", "minimum": 1}},
    "required": ["river", "length_km"],
}


@pytest.mark.parametrize("model_id", ["gpt-4o-mini", "claude-haiku-5-5", "gemini-3.8-flash"])
def test_expected_json_comes_parsed_and_valid(platform: Platform, model_id: str):
    answer = platform.request(
        "POST",
        "/text/generate",
        json={
            "prompt": "Name a river as JSON.",
            "model_id": model_id,
            "expect_json": True,
            "json_schema": SCHEMA,
        },
        headers=platform.test,
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert json.loads(body["text"]) == body["json"]
    assert isinstance(body["json"]["length_km"], int)
    assert body["metadata"]["json_qa"] == {"validated": True, "attempts": 1, "repaired": False}


def test_an_answer_that_is_not_the_json_asked_for_is_asked_again_with_the_fault_named(platform: Platform):
    answers = iter(
        ["Sure! Here you go.", '```json\n{"river": "Po"}\n```', '{"river": "Po", "length_km": 652}']
    )

    async def handler(_exchange: Exchange) -> Answer:
        return chat_answer(next(answers))

    with Upstream(handler) as upstream:
        instance = platform.make_instance(upstream.url)
        answer = platform.post(
            "/text/generate",
            {
                "prompt": "A river?",
                "model_id": "gpt-4o-mini",
                "instance_id": instance,
                "expect_json": True,
                "json_schema": SCHEMA,
            },
        )
        last = upstream.exchanges[2].json["messages"]
    body = answer.json()
    assert body["json"] == {"river": "Po", "length_km": 652}
    assert body["metadata"]["json_qa"] == {"validated": True, "attempts": 3, "repaired": True}
    assert "length_km" in last[-1]["content"]
    assert body["metadata"]["tokens_used"] == 3 * 1200
    rows = platform.ledger(request_id=body["request_id"])
    assert sorted(row["attempt"] for row in rows) == [1, 2, 3]
    assert sum(row["cost_usd"] for row in rows) == pytest.approx(body["metadata"]["cost_usd"])


def test_json_that_cannot_be_had_is_a_422_that_says_why(platform: Platform):
    async def handler(_exchange: Exchange) -> Answer:
        return chat_answer("I would rather not.")

    with Upstream(handler) as upstream:
        instance = platform.make_instance(upstream.url)
        answer = platform.post(
            "/text/generate",
            {
                "prompt": "A river?",
                "model_id": "gpt-4o-mini",
                "instance_id": instance,
                "expect_json": True,
                "json_max_retries": 1,
            },
        )
        assert len(upstream.exchanges) == 2
    assert (answer.status_code, answer.json()["error_code"]) == (422, "JSON_VALIDATION_FAILED")
    assert answer.json()["details"]["attempts"] == 2


# --- keys, limits ---------------------------------------------------------------------------------------------


def test_a_test_key_reaches_the_sandbox_and_never_the_instances_own_provider(platform: Platform):
    async def handler(_exchange: Exchange) -> Answer:
        return chat_answer("from the real provider")

    with Upstream(handler) as upstream:
        instance = platform.make_instance(upstream.url)
        mapped = platform.make_model(
            provider_id="acme",
            adapter="mapped",
            payload_mapping={
                "endpoint": f"{upstream.url}/v1/chat",
                "method": "POST",
                "headers": {"Authorization": "Bearer {api_key}"},
                "body": {"prompt": "{user_prompt}"},
                "response_mapping": {"text": "$.choices[0].message.content"},
            },
        )
        for model_id in ("gpt-4o-mini", mapped):
            for path in ("/text/generate", "/text/generate/stream"):
                answer = platform.request(
                    "POST",
                    path,
                    json={"prompt": "Hi", "model_id": model_id, "instance_id": instance},
                    headers=platform.test,
                )
                assert "from the real provider" not in answer.text
                assert answer.status_code == (200 if model_id == "gpt-4o-mini" else 400), answer.text
        assert upstream.exchanges == []


def test_a_live_key_without_the_providers_key_is_refused_not_answered_by_the_sandbox(platform: Platform):
    answer = platform.post("/text/generate", {"prompt": "Hi", "model_id": "claude-3-5-haiku"})
    assert (answer.status_code, answer.json()["error_code"]) == (503, "MISSING_API_KEY")


def test_a_revoked_key_stops_working_within_a_second(platform: Platform):
    made = platform.post("/config/api-key", {"name": "short-lived", "mode": "test"})
    assert made.status_code == 201, made.text
    key = made.json()["data"]["api_key"]
    body = {"prompt": "Hi"}
    assert platform.request("POST", "/text/generate", json=body, headers=auth(key)).status_code == 200
    key_id = made.json()["data"]["key_id"]
    platform.request("DELETE", f"/config/api-key/{key_id}", headers=platform.live)
    wait_until(
        lambda: platform.request("POST", "/text/generate", json=body, headers=auth(key)).status_code == 401,
        within_s=1.0,
    )


def test_an_edited_model_config_takes_effect_within_a_second(platform: Platform):
    model = platform.make_model(model="gpt-4o")
    request = {"prompt": "Hi", "model_id": model}
    first = platform.request("POST", "/text/generate", json=request, headers=platform.test).json()
    assert first["metadata"]["model"].startswith("gpt-4o")
    platform.request(
        "PUT", f"/config/model-config/{model}", json={"model": "gpt-4.1-nano"}, headers=platform.live
    )
    wait_until(
        lambda: (
            platform.request("POST", "/text/generate", json=request, headers=platform.test)
            .json()["metadata"]["model"]
            .startswith("gpt-4.1-nano")
        ),
        within_s=1.0,
    )


def test_an_instances_limit_refuses_with_retry_after_and_headers(platform: Platform):
    async def handler(_exchange: Exchange) -> Answer:
        return chat_answer()

    with Upstream(handler) as upstream:
        instance = platform.make_instance(upstream.url, rate_limits={"openai": {"rpm": 2}})
        body = {"prompt": "Hi", "model_id": "gpt-4o-mini", "instance_id": instance}
        answers = [platform.post("/text/generate", body) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert len(upstream.exchanges) == 2
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    refused = answers[2]
    assert refused.json()["error_code"] == "RATE_LIMIT_EXCEEDED"
    assert str(refused.json()["retry_after"]) == refused.headers["Retry-After"]
    assert 58 <= int(refused.headers["Retry-After"]) <= 61


def test_a_stream_holds_its_slot_until_it_ends(platform: Platform):
    with Upstream(streaming(*[chat_event("x")] * 20, CHAT_END, pause_s=0.05)) as upstream:
        instance = platform.make_instance(upstream.url, rate_limits={"openai": {"concurrent_requests": 1}})
        body = {"prompt": "Hi", "model_id": "gpt-4o-mini", "instance_id": instance}
        with httpx.stream(
            "POST", f"{platform.base_url}/text/generate/stream", json=body, headers=platform.live, timeout=10
        ) as answer:
            lines = answer.iter_lines()  # kept: dropping the iterator would close the connection
            next(lines)
            refused = platform.post("/text/generate/stream", body)
            assert refused.status_code == 429
            assert refused.json()["details"]["limit"] == "concurrent_requests"
            assert "event: done" in list(lines)
        wait_until(lambda: platform.post("/text/generate/stream", body).status_code == 200)


# --- a provider nobody wrote code for ---------------------------------------------------------------------------


def test_a_provider_is_added_by_rows_alone_plain_and_streamed(platform: Platform):
    async def handler(exchange: Exchange) -> Answer:
        asked = exchange.json
        if exchange.headers["x-acme-token"] != "acme-secret-1234567890":
            return Answer(status=401, body=b'{"fault": {"text": "who are you?"}}')
        if asked.get("flow") is not True:
            body = {"reply": {"words": ["The ", asked["question"]["text"]]}, "spent": {"in": 7, "out": 3}}
            return Answer(body=json.dumps(body).encode())

        async def send() -> AsyncIterator[bytes]:
            for word in ("One ", "two."):
                yield f"data: {json.dumps({'piece': word})}\n\n".encode()
            yield b'data: {"why": "end", "spent": {"in": 7, "out": 2}}\n\ndata: [FIN]\n\n'

        return Answer(headers=EVENT_STREAM, pieces=send())

    with Upstream(handler) as upstream:
        model = platform.make_model(
            provider_id="acme",
            adapter="mapped",
            model="acme-1",
            payload_mapping={
                "endpoint": f"{upstream.url}/ask?fast={{fast}}",
                "method": "POST",
                "headers": {"X-Acme-Token": "{api_key}"},
                "body": {
                    "question.text": "{user_prompt}",
                    "warmth": "{temperature}",
                    "limit": "{max_tokens:int}",
                    "mood": "{mood|lower}",
                },
                "defaults": {"temperature": 0.25},
                "response_mapping": {
                    "text": "$.reply.words[*]",
                    "usage": {"input_tokens": "$.spent.in", "output_tokens": "$.spent.out"},
                    "error": "$.fault.text",
                    "stream": {
                        "body": {"flow": True},
                        "text": "$.piece",
                        "finish_reason": "$.why",
                        "usage": {"input_tokens": "$.spent.in", "output_tokens": "$.spent.out"},
                        "done": "[FIN]",
                    },
                },
            },
        )
        instance = platform.make_instance(
            upstream.url, provider="acme", base_urls={}, api_keys={"acme": "acme-secret-1234567890"}
        )
        body = {
            "prompt": "Ebro",
            "model_id": model,
            "instance_id": instance,
            "options": {"max_tokens": 9, "mood": "GAY"},
        }
        plain = platform.post("/text/generate", body)
        assert plain.status_code == 200, plain.text
        streamed = platform.post("/text/generate/stream", body)
        sent = upstream.exchanges[0]
        platform.request(
            "PUT",
            f"/config/instance/{instance}",
            json={"api_keys": {"acme": "another-key-1234567890"}},
            headers=platform.live,
        )
        wait_until(lambda: platform.post("/text/generate", body).status_code == 502, within_s=1.5)
        refused = platform.post("/text/generate", body)
    assert plain.json()["text"] == "The Ebro"
    assert (plain.json()["metadata"]["input_tokens"], plain.json()["metadata"]["output_tokens"]) == (7, 3)
    assert sent.json == {"question": {"text": "Ebro"}, "warmth": 0.25, "limit": 9, "mood": "gay"}
    assert sent.path == "/ask"
    events = events_of(streamed.text)
    assert [data["text"] for name, data in events if name == "delta"] == ["One ", "two."]
    assert events[-1][0] == "done"
    assert events[-1][1]["metadata"]["output_tokens"] == 2
    assert refused.json()["error_code"] == "INVALID_API_KEY"
