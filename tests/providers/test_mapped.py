"""The adapter driven by a mapping: whole answers, streams and failures."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from apps.core.errors import (
    ContentRefused,
    InternalError,
    InvalidRequest,
    ProviderError,
    ProviderKeyRefused,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from apps.providers.base import TextAdapter
from apps.providers.http import stream_decoder
from apps.providers.mapped import MappedAdapter
from apps.providers.mapping import mapping_compile
from apps.providers.types import (
    FinishReason,
    ImagePart,
    Message,
    ModelSpec,
    ReasoningPart,
    ResponseFormat,
    TextChunk,
    TextPart,
    TextRequest,
    TextResult,
    Tool,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from tests.providers import mappings

KEY = "acme-key-0123456789"
ADAPTER: TextAdapter = MappedAdapter()

ACME: dict[str, Any] = {
    "endpoint": "/v1/write",
    "method": "POST",
    "headers": {"Authorization": "Bearer {api_key}"},
    "body": {"ask": "{user_prompt}", "limit": "{max_tokens}", "mood": "{mood}"},
    "response_mapping": {
        "text": "$.pages[*].words",
        "finish_reason": "$.why",
        "model": "$.by",
        "usage": {"input_tokens": "$.cost.in", "output_tokens": "$.cost.out"},
        "error": "$.fault.text",
        "stream": {
            "body": {"flow": True},
            "text": "$.delta",
            "finish_reason": "$.why",
            "usage": {"input_tokens": "$.cost.in", "output_tokens": "$.cost.out"},
            "error": "$.fault.text",
            "done": "[DONE]",
        },
    },
}


def make_spec(raw: dict[str, Any] = ACME, **rest: Any) -> ModelSpec:
    fields: dict[str, Any] = {
        "model_id": "acme-1",
        "provider": "acme",
        "adapter": "mapped",
        "model": "acme-large",
        "base_url": "https://api.acme.example",
        "api_key": KEY,
        "mapping": mapping_compile(raw),
    }
    return ModelSpec(**(fields | rest))


def changed(path: str, value: Any, raw: dict[str, Any] = ACME) -> dict[str, Any]:
    """raw with one entry of response_mapping (dotted: of its inner objects) replaced; None takes it out."""
    copy: dict[str, Any] = json.loads(json.dumps(raw))
    *parents, last = path.split(".")
    target = copy["response_mapping"]
    for name in parents:
        target = target[name]
    target[last] = value
    return copy


def ask(*texts: str, **rest: Any) -> TextRequest:
    """texts: turn by turn, the user's first."""
    roles = ("user", "assistant")
    messages = [Message(roles[i % 2], (TextPart(text),)) for i, text in enumerate(texts)]  # type: ignore[arg-type]
    return TextRequest(messages=tuple(messages), **rest)


def sent(raw: dict[str, Any], request: TextRequest, *, stream: bool = False, **rest: Any) -> Any:
    return json.loads(ADAPTER.build_text_request(make_spec(raw, **rest), request, stream=stream).content)


def exchange(spec: ModelSpec, request: TextRequest, status: int, answer: Any) -> TextResult:
    """A whole call against a fake server."""

    def serve(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=answer)

    with httpx.Client(transport=httpx.MockTransport(serve)) as client:
        response = client.send(ADAPTER.build_text_request(spec, request, stream=False))
    if response.status_code >= 300:
        raise ADAPTER.parse_error(spec, response.status_code, response.headers, response.content)
    return ADAPTER.parse_text_result(spec, response.content)


def parse(answer: Any, raw: dict[str, Any] = ACME) -> TextResult:
    return ADAPTER.parse_text_result(make_spec(raw), json.dumps(answer).encode())


def read_stream(raw: dict[str, Any], body: str) -> tuple[list[TextChunk], bool]:
    """The chunks, and whether the stream was complete; fed byte by byte."""
    spec = make_spec(raw)
    decoder = stream_decoder(ADAPTER, spec)
    parser = ADAPTER.text_stream_parser(spec)
    events = [event for byte in body.encode() for event in decoder.feed(bytes([byte]))] + decoder.flush()
    chunks = [chunk for event in events if (chunk := parser.feed(event)) is not None]
    return chunks, parser.is_complete


def sse(*events: Any) -> str:
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(line if line.startswith("event:") else f"data: {line}\n\n" for line in lines)


# --- the request --------------------------------------------------------------------------------------------


def test_a_request_carries_the_prompt_the_options_and_the_key() -> None:
    request = ADAPTER.build_text_request(
        make_spec(headers=(("X-DE-Rehearse", "hang"),)),
        ask("Hello", max_tokens=5, extra={"mood": "glad", "unused": 1}),
        stream=False,
    )
    assert (request.method, str(request.url)) == ("POST", "https://api.acme.example/v1/write")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["x-de-rehearse"] == "hang"
    assert json.loads(request.content) == {"ask": "Hello", "limit": 5, "mood": "glad"}


def test_a_streamed_request_has_the_streams_body_laid_over() -> None:
    assert sent(ACME, ask("Hello"), stream=True) == {"ask": "Hello", "flow": True}
    assert sent(ACME, ask("Hello")) == {"ask": "Hello"}


def test_every_standard_name_has_its_value() -> None:
    names = "model max_tokens temperature top_p stop seed presence_penalty frequency_penalty user stream"
    names += " reasoning_effort response_format json_schema system"
    raw = {**ACME, "body": {name: f"{{{name}}}" for name in names.split()}}
    request = ask(
        "Hi",
        max_tokens=1,
        temperature=0.0,
        top_p=0.5,
        stop=("x",),
        seed=0,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        user="u",
        reasoning_effort="low",
        system="Be brief.",
        response_format=ResponseFormat(json_schema={"type": "object"}, name="n"),
    )
    assert sent(raw, request) == {
        "model": "acme-large",
        "max_tokens": 1,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["x"],
        "seed": 0,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "user": "u",
        "stream": False,
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}},
        },
        "json_schema": {"type": "object"},
        "system": "Be brief.",
    }
    assert sent(raw, ask("Hi")) == {"model": "acme-large", "stream": False}
    assert sent(raw, ask("Hi", response_format=ResponseFormat()))["response_format"] == {
        "type": "json_object"
    }


def test_options_cannot_take_the_place_of_what_the_platform_sets() -> None:
    raw = {**ACME, "body": {"m": "{model}", "p": "{prompt}"}}
    assert sent(raw, ask("Hi", extra={"model": "other", "prompt": "evil"})) == {"m": "acme-large", "p": "Hi"}


def test_a_prompt_alone_carries_the_whole_conversation() -> None:
    raw = {**ACME, "body": {"p": "{user_prompt}"}}
    assert sent(raw, ask("Hi", system="Be brief.")) == {"p": "Be brief.\n\nHi"}
    conversation = sent(raw, ask("Hi", "Hello!", "And?", system="Be brief."))["p"]
    assert conversation == "Be brief.\n\nUser: Hi\n\nAssistant: Hello!\n\nUser: And?\n\nAssistant:"
    assert sent(raw, ask("Hi", "Hel"))["p"] == "User: Hi\n\nAssistant: Hel"


def test_a_system_text_with_a_place_of_its_own_is_not_repeated() -> None:
    raw = {**ACME, "body": {"s": "{system}", "p": "{user_prompt}", "m": "{messages}"}}
    assert sent(raw, ask("Hi", "Hello!", "And?", system="Be brief.")) == {
        "s": "Be brief.",
        "p": "And?",
        "m": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "And?"},
        ],
    }


def test_without_one_it_is_the_first_message() -> None:
    raw = {**ACME, "body": {"m": "{messages}"}}
    assert sent(raw, ask("Hi", system="Be brief."))["m"][0] == {"role": "system", "content": "Be brief."}


def test_pictures_go_into_messages_and_nowhere_else() -> None:
    parts = (
        TextPart("What is it?"),
        ImagePart(data="AAAA", media_type="image/png"),
        ImagePart(url="https://x/y"),
    )
    request = TextRequest(messages=(Message("user", parts),))
    assert sent({**ACME, "body": {"m": "{messages}"}}, request)["m"][0]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://x/y"}},
    ]
    with pytest.raises(InvalidRequest, match="pictures"):
        sent(ACME, request)
    with pytest.raises(InvalidRequest, match="pictures"):
        sent({**ACME, "body": {"m": "{messages|messagesToContents}"}}, request)


def test_earlier_thinking_is_left_behind() -> None:
    parts = (ReasoningPart(text="hmm"), TextPart("Yes."))
    request = TextRequest(messages=(Message.user("Well?"), Message("assistant", parts), Message.user("Why?")))
    assert sent({**ACME, "body": {"m": "{messages}"}}, request)["m"][1] == {
        "role": "assistant",
        "content": "Yes.",
    }


@pytest.mark.parametrize(
    "request_",
    [
        ask("Hi", tools=(Tool(name="look"),)),
        TextRequest(messages=(Message("assistant", (ToolCallPart(id="1", name="look", arguments="{}"),)),)),
        TextRequest(messages=(Message("tool", (ToolResultPart(tool_call_id="1", content="x"),)),)),
    ],
)
def test_tools_are_refused_aloud(request_: TextRequest) -> None:
    with pytest.raises(InvalidRequest, match="tool"):
        sent({**ACME, "body": {"m": "{messages}"}}, request_)


def test_a_model_without_a_mapping_is_a_fault_of_ours() -> None:
    with pytest.raises(InternalError, match="acme-1"):
        ADAPTER.build_text_request(make_spec(mapping=None), ask("Hi"), stream=False)


# --- whole answers ------------------------------------------------------------------------------------------

ANSWER = {
    "pages": [{"words": "Hello"}, {"words": None}, {"words": " there"}],
    "why": "stop",
    "by": "acme-large-2",
    "cost": {"in": 3, "out": 2},
}


def test_a_whole_answer_is_read() -> None:
    result = exchange(make_spec(), ask("Hi"), 200, ANSWER)
    assert result == TextResult(
        parts=(TextPart("Hello there"),),
        finish_reason=FinishReason.STOP,
        usage=Usage(input_tokens=3, output_tokens=2),
        model="acme-large-2",
    )


def test_an_answer_with_nothing_but_text_is_enough() -> None:
    result = parse({"pages": [{"words": ""}]})
    assert (result.text, result.finish_reason, result.usage) == ("", FinishReason.UNKNOWN, None)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("end_turn", FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("length", FinishReason.LENGTH),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("SAFETY", FinishReason.CONTENT_FILTER),
        ("whim", FinishReason.UNKNOWN),
        (True, FinishReason.STOP),
        (None, FinishReason.UNKNOWN),
        (7, FinishReason.UNKNOWN),
    ],
)
def test_a_finish_reason_is_translated(word: Any, reason: FinishReason) -> None:
    assert parse(ANSWER | {"why": word}).finish_reason is reason


@pytest.mark.parametrize(
    "answer", [{}, {"pages": []}, {"pages": [{"words": None}]}, {"pages": 5}, [], "x", None]
)
def test_an_answer_without_text_says_which_path_found_none(answer: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        parse(answer)
    assert "$.pages[*].words" in caught.value.message
    assert caught.value.code == "PROVIDER_ERROR"


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"{", b"[" * 100_000])
def test_an_answer_that_is_no_json_is_a_provider_error(body: bytes) -> None:
    with pytest.raises(ProviderError):
        ADAPTER.parse_text_result(make_spec(), body)


def test_an_allowance_used_up_before_any_text_is_no_failure() -> None:
    result = parse({"why": "max_tokens", "cost": {"in": 3, "out": 9}})
    assert (result.text, result.parts, result.finish_reason) == ("", (), FinishReason.LENGTH)


def test_a_filtered_answer_without_text_is_a_refusal_that_may_cost() -> None:
    with pytest.raises(ContentRefused) as caught:
        parse({"why": "SAFETY", "cost": {"in": 3, "out": 0}})
    assert caught.value.details["reason"] == "SAFETY"
    assert caught.value.usage == Usage(input_tokens=3)


def test_a_failure_that_came_as_a_200_is_a_failure() -> None:
    with pytest.raises(ProviderError, match="acme failed: no paper left") as caught:
        parse(ANSWER | {"fault": {"text": "no paper left"}})
    assert type(caught.value) is ProviderError


@pytest.mark.parametrize("value", [None, "", False, 0, {}, []])
def test_an_error_field_that_says_all_is_well_is_no_failure(value: Any) -> None:
    assert parse(ANSWER | {"fault": {"text": value}}).text == "Hello there"


def test_older_names_in_the_response_mapping_are_understood() -> None:
    raw = {
        **ACME,
        "response_mapping": {
            "text_content": "$.pages[*].words",
            "stop_reason": "$.why",
            "error_message": "$.fault.text",
            "tokens_used": "$.cost.in",
            "usage_tokens": "$.cost.out",
        },
    }
    result = parse(ANSWER, raw)
    assert (result.text, result.finish_reason) == ("Hello there", FinishReason.STOP)
    # One figure that meant input, output or both, row by row: worse than an estimate.
    assert result.usage is None


@pytest.mark.parametrize(
    ("paths", "counts", "usage"),
    [
        ({"input_tokens": "$.cost['a','b']"}, {"a": 1, "b": 2}, Usage(input_tokens=3)),
        ({"output_tokens": "$.cost.list[*]"}, {"list": [1, 2]}, Usage(output_tokens=3)),
        (
            {"input_tokens": "$.cost.a", "cached_input_tokens": "$.cost.b", "reasoning_tokens": "$.cost.c"},
            {"a": 9, "b": 4, "c": 1},
            Usage(input_tokens=9, cached_input_tokens=4, reasoning_tokens=1),
        ),
        (
            {"output_tokens": "$.cost.out", "total_tokens": "$.cost.all"},
            {"out": 4, "all": 10},
            Usage(input_tokens=6, output_tokens=4),
        ),
        (
            {"input_tokens": "$.cost.in", "total_tokens": "$.cost.all"},
            {"in": 4, "all": 10},
            Usage(input_tokens=4, output_tokens=6),
        ),
        ({"input_tokens": "$.cost.a"}, {"a": -5}, None),
        ({"input_tokens": "$.cost.a"}, {"a": True}, None),
        ({"input_tokens": "$.cost.a"}, {"a": "many"}, None),
        ({"input_tokens": "$.cost.a"}, {"a": 1e300}, None),
        ({"input_tokens": "$.cost.a"}, {"a": None}, None),
        ({"input_tokens": "$.cost.a"}, {"a": 7.0}, Usage(input_tokens=7)),
    ],
)
def test_usage_is_read_and_summed(paths: Any, counts: Any, usage: Usage | None) -> None:
    assert parse(ANSWER | {"cost": counts}, changed("usage", paths)).usage == usage


# --- streams ------------------------------------------------------------------------------------------------


def test_a_stream_is_read_event_by_event() -> None:
    chunks, is_complete = read_stream(
        ACME,
        sse(
            {"delta": "Hel"},
            {"ping": 1},
            {"delta": "lo"},
            {"delta": "", "why": "stop"},
            {"cost": {"in": 3, "out": 2}},
            "[DONE]",
        ),
    )
    assert chunks == [
        TextChunk(text="Hel"),
        TextChunk(text="lo"),
        TextChunk(finish_reason=FinishReason.STOP),
        TextChunk(usage=Usage(input_tokens=3, output_tokens=2)),
    ]
    assert is_complete


def test_a_stream_cut_before_its_end_is_not_complete() -> None:
    assert read_stream(ACME, sse({"delta": "Hel"}, {"why": "stop"}))[1] is False
    assert read_stream(changed("stream.done", None), sse({"delta": "Hel"}))[1] is False
    assert read_stream(changed("stream.done", "$.last"), sse({"delta": "x", "last": False}))[1] is False


def test_without_done_the_finish_reason_ends_it() -> None:
    chunks, is_complete = read_stream(changed("stream.done", None), sse({"delta": "x", "why": "length"}))
    assert chunks == [TextChunk(text="x", finish_reason=FinishReason.LENGTH)]
    assert is_complete


def test_without_done_the_customary_end_is_understood_too() -> None:
    assert read_stream(changed("stream.done", None), sse({"delta": "x"}, "[DONE]"))[1] is True


def test_done_may_be_a_path_or_an_events_name() -> None:
    assert read_stream(changed("stream.done", "$.last"), sse({"delta": "x", "last": True}))[1] is True
    assert read_stream(changed("stream.done", "bye"), sse({"delta": "x"}, "event: bye\n", {}))[1] is True


def test_usage_given_in_pieces_is_put_together() -> None:
    chunks, _ = read_stream(
        ACME, sse({"cost": {"in": 3}}, {"delta": "x"}, {"cost": {"out": 2}}, {"cost": {"out": 5}})
    )
    assert [chunk.usage for chunk in chunks] == [
        Usage(input_tokens=3),
        None,
        Usage(input_tokens=3, output_tokens=2),
        Usage(input_tokens=3, output_tokens=5),
    ]


@pytest.mark.parametrize(
    "event", [{"fault": {"text": f"gone {KEY}"}}, f'event: error\ndata: {{"message": "gone {KEY}"}}\n\n']
)
def test_an_error_in_mid_stream_is_raised_without_the_key(event: Any) -> None:
    with pytest.raises(ProviderError, match="acme failed: gone") as caught:
        read_stream(ACME, sse({"delta": "Hel"}, event))
    assert KEY not in caught.value.message


def test_the_streams_error_path_is_the_whole_answers_where_it_has_none() -> None:
    with pytest.raises(ProviderError, match="gone"):
        read_stream(changed("stream.error", None), sse({"fault": {"text": "gone"}}))


def test_an_event_that_is_no_json_is_a_provider_error() -> None:
    with pytest.raises(ProviderError):
        read_stream(ACME, sse("{broken"))


def test_a_stream_filtered_before_any_text_is_a_refusal() -> None:
    with pytest.raises(ContentRefused) as caught:
        read_stream(ACME, sse({"cost": {"in": 3}}, {"why": "content_filter"}))
    assert caught.value.usage == Usage(input_tokens=3)
    chunks, _ = read_stream(ACME, sse({"delta": "Well"}, {"why": "content_filter"}))
    assert chunks[-1].finish_reason is FinishReason.CONTENT_FILTER


def test_an_adapter_says_how_its_model_streams() -> None:
    assert ADAPTER.stream_format(make_spec()) == "sse"
    assert ADAPTER.stream_format(make_spec(mappings.OLLAMA_CHAT)) == "ndjson"
    silent = {**ACME, "response_mapping": {"text": "$.t"}}
    assert ADAPTER.stream_format(make_spec(silent)) is None
    with pytest.raises(InvalidRequest, match="does not stream"):
        ADAPTER.build_text_request(make_spec(silent), ask("Hi"), stream=True)


# --- failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderRejected),
        (413, ProviderRejected),
        (422, ProviderRejected),
        (401, ProviderKeyRefused),
        (403, ProviderKeyRefused),
        (402, ProviderQuotaExhausted),
        (404, ProviderError),
        (408, ProviderTimeout),
        (504, ProviderTimeout),
        (429, ProviderRateLimited),
        (500, ProviderError),
        (503, ProviderError),
        (529, ProviderError),
    ],
)
def test_a_status_becomes_its_failure(status: int, kind: type[ProviderError]) -> None:
    with pytest.raises(kind) as caught:
        exchange(make_spec(), ask("Hi"), status, {"fault": {"text": f"bad {KEY}"}})
    assert caught.value.details["status"] == status
    assert caught.value.provider == "acme"
    assert KEY not in caught.value.message


def test_the_error_path_gives_the_sentence_where_it_helps() -> None:
    def fault(status: int, answer: Any) -> str:
        return ADAPTER.parse_error(make_spec(), status, {}, json.dumps(answer).encode()).message

    assert fault(400, {"fault": {"text": "prompt too long"}}) == "acme rejected the request: prompt too long"
    assert fault(500, {"fault": {"text": "no paper left"}}) == "acme failed: no paper left"
    assert fault(500, {"fault": {"text": {"code": 5}}}) == 'acme failed: {"code":5}'
    # Shapes everybody uses are understood where the path finds nothing.
    assert fault(400, {"error": {"message": "too long"}}) == "acme rejected the request: too long"
    assert fault(500, {}) == "acme failed."


@pytest.mark.parametrize("body", [b"", b"<html>", b"[", b'"text"', b"null", b"5"])
def test_any_body_may_come_with_a_failure(body: bytes) -> None:
    assert ADAPTER.parse_error(make_spec(), 503, {}, body).code == "PROVIDER_ERROR"


def test_the_wait_is_read_in_seconds_and_as_a_date() -> None:
    def wait(value: str) -> float | None:
        error = ADAPTER.parse_error(make_spec(), 429, {"retry-after": value}, b"{}")
        assert isinstance(error, ProviderRateLimited)
        return error.retry_after_s

    assert wait("7") == 7
    soon = wait(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert soon is not None
    assert 25 < soon <= 30
    assert wait("soon") is None


# --- well-known makers --------------------------------------------------------------------------------------


def test_openai_can_be_described() -> None:
    request = ask("Name a river.", system="Be brief.", max_tokens=64)
    assert sent(mappings.OPENAI_CHAT, request, stream=True) == {
        "model": "acme-large",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Name a river."},
        ],
        "max_completion_tokens": 64,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer = {
        "id": "chatcmpl-a1",
        "model": "gpt-6-luna",
        "choices": [
            {"index": 0, "message": {"content": "The Ebro.", "refusal": None}, "finish_reason": "stop"}
        ],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }
    result = parse(answer, mappings.OPENAI_CHAT)
    assert (result.text, result.model, result.finish_reason) == ("The Ebro.", "gpt-6-luna", FinishReason.STOP)
    assert result.usage == Usage(input_tokens=11, cached_input_tokens=2, output_tokens=4, reasoning_tokens=1)


def test_openais_stream_can_be_described() -> None:
    chunks, is_complete = read_stream(
        mappings.OPENAI_CHAT,
        sse(
            {"model": "gpt", "choices": [{"delta": {"role": "assistant", "content": ""}}], "usage": None},
            {"model": "gpt", "choices": [{"delta": {"content": "The Ebro."}, "finish_reason": None}]},
            {"model": "gpt", "choices": [{"delta": {}, "finish_reason": "stop"}]},
            {"model": "gpt", "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 4}},
            "[DONE]",
        ),
    )
    assert "".join(chunk.text for chunk in chunks) == "The Ebro."
    assert [chunk.model for chunk in chunks if chunk.model] == ["gpt"]
    assert chunks[-1].usage == Usage(input_tokens=11, output_tokens=4)
    assert is_complete


def test_anthropic_can_be_described() -> None:
    assert sent(mappings.ANTHROPIC_MESSAGES, ask("Name a river.", system="Be brief.")) == {
        "model": "acme-large",
        "max_tokens": 1024,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Name a river."}],
    }
    answer = {
        "content": [
            {"type": "thinking", "thinking": "Rivers…"},
            {"type": "text", "text": "The "},
            {"type": "text", "text": "Ebro."},
        ],
        "model": "claude-haiku-5-5",
        "stop_reason": "end_turn",
        "usage": {
            "input_tokens": 14,
            "cache_creation_input_tokens": 3,
            "cache_read_input_tokens": 5,
            "output_tokens": 6,
        },
    }
    result = parse(answer, mappings.ANTHROPIC_MESSAGES)
    assert result.text == "The Ebro."
    assert result.usage == Usage(
        input_tokens=22, cached_input_tokens=5, cache_write_tokens=3, output_tokens=6
    )


def test_anthropics_stream_can_be_described() -> None:
    chunks, is_complete = read_stream(
        mappings.ANTHROPIC_MESSAGES,
        "event: message_start\n"
        + sse({"type": "message_start", "message": {"model": "claude", "usage": {"input_tokens": 14}}})
        + "event: ping\n"
        + sse({"type": "ping"})
        + "event: content_block_delta\n"
        + sse({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "Rivers…"}})
        + "event: content_block_delta\n"
        + sse({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "The Ebro."}})
        + "event: message_delta\n"
        + sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 6}})
        + "event: message_stop\n"
        + sse({"type": "message_stop"}),
    )
    assert chunks == [
        TextChunk(usage=Usage(input_tokens=14), model="claude"),
        TextChunk(text="The Ebro."),
        TextChunk(finish_reason=FinishReason.STOP, usage=Usage(input_tokens=14, output_tokens=6)),
    ]
    assert is_complete


def test_gemini_can_be_described() -> None:
    request = ask("Hi", "Hello!", "Name a river.", system="Be brief.", max_tokens=200)
    assert sent(mappings.GEMINI_GENERATE, request) == {
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [{"text": "Hello!"}]},
            {"role": "user", "parts": [{"text": "Name a river."}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"maxOutputTokens": 200},
    }
    assert "systemInstruction" not in sent(mappings.GEMINI_GENERATE, ask("Hi"))
    answer = {
        "candidates": [
            {
                "content": {"parts": [{"text": "Rivers…", "thought": True}, {"text": "The Ebro."}]},
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 4, "thoughtsTokenCount": 21},
        "modelVersion": "gemini-3.8-flash",
    }
    result = parse(answer, mappings.GEMINI_GENERATE)
    assert (result.text, result.finish_reason) == ("The Ebro.", FinishReason.STOP)
    assert result.usage == Usage(input_tokens=5, output_tokens=25, reasoning_tokens=21)
    chunks, is_complete = read_stream(mappings.GEMINI_GENERATE, sse(answer).replace("\n", "\r\n"))
    assert [chunk.text for chunk in chunks] == ["The Ebro."]
    assert is_complete


def test_ollamas_lines_can_be_described() -> None:
    raw = mappings.OLLAMA_CHAT
    assert sent(raw, ask("Hi"), stream=True)["stream"] is True
    request = ADAPTER.build_text_request(make_spec(raw, api_key="none"), ask("Hi"), stream=False)
    assert "none" not in str(request.headers.raw)
    lines = [
        {"message": {"role": "assistant", "content": "The "}, "done": False},
        {"message": {"content": "Ebro."}, "done": False},
        {
            "message": {"content": ""},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 9,
            "eval_count": 4,
        },
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    chunks, is_complete = read_stream(raw, body)
    assert "".join(chunk.text for chunk in chunks) == "The Ebro."
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert chunks[-1].usage == Usage(input_tokens=9, output_tokens=4)
    assert is_complete
