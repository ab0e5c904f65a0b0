from __future__ import annotations

from typing import Any

import pytest

from apps.core.errors import (
    ContentRefused,
    ProviderError,
    ProviderKeyRefused,
    ProviderModelGone,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from apps.providers.types import (
    FinishReason,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    ResponseFormat,
    TextPart,
    TextRequest,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
)
from tests.providers.recordings import (
    body_of,
    built,
    event,
    gist_of_chunks,
    played,
    read,
    recorded,
    recorded_events,
)

ASK = (Message.user("Name a river."),)


def sent(profile: dict[str, Any] | None = None, *, stream: bool = False, **asked: Any) -> dict[str, Any]:
    request = TextRequest(**({"messages": ASK} | asked))
    return body_of(built("anthropic", request, stream=stream, profile=profile or {}))


def said(role: Any, *parts: Part) -> Message:
    return Message(role, parts)


# --- the request --------------------------------------------------------------------------------------------


def test_key_and_version_have_headers_of_their_own() -> None:
    headers = built("anthropic", TextRequest(messages=ASK), api_key="sk-ant-12345").headers
    assert headers["x-api-key"] == "sk-ant-12345"
    assert headers["anthropic-version"] == "2023-06-01"
    newer = built("anthropic", TextRequest(messages=ASK), profile={"anthropic_version": "2026-10-21"})
    assert newer.headers["anthropic-version"] == "2026-10-21"


def test_newer_version_is_sent_no_sampling() -> None:
    newer = {"anthropic_version": "2026-10-21"}
    assert sent(temperature=0.1, top_p=0.2)["temperature"] == 0.1
    assert not {"temperature", "top_p"} & set(sent(newer, temperature=0.1, top_p=0.2))


def test_limit_is_always_sent_and_the_callers_wins() -> None:
    assert sent()["max_tokens"] == 4096
    assert sent({"max_output_tokens": 64000})["max_tokens"] == 64000
    assert sent({"max_output_tokens": 64000}, max_tokens=7)["max_tokens"] == 7
    assert sent(max_tokens=0)["max_tokens"] == 0


def test_system_prompt_is_no_message() -> None:
    body = sent(system="Be brief.")
    assert body["system"] == "Be brief."
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert "system" not in sent(system="")


def test_neighbours_of_one_role_become_one_message() -> None:
    body = sent(
        messages=(
            Message.user("One."),
            Message.user("Two."),
            said("assistant", TextPart("Three.")),
            said("tool", ToolResultPart(tool_call_id="t", content="4")),
            Message.user("Five."),
        )
    )
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]},
        {"role": "assistant", "content": "Three."},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "4"},
                {"type": "text", "text": "Five."},
            ],
        },
    ]


def test_tool_results_come_before_words_in_their_own_order() -> None:
    turn = said(
        "user",
        TextPart("Go on."),
        ToolResultPart(tool_call_id="b", content="1"),
        ToolResultPart(tool_call_id="a", content="2", is_error=True),
    )
    [message] = sent(messages=(turn,))["messages"]
    assert [block.get("tool_use_id") for block in message["content"]] == ["b", "a", None]
    assert [block.get("is_error") for block in message["content"]] == [None, True, None]


def test_empty_words_are_not_sent() -> None:
    body = sent(messages=(Message.user("Hi."), said("assistant", TextPart("")), Message.user("Hello?")))
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hi."}, {"type": "text", "text": "Hello?"}]}
    ]


def test_thinking_travels_back_as_it_came() -> None:
    result = read("anthropic", recorded("anthropic", "thinking.json"))
    [message] = sent(messages=(Message("assistant", result.parts),))["messages"]
    assert message["content"] == [
        {
            "type": "thinking",
            "thinking": "Rivers in Spain: Ebro.",
            "signature": "EuYBCkQYAiJA0gO6QJr0",
        },
        {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"},
        {"type": "text", "text": "The Ebro."},
    ]


def test_thinking_nobody_signed_stays_behind() -> None:
    [message] = sent(messages=(said("assistant", ReasoningPart(text="Hm."), TextPart("Hi.")),))["messages"]
    assert message["content"] == "Hi."


def test_tool_call_becomes_an_object_whatever_its_text() -> None:
    calls = [
        ToolCallPart(id=f"c{i}", name="f", arguments=text) for i, text in enumerate(['{"a":1}', "", '{"a'])
    ]
    [message] = sent(messages=(said("assistant", *calls),))["messages"]
    assert [block["input"] for block in message["content"]] == [{"a": 1}, {}, {"invalid_json": '{"a'}]


def test_foreign_call_ids_are_made_to_fit_on_both_sides() -> None:
    call = ToolCallPart(id="functions.f:0", name="f", arguments="{}")
    result = ToolResultPart(tool_call_id="functions.f:0", content="1")
    asked, answered = sent(messages=(said("assistant", call), said("tool", result)))["messages"]
    assert asked["content"][0]["id"] == answered["content"][0]["tool_use_id"] == "functions_f_0"


def test_pictures_become_sources() -> None:
    inline, fetched = (
        ImagePart(data="AAAA", media_type="image/png"),
        ImagePart(url="https://example.com/a.png"),
    )
    [message] = sent(messages=(said("user", inline, fetched),))["messages"]
    assert [block["source"] for block in message["content"]] == [
        {"type": "base64", "media_type": "image/png", "data": "AAAA"},
        {"type": "url", "url": "https://example.com/a.png"},
    ]


def test_tool_without_parameters_gets_the_schema_it_needs() -> None:
    assert sent(tools=(Tool(name="f", strict=True),))["tools"] == [
        {"name": "f", "input_schema": {"type": "object", "properties": {}}}
    ]
    [strict] = sent({"structured_output": True}, tools=(Tool(name="f", strict=True),))["tools"]
    assert strict["strict"] is True


@pytest.mark.parametrize(
    ("choice", "fields"),
    [
        (ToolChoice(), {"type": "auto"}),
        (ToolChoice(parallel=True), {"type": "auto", "disable_parallel_tool_use": False}),
        (ToolChoice(mode="required", parallel=False), {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice(mode="tool", name="f"), {"type": "tool", "name": "f"}),
        (ToolChoice(mode="none", parallel=False), {"type": "none"}),
    ],
)
def test_tool_choice_is_translated(choice: ToolChoice, fields: dict[str, Any]) -> None:
    assert sent(tools=(Tool(name="f"),), tool_choice=choice)["tool_choice"] == fields
    assert "tool_choice" not in sent(tool_choice=choice)


def test_schema_is_sent_only_where_it_works() -> None:
    able = {"structured_output": True}
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    wanted = ResponseFormat(json_schema=schema)
    assert "output_config" not in sent(response_format=wanted)
    assert sent(able, response_format=wanted)["output_config"] == {
        "format": {"type": "json_schema", "schema": schema | {"additionalProperties": False}}
    }
    assert "output_config" not in sent(able, response_format=ResponseFormat())
    assert "output_config" not in sent(able, response_format=ResponseFormat(json_schema={"type": "object"}))
    strict = ResponseFormat(json_schema={"type": "object"}, strict=True)
    assert sent(able, response_format=strict)["output_config"]["format"]["schema"] == {"type": "object"}


def test_effort_is_sent_only_where_it_works() -> None:
    able = {"effort": True}
    assert set(sent(reasoning_effort="high")) == {"model", "max_tokens", "messages"}
    assert sent(able, reasoning_effort="high")["output_config"] == {"effort": "high"}
    assert sent(able, reasoning_effort="minimal")["output_config"] == {"effort": "low"}
    off = sent(able, reasoning_effort="none")
    assert off["thinking"] == {"type": "disabled"}
    assert "output_config" not in off


def test_stop_user_and_stream_go_by_their_names() -> None:
    body = sent(stop=("END",), user="customer-1", stream=True)
    assert body["stop_sequences"] == ["END"]
    assert body["metadata"] == {"user_id": "customer-1"}
    assert body["stream"] is True


def test_hints_without_a_place_are_left_out() -> None:
    body = sent(seed=1, presence_penalty=0.5, frequency_penalty=0.5)
    assert set(body) == {"model", "max_tokens", "messages"}


# --- whole answers ------------------------------------------------------------------------------------------


def test_plain_answer_is_read_in_full() -> None:
    result = read("anthropic", recorded("anthropic", "plain.json"))
    assert result.text == "The Ebro — 930 km."
    assert result.finish_reason is FinishReason.STOP
    assert result.stop_sequence == "of"
    assert result.provider_request_id == "msg_01A"
    # 14 fresh, 20 written and 100 read from the cache.
    assert result.usage == Usage(
        input_tokens=134, cached_input_tokens=100, cache_write_tokens=20, output_tokens=6
    )


def test_missing_and_null_counts_are_zeros() -> None:
    body = {"content": [], "usage": {"input_tokens": 3, "cache_read_input_tokens": None}}
    assert read("anthropic", body).usage == Usage(input_tokens=3)
    assert read("anthropic", {"content": []}).usage is None


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("pause_turn", FinishReason.UNKNOWN),
        (None, FinishReason.UNKNOWN),
    ],
)
def test_finish_reason_is_translated(word: str | None, finish: FinishReason) -> None:
    assert read("anthropic", {"content": [], "stop_reason": word}).finish_reason is finish


def test_refusal_names_its_category_and_explains_itself() -> None:
    with pytest.raises(ContentRefused, match="could enable cyber harm") as caught:
        read("anthropic", recorded("anthropic", "refusal.json"))
    assert caught.value.details["reason"] == "cyber"
    assert caught.value.usage == Usage(input_tokens=90, output_tokens=11)


def test_refusal_without_details_is_one_still() -> None:
    with pytest.raises(ContentRefused) as caught:
        read("anthropic", {"content": [], "stop_reason": "refusal", "stop_details": None})
    assert caught.value.details["reason"] == "refusal"


def test_unknown_blocks_are_passed_over_even_when_they_misuse_our_names() -> None:
    result = read("anthropic", recorded("anthropic", "strangers.json"))
    assert result.parts == (TextPart("The Ebro."),)


def test_broken_block_of_a_known_kind_is_nonsense() -> None:
    with pytest.raises(ProviderError):
        read("anthropic", {"content": [{"type": "text", "text": 5}]})


# --- streams ------------------------------------------------------------------------------------------------


def test_usage_is_known_from_the_first_event_on() -> None:
    [first, *_] = played("anthropic", recorded_events("anthropic", "plain.sse"))
    assert first.model == "claude-haiku-5-5"
    assert first.usage == Usage(
        input_tokens=134, cached_input_tokens=100, cache_write_tokens=20, output_tokens=88
    )


def test_last_figure_of_each_count_wins() -> None:
    chunks = played("anthropic", recorded_events("anthropic", "strangers.sse"))
    counts = [chunk.usage for chunk in chunks if chunk.usage]
    assert [(usage.input_tokens, usage.output_tokens) for usage in counts] == [
        (2225, 3),
        (2225, 4),
        (9447, 30),
    ]


def test_unknown_events_blocks_and_deltas_are_passed_over() -> None:
    gist = gist_of_chunks(played("anthropic", recorded_events("anthropic", "strangers.sse")))
    assert (gist["text"], gist["calls"]) == ("The Ebro.", [])


def test_broken_event_of_a_known_kind_is_nonsense() -> None:
    delta = {"type": "text_delta", "text": 5}
    with pytest.raises(ProviderError):
        played("anthropic", [event({"type": "content_block_delta", "index": 0, "delta": delta})])


def test_tool_calls_count_from_zero_whatever_their_blocks() -> None:
    chunks = played("anthropic", recorded_events("anthropic", "tools.sse"))
    first = {call.index: (call.id, call.name) for chunk in chunks for call in chunk.tool_calls if call.id}
    assert first == {0: ("toolu_01", "get_weather"), 1: ("toolu_02", "get_time")}


def test_tool_input_that_comes_at_once_is_taken() -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    events = [
        event({"type": "content_block_start", "index": 0, "content_block": block}),
        event({"type": "content_block_stop", "index": 0}),
    ]
    assert gist_of_chunks(played("anthropic", events))["calls"] == [("t", "f", {"a": 1}, None)]


def test_call_cut_off_by_the_limit_keeps_its_broken_arguments() -> None:
    chunks = played("anthropic", recorded_events("anthropic", "cut_tool.sse"))
    assert "".join(call.arguments for chunk in chunks for call in chunk.tool_calls) == '{"path": "a.t'
    assert chunks[-1].finish_reason is FinishReason.LENGTH


def test_ping_says_nothing() -> None:
    assert played("anthropic", [event({"type": "ping"}, "ping")]) == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("invalid_request_error", ProviderRejected),
        ("authentication_error", ProviderKeyRefused),
        ("billing_error", ProviderQuotaExhausted),
        ("permission_error", ProviderKeyRefused),
        ("not_found_error", ProviderModelGone),
        ("request_too_large", ProviderRejected),
        ("rate_limit_error", ProviderRateLimited),
        ("api_error", ProviderError),
        ("timeout_error", ProviderTimeout),
        ("overloaded_error", ProviderError),
        ("novelty_error", ProviderError),
    ],
)
def test_error_in_mid_stream_is_known_by_its_type(kind: str, expected: type[ProviderError]) -> None:
    failure = {"type": "error", "error": {"type": kind, "message": "Sorry."}}
    with pytest.raises(expected) as caught:
        played("anthropic", [event(failure, "error")])
    assert type(caught.value) is expected


def test_error_that_comes_as_a_200_is_an_error() -> None:
    failure = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(ProviderError) as caught:
        read("anthropic", failure)
    assert caught.value.status == 529
