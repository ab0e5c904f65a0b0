from __future__ import annotations

import json
import time
import uuid
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google.genai import errors, types

from apps.sandbox.rehearse import Attempts
from tests.sandbox.samples import PROMPT, SAMPLES, Sample, error_of

every_maker = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)


def _post(
    http: httpx.Client, sample: Sample, rehearse: str, *, stream: bool = False, key: str = ""
) -> httpx.Response:
    path, body = (sample.stream_path, sample.stream_body) if stream else (sample.path, sample.body)
    headers = {"x-de-rehearse": rehearse} | ({"x-de-rehearse-key": key} if key else {})
    return http.post(path, json=body, headers=headers)


def _stream(http: httpx.Client, sample: Sample, rehearse: str) -> tuple[list[bytes], bool]:
    """The events that came, and whether the stream ended in good order."""
    received = b""
    try:
        with http.stream(
            "POST", sample.stream_path, json=sample.stream_body, headers={"x-de-rehearse": rehearse}
        ) as answer:
            for chunk in answer.iter_bytes():
                received += chunk
    except httpx.RemoteProtocolError:
        return _events(received), False
    return _events(received), True


def _events(received: bytes) -> list[bytes]:
    return [event for event in received.replace(b"\r\n", b"\n").split(b"\n\n") if event]


# --- errors -------------------------------------------------------------------------------------------------


@every_maker
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 429, 500, 503, 504, 529])
@pytest.mark.parametrize("stream", [False, True])
def test_a_status_comes_with_the_makers_own_body(http, sample, status, stream):
    answer = _post(http, sample, f"status={status}", stream=stream)
    assert answer.status_code == status
    error_of(sample.maker, answer.json())


def test_a_rate_limit_says_when_to_return_in_each_makers_way(http):
    rehearse = "status=429; retry-after=2.5"
    openai_answer = _post(http, SAMPLES["openai"], rehearse)
    assert error_of("openai", openai_answer.json())["code"] == "rate_limit_exceeded"
    assert openai_answer.headers["retry-after"] == "3"
    assert openai_answer.headers["retry-after-ms"] == "2500"
    assert openai_answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert openai_answer.headers["x-ratelimit-reset-requests"] == "2.5s"
    anthropic_answer = _post(http, SAMPLES["anthropic"], rehearse)
    assert error_of("anthropic", anthropic_answer.json())["type"] == "rate_limit_error"
    assert anthropic_answer.headers["retry-after"] == "3"
    assert anthropic_answer.headers["x-should-retry"] == "true"
    gemini_answer = _post(http, SAMPLES["gemini"], rehearse)
    assert "retry-after" not in gemini_answer.headers
    details = error_of("gemini", gemini_answer.json())["details"]
    assert [entry["retryDelay"] for entry in details if entry["@type"].endswith("RetryInfo")] == ["2.5s"]
    assert [entry for entry in details if entry["@type"].endswith("QuotaFailure")]


def test_no_money_is_not_a_rate_limit(http):
    answers = {maker: _post(http, sample, "quota") for maker, sample in SAMPLES.items()}
    assert answers["openai"].status_code == 429
    assert error_of("openai", answers["openai"].json())["code"] == "insufficient_quota"
    assert answers["anthropic"].status_code == 402
    assert error_of("anthropic", answers["anthropic"].json())["type"] == "billing_error"
    assert answers["gemini"].status_code == 400
    assert error_of("gemini", answers["gemini"].json())["status"] == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, openai.RateLimitError), (500, openai.InternalServerError), (403, openai.PermissionDeniedError)],
)
def test_openais_sdk_knows_the_failure(openai_client, status, expected):
    with pytest.raises(expected):
        openai_client.chat.completions.create(
            **SAMPLES["openai"].body, extra_headers={"X-DE-Rehearse": f"status={status}"}
        )


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, anthropic.RateLimitError), (529, anthropic.InternalServerError), (404, anthropic.NotFoundError)],
)
def test_anthropics_sdk_knows_the_failure(anthropic_client, status, expected):
    with pytest.raises(expected):
        anthropic_client.messages.create(
            **SAMPLES["anthropic"].body, extra_headers={"X-DE-Rehearse": f"status={status}"}
        )


@pytest.mark.parametrize(("status", "expected"), [(429, errors.ClientError), (503, errors.ServerError)])
def test_geminis_sdk_knows_the_failure(gemini_client, status, expected):
    options = types.HttpOptions(headers={"X-DE-Rehearse": f"status={status}"})
    with pytest.raises(expected) as caught:
        gemini_client.models.generate_content(
            model="gemini-3.8-flash",
            contents=PROMPT,
            config=types.GenerateContentConfig(http_options=options),
        )
    assert caught.value.code == status


@every_maker
@pytest.mark.parametrize(
    "header",
    [
        "explode",
        "status",
        "status=200",
        "status=ten",
        "slow=-1",
        "pace=nan",
        "garbage=1",
        "retry-after=3",
        "midstream=0",
    ],
)
def test_a_rehearsal_that_cannot_be_read_is_a_400_that_says_why(http, sample, header):
    answer = _post(http, sample, header)
    assert answer.status_code == 400
    message = error_of(sample.maker, answer.json())["message"]
    assert "X-DE-Rehearse" in message
    assert header.partition("=")[0] in message


def test_a_bad_key_is_refused_before_anything_is_rehearsed(http):
    answer = http.get(
        "/openai/v1/models", headers={"authorization": "Bearer invalid", "x-de-rehearse": "status=500"}
    )
    assert answer.status_code == 401


# --- broken answers -----------------------------------------------------------------------------------------


@every_maker
def test_a_cut_stream_really_breaks_off_after_that_many_events(http, sample):
    events, ended = _stream(http, sample, "cut=4; pace=0")
    assert not ended
    assert len(events) == 4
    assert not [event for event in events if sample.done in event]


@every_maker
def test_a_cut_plain_answer_breaks_off_half_way(http, sample):
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        _post(http, sample, "cut=10")


def test_the_sdks_notice_a_cut_stream(openai_client):
    stream = openai_client.chat.completions.create(
        **SAMPLES["openai"].stream_body, extra_headers={"X-DE-Rehearse": "cut=3"}
    )
    with pytest.raises(openai.APIConnectionError):
        list(stream)


@every_maker
def test_a_stream_can_fail_in_the_middle_in_the_makers_own_way(http, sample):
    events, ended = _stream(http, sample, "midstream=3; pace=0")
    assert ended
    assert len(events) == 4
    last = events[-1].decode()
    error_of(sample.maker, json.loads(last[last.index("{") :]))
    if sample.maker == "anthropic":
        assert last.startswith("event: error\n")
        assert "overloaded_error" in last
    assert not [event for event in events if sample.done in event]


def test_the_array_form_can_fail_in_the_middle_too(http):
    path = SAMPLES["gemini"].path.replace("generateContent", "streamGenerateContent")
    answer = http.post(path, json=SAMPLES["gemini"].body, headers={"x-de-rehearse": "midstream=2"})
    chunks = answer.json()
    assert len(chunks) == 3
    assert chunks[-1]["error"]["status"] == "UNAVAILABLE"


def test_the_sdks_notice_a_failure_in_the_middle(openai_client, anthropic_client):
    headers = {"X-DE-Rehearse": "midstream=3"}
    with pytest.raises(openai.APIError):
        list(openai_client.chat.completions.create(**SAMPLES["openai"].stream_body, extra_headers=headers))
    with pytest.raises(anthropic.APIStatusError) as caught:
        list(anthropic_client.messages.create(**SAMPLES["anthropic"].stream_body, extra_headers=headers))
    assert caught.value.type == "overloaded_error"


@every_maker
def test_garbage_is_not_what_the_content_type_says(http, sample):
    plain = _post(http, sample, "garbage")
    assert plain.status_code == 200
    assert plain.headers["content-type"].startswith("application/json")
    with pytest.raises(json.JSONDecodeError):
        plain.json()
    streamed = _post(http, sample, "garbage", stream=True)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert b"data: " not in streamed.content


# --- time ---------------------------------------------------------------------------------------------------


@every_maker
@pytest.mark.parametrize("stream", [False, True])
def test_slow_delays_the_first_byte(http, sample, stream):
    started = time.monotonic()
    assert _post(http, sample, "slow=0.4, pace=0", stream=stream).status_code == 200
    assert 0.4 <= time.monotonic() - started < 3


def test_pace_spreads_the_events(http):
    body = SAMPLES["openai"].stream_body | {"max_tokens": 5}
    started = time.monotonic()
    text = http.post(SAMPLES["openai"].path, json=body, headers={"x-de-rehearse": "pace=0.1"}).text
    assert time.monotonic() - started >= 0.1 * (len(_events(text.encode())) - 1)


@every_maker
def test_hang_never_answers(http, sample):
    with pytest.raises(httpx.ReadTimeout):
        http.post(sample.path, json=sample.body, headers={"x-de-rehearse": "hang"}, timeout=0.5)


# --- refusals -----------------------------------------------------------------------------------------------


def test_openais_filter_refuses_in_a_field_of_its_own(http, openai_client):
    headers = {"X-DE-Rehearse": "refuse"}
    choice = openai_client.chat.completions.create(**SAMPLES["openai"].body, extra_headers=headers).choices[0]
    assert choice.message.content is None
    chunks = openai_client.chat.completions.create(**SAMPLES["openai"].stream_body, extra_headers=headers)
    assert "".join(chunk.choices[0].delta.refusal or "" for chunk in chunks) == choice.message.refusal != ""


def test_anthropics_filter_refuses_in_the_stop_reason(anthropic_client):
    headers = {"X-DE-Rehearse": "refuse"}
    message = anthropic_client.messages.create(**SAMPLES["anthropic"].body, extra_headers=headers)
    assert (message.stop_reason, message.content) == ("refusal", [])
    assert message.stop_details.explanation
    with anthropic_client.messages.stream(**SAMPLES["anthropic"].body, extra_headers=headers) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "refusal"
    assert final.stop_details == message.stop_details


@pytest.mark.parametrize("stream", [False, True])
def test_geminis_filter_leaves_out_the_candidates(http, stream):
    answer = _post(http, SAMPLES["gemini"], "refuse", stream=stream)
    body: dict[str, Any] = json.loads(answer.text.removeprefix("data: "))
    assert "candidates" not in body
    assert body["promptFeedback"]["blockReason"] == "SAFETY"
    assert body["usageMetadata"]["promptTokenCount"] > 0


# --- attempts -----------------------------------------------------------------------------------------------


@every_maker
def test_only_the_first_attempts_misbehave(http, sample):
    key = uuid.uuid4().hex
    statuses = [_post(http, sample, "first=2; status=503", key=key).status_code for _ in range(4)]
    assert statuses == [503, 503, 200, 200]
    assert _post(http, sample, "first=2; status=503", key=uuid.uuid4().hex).status_code == 503


def test_without_a_key_attempts_are_told_apart_by_maker_and_body(http):
    sample, rehearse = SAMPLES["openai"], {"x-de-rehearse": "status=500;first=1"}
    bodies = [sample.body | {"user": uuid.uuid4().hex} for _ in range(2)]
    asked = [bodies[0], bodies[0], bodies[1], bodies[1]]
    assert [http.post(sample.path, json=body, headers=rehearse).status_code for body in asked] == [
        500,
        200,
    ] * 2


def test_the_sdks_own_retries_get_through(sandbox_url):
    headers = {"X-DE-Rehearse": "status=500; first=2", "X-DE-Rehearse-Key": uuid.uuid4().hex}
    with openai.OpenAI(base_url=f"{sandbox_url}/openai/v1", api_key="key", max_retries=2) as client:
        completion = client.chat.completions.create(**SAMPLES["openai"].body, extra_headers=headers)
    assert completion.choices[0].finish_reason == "stop"


def test_counters_are_forgotten_when_there_are_too_many():
    attempts = Attempts(limit=2)
    assert [attempts.count(key) for key in ("a", "b", "a", "c", "a", "b")] == [1, 1, 2, 1, 3, 1]
