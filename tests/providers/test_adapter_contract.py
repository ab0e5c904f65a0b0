"""How every built-in adapter reads what comes back, whoever its maker is. What it sends: test_adapter_requests.py."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from apps.core import errors
from apps.core.errors import (
    ContentRefused,
    InvalidModelCapability,
    ProviderError,
    ProviderKeyRefused,
    ProviderModelGone,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    error_body,
)
from apps.providers.registry import TEXT_ADAPTERS, text_adapter
from apps.providers.types import FinishReason, ToolCallPart
from tests.providers.recordings import (
    BUILT_IN,
    KEY,
    RECORDED,
    event,
    gist_of_chunks,
    gist_of_result,
    played,
    read,
    recorded,
    recorded_errors,
    recorded_events,
    spec_for,
)

every_adapter = pytest.mark.parametrize("provider", BUILT_IN)

STREAMS = [(path.parent.name, path.name) for path in sorted(RECORDED.glob("*/*.sse"))]
PAIRS = [
    (provider, name.removesuffix(".sse"))
    for provider, name in STREAMS
    if (RECORDED / provider / name).with_suffix(".json").exists()
]
ERRORS = [(provider, case) for provider in BUILT_IN for case in recorded_errors(provider)]


# --- what comes back ----------------------------------------------------------------------------------------


def outcome(play: Any) -> Any:
    """What an answer comes to: what it says, or the refusal it raises."""
    try:
        return play()
    except ContentRefused as exc:
        return exc.details, exc.message, exc.usage


@pytest.mark.parametrize(("provider", "name"), PAIRS)
def test_streamed_and_whole_answer_say_the_same(provider: str, name: str) -> None:
    whole = outcome(lambda: gist_of_result(read(provider, recorded(provider, f"{name}.json"))))
    streamed = outcome(lambda: gist_of_chunks(played(provider, recorded_events(provider, f"{name}.sse"))))
    assert streamed == whole


@pytest.mark.parametrize(("provider", "name"), [stream for stream in STREAMS if "failing" not in stream[1]])
def test_stream_is_complete_at_its_proper_end_and_not_before(provider: str, name: str) -> None:
    events = recorded_events(provider, name)
    parser = text_adapter(provider).text_stream_parser(spec_for(provider))
    for each in events:
        assert not parser.is_complete
        try:
            parser.feed(each)
        except ContentRefused:
            return
    assert parser.is_complete


@every_adapter
def test_error_in_mid_stream_is_raised_after_what_was_said(provider: str) -> None:
    *said, failure = recorded_events(provider, "failing.sse")
    parser = text_adapter(provider).text_stream_parser(spec_for(provider))
    assert "".join(chunk.text for each in said if (chunk := parser.feed(each))) == "The"
    with pytest.raises(ProviderError) as caught:
        parser.feed(failure)
    assert caught.value.retryable
    assert not parser.is_complete


@every_adapter
def test_refusal_tells_its_reason_and_what_it_cost(provider: str) -> None:
    with pytest.raises(ContentRefused) as caught:
        read(provider, recorded(provider, "refusal.json"))
    assert caught.value.details["reason"]
    assert caught.value.usage.input_tokens > 0


@every_adapter
def test_two_streams_read_by_one_adapter_share_nothing(provider: str) -> None:
    adapter, spec = text_adapter(provider), spec_for(provider)
    first, second = adapter.text_stream_parser(spec), adapter.text_stream_parser(spec)
    chunks: list[list[Any]] = [[], []]
    for each in recorded_events(provider, "tools.sse"):
        chunks[0].append(first.feed(each))
        chunks[1].append(second.feed(each))
    assert chunks[0] == chunks[1]


@every_adapter
def test_usage_includes_its_parts(provider: str) -> None:
    usage = read(provider, recorded(provider, "plain.json")).usage
    assert usage is not None
    assert 0 < usage.cached_input_tokens < usage.input_tokens
    assert usage.cached_input_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert usage.reasoning_tokens <= usage.output_tokens


@every_adapter
def test_tool_calls_end_in_tool_calls(provider: str) -> None:
    result = read(provider, recorded(provider, "tools.json"))
    calls = [part for part in result.parts if isinstance(part, ToolCallPart)]
    assert result.finish_reason is FinishReason.TOOL_CALLS
    assert [call.name for call in calls][:2] == ["get_weather", "get_time"]
    assert json.loads(calls[0].arguments) == {"city": "Zaragoza"}
    assert json.loads(calls[1].arguments) == {}
    assert len({call.id for call in calls}) == len(calls)


@pytest.mark.parametrize(
    "body", [b"", b"<html>no</html>", b"{", b"[]", b"{}", b"null", b"\xff\xfe", b"[" * 9999]
)
@every_adapter
def test_nonsense_answer_is_a_provider_error(provider: str, body: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        read(provider, body)
    assert type(caught.value) is ProviderError


@pytest.mark.parametrize("data", ["<html>no</html>", "{", "[]", "7", "[" * 9999])
@every_adapter
def test_nonsense_event_is_a_provider_error(provider: str, data: str) -> None:
    with pytest.raises(ProviderError) as caught:
        played(provider, [event(data)])
    assert type(caught.value) is ProviderError


@every_adapter
def test_empty_event_says_nothing(provider: str) -> None:
    assert played(provider, [event("")]) == []


# --- failures -----------------------------------------------------------------------------------------------


def failed(provider: str, status: int, body: Any, headers: dict[str, str] | None = None) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return text_adapter(provider).parse_error(spec_for(provider), status, headers or {}, content)


@pytest.mark.parametrize(
    ("provider", "case"), ERRORS, ids=[f"{provider}-{case['name']}" for provider, case in ERRORS]
)
def test_documented_error_has_its_class(provider: str, case: dict[str, Any]) -> None:
    exc = failed(provider, case["status"], case["body"], case.get("headers"))
    assert type(exc) is getattr(errors, case["is"])
    assert exc.provider == provider
    assert exc.details["status"] == case["status"]
    assert exc.details.get("reason") == case.get("reason")
    assert exc.retry_after_s == case.get("retry_after_s")


@pytest.mark.parametrize(
    "body", [b"", b"<html><h1>Bad gateway</h1></html>", b"[]", b"null", b'{"error": null}']
)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, ProviderError),
        (400, ProviderRejected),
        (401, ProviderKeyRefused),
        (402, ProviderQuotaExhausted),
        (403, ProviderKeyRefused),
        (404, ProviderModelGone),
        (408, ProviderTimeout),
        (413, ProviderRejected),
        (422, ProviderRejected),
        (429, ProviderRateLimited),
        (500, ProviderError),
        (502, ProviderError),
        (503, ProviderError),
        (504, ProviderTimeout),
        (529, ProviderError),
    ],
)
@every_adapter
def test_status_alone_says_enough(provider: str, status: int, kind: type[ProviderError], body: bytes) -> None:
    exc = failed(provider, status, body)
    assert type(exc) is kind
    assert "html" not in exc.message


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("nan", None),
    ],
)
@every_adapter
def test_retry_after_is_read_where_it_makes_sense(provider: str, header: str, seconds: float | None) -> None:
    assert failed(provider, 503, b"", {"retry-after": header}).retry_after_s == seconds


@every_adapter
def test_rejection_quotes_the_provider_and_keeps_it_short(provider: str) -> None:
    said = "Field `foo` is unknown.\n" + "Really. " * 200
    exc = failed(provider, 400, {"error": {"message": said, "status": "INVALID_ARGUMENT"}})
    assert "Field `foo` is unknown. Really." in exc.message
    assert len(exc.message) < 350


@every_adapter
def test_account_trouble_is_not_told_in_the_providers_words(provider: str) -> None:
    for status in (401, 402, 403, 429, 500):
        exc = failed(provider, status, {"error": {"message": "Organization org-77 of Acme is on hold."}})
        assert "org-77" not in json.dumps(error_body(exc, request_id="r"))


# Whole, masked as OpenAI does it, cut short, in a URL, in a header.
ECHOES = [
    KEY,
    "sk-secre************************mnop",
    "secre****mnop",
    KEY[:14] + "...",
    "AIzaSyD-0123456789abcdefghijklmnopqrstu",
    "https://example.com/v1?key=plain-looking-key&x=1",
    "Authorization: Bearer plain-looking-key",
]


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 429, 500, 529])
@every_adapter
def test_error_that_quotes_the_key_does_not_pass_it_on(provider: str, status: int, echo: str) -> None:
    message = "x" * 280 + f" Incorrect API key provided: {echo}. Sorry."
    for said in (message, message[270:]):
        exc = failed(
            provider, status, {"error": {"message": said, "type": "invalid_request_error", "code": said}}
        )
        assert_keyless(exc)


@pytest.mark.parametrize("before", [0, 250, 290, 296])
@every_adapter
def test_key_of_no_known_make_is_not_passed_on_even_in_part(provider: str, before: int) -> None:
    """Wherever it stands: a sentence cut in the middle of a key would keep half of it."""
    key = "Q7-homemade-credential"
    said = json.dumps({"error": {"message": "x" * before + key}}).encode()
    exc = text_adapter(provider).parse_error(spec_for(provider, api_key=key), 400, {}, said)
    assert "Q7" not in str(exc)
    assert "homemade" not in str(exc)


@pytest.mark.parametrize("echo", ECHOES)
@every_adapter
def test_stream_error_that_quotes_the_key_does_not_pass_it_on(provider: str, echo: str) -> None:
    said = f"You sent {echo}"
    error = {"message": said, "type": "invalid_request_error", "code": 400}
    with pytest.raises(ProviderRejected) as caught:
        played(provider, [event({"type": "error", "error": error}, "error")])
    assert_keyless(caught.value)


def assert_keyless(exc: Any) -> None:
    told = f"{exc} {exc!r} {exc.args} {json.dumps(error_body(exc, request_id='r'))}"
    for secret in ("secre", "mnop", "0123456789", "plain-looking-key"):
        assert secret not in told


def test_key_in_a_refusal_is_scrubbed_too() -> None:
    answer = {
        "content": [],
        "stop_reason": "refusal",
        "stop_details": {"category": f"cat {KEY}", "explanation": f"No: {KEY}"},
    }
    with pytest.raises(ContentRefused) as caught:
        read("anthropic", answer)
    assert_keyless(caught.value)


@every_adapter
def test_short_key_does_not_garble_the_sentence(provider: str) -> None:
    spec = spec_for(provider, api_key="invalid")
    body = b'{"error": {"message": "The value is invalid."}}'
    assert "The value is invalid." in str(text_adapter(provider).parse_error(spec, 400, {}, body))


@every_adapter
def test_endless_word_in_an_error_is_read_in_no_time(provider: str) -> None:
    start = time.process_time()
    failed(provider, 400, {"error": {"message": "a" * 200_000}})
    assert time.process_time() - start < 0.5


# --- the registry -------------------------------------------------------------------------------------------


def test_registry_hands_out_one_instance_of_each() -> None:
    for name in BUILT_IN:
        assert text_adapter(name) is text_adapter(name)


def test_every_registered_adapter_is_held_to_this_contract() -> None:
    assert set(TEXT_ADAPTERS) == {*BUILT_IN, "mapped"}


def test_unknown_adapter_is_named_in_the_error() -> None:
    with pytest.raises(InvalidModelCapability, match="pexels"):
        text_adapter("pexels")
