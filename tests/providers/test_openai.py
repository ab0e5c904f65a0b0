from __future__ import annotations

from typing import Any

import pytest

from apps.core.errors import (
    ContentRefused,
    InvalidRequest,
    ProviderError,
    ProviderKeyRefused,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
)
from apps.providers.registry import text_adapter
from apps.providers.types import (
    FinishReason,
    ImagePart,
    Message,
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
    spec_for,
)

ASK = (Message.user("Name a river."),)


def sent(profile: dict[str, Any] | None = None, *, stream: bool = False, **asked: Any) -> dict[str, Any]:
    request = TextRequest(**({"messages": ASK} | asked))
    return body_of(built("openai", request, stream=stream, profile=profile or {}))


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> Any:
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} | fields)


def answer(message: dict[str, Any], finish: str | None = "stop") -> dict[str, Any]:
    return {"id": "chatcmpl-1", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}


DONE = event("[DONE]")
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}


# --- the request --------------------------------------------------------------------------------------------


def test_key_is_a_bearer_token() -> None:
    request = built("openai", TextRequest(messages=ASK), api_key="sk-abc-12345")
    assert request.headers["authorization"] == "Bearer sk-abc-12345"
    assert request.url == "https://api.openai.com/v1/chat/completions"


def test_limit_goes_by_the_name_the_server_knows() -> None:
    assert sent(max_tokens=9)["max_completion_tokens"] == 9
    older = sent({"max_tokens_field": "max_tokens"}, max_tokens=9)
    assert older["max_tokens"] == 9
    assert "max_completion_tokens" not in older


def test_system_prompt_comes_first_under_the_role_the_model_wants() -> None:
    assert sent(system="Be brief.")["messages"][0] == {"role": "system", "content": "Be brief."}
    told = sent({"system_role": "developer"}, system="Be brief.")["messages"]
    assert [message["role"] for message in told] == ["developer", "user"]


def test_stream_always_asks_for_its_usage() -> None:
    assert "stream" not in sent()
    assert sent(stream=True)["stream"] is True
    options = {"include_obfuscation": False, "include_usage": False}
    asked = sent(stream=True, extra={"stream_options": options})
    assert asked["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_sampling_is_sent_as_the_caller_set_it() -> None:
    body = sent(temperature=0, top_p=0.5, presence_penalty=1, frequency_penalty=-1, seed=0, stop=("a", "b"))
    assert body["temperature"] == 0
    assert body["top_p"] == 0.5
    assert body["presence_penalty"] == 1
    assert body["frequency_penalty"] == -1
    assert body["seed"] == 0
    assert body["stop"] == ["a", "b"]


def test_penalties_are_sampling_too() -> None:
    body = sent({"sampling": False}, presence_penalty=1.0, frequency_penalty=1.0, seed=3)
    assert set(body) == {"model", "messages", "seed"}


def test_end_user_goes_by_the_name_the_server_knows() -> None:
    assert sent(user="customer-1")["safety_identifier"] == "customer-1"
    assert sent({"user_field": "user"}, user="customer-1")["user"] == "customer-1"


def test_long_end_user_id_is_shortened_to_one_of_its_own() -> None:
    first, second = (sent(user="u" * 80 + tail)["safety_identifier"] for tail in "ab")
    assert len(first) <= 64
    assert first != second
    assert first == sent(user="u" * 80 + "a")["safety_identifier"]


def test_pictures_become_image_urls() -> None:
    inline = ImagePart(data="AAAA", media_type="image/webp", detail="high")
    fetched = ImagePart(url="https://example.com/a.png")
    [message] = sent(messages=(Message("user", (TextPart("See:"), inline, fetched)),))["messages"]
    assert message["content"] == [
        {"type": "text", "text": "See:"},
        {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA", "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]


def test_tool_results_are_messages_of_their_own_before_what_the_user_says() -> None:
    turn = Message(
        "user", (TextPart("Go on."), ToolResultPart(tool_call_id="call_1", content="10:00", name="get_time"))
    )
    assert sent(messages=(turn,))["messages"] == [
        {"role": "tool", "tool_call_id": "call_1", "content": "10:00"},
        {"role": "user", "content": [{"type": "text", "text": "Go on."}]},
    ]


def test_assistant_turn_keeps_its_calls_and_drops_its_reasoning() -> None:
    parts = (ReasoningPart(text="Hm.", signature="s"), ToolCallPart(id="c", name="f", arguments='{"a": '))
    [message] = sent(messages=(Message("assistant", parts),))["messages"]
    assert message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}],
    }


def test_reasoning_cannot_be_a_users() -> None:
    with pytest.raises(InvalidRequest):
        sent(messages=(Message("user", (ReasoningPart(text="Hm."), TextPart("Hi."))),))


def test_tool_choice_names_its_tool_and_needs_tools() -> None:
    choice = ToolChoice(mode="tool", name="look_up", parallel=False)
    body = sent(tools=(Tool(name="look_up"),), tool_choice=choice)
    assert body["tool_choice"] == {"type": "function", "function": {"name": "look_up"}}
    assert body["parallel_tool_calls"] is False
    assert set(sent(tool_choice=choice)) == {"model", "messages"}
    assert sent(tools=(Tool(name="a"),), tool_choice=ToolChoice(mode="required"))["tool_choice"] == "required"


def test_tools_keep_description_schema_and_strictness() -> None:
    tool = Tool(name="f", description="Does f.", parameters={"type": "object"}, strict=True)
    full, bare = sent(tools=(tool, Tool(name="g")))["tools"]
    assert full == {
        "type": "function",
        "function": {
            "name": "f",
            "description": "Does f.",
            "parameters": {"type": "object"},
            "strict": True,
        },
    }
    assert bare == {"type": "function", "function": {"name": "g"}}


def test_json_is_asked_for_in_the_form_wanted() -> None:
    assert sent(response_format=ResponseFormat())["response_format"] == {"type": "json_object"}
    wanted = ResponseFormat(json_schema={"type": "object"}, name="river", strict=True)
    assert sent(response_format=wanted)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "river", "schema": {"type": "object"}, "strict": True},
    }
    assert "response_format" not in sent({"structured_output": False}, response_format=wanted)


def test_reasoning_effort_is_passed_on() -> None:
    assert sent(reasoning_effort="xhigh")["reasoning_effort"] == "xhigh"


# --- whole answers ------------------------------------------------------------------------------------------


def test_plain_answer_is_read_in_full() -> None:
    result = read("openai", recorded("openai", "plain.json"))
    assert result.text == "The Ebro — 930 km of it."
    assert result.finish_reason is FinishReason.STOP
    assert result.model == "gpt-6-luna-2026-09-01"
    assert result.provider_request_id == "chatcmpl-a1"
    assert result.usage == Usage(
        input_tokens=2011,
        cached_input_tokens=1920,
        cache_write_tokens=64,
        output_tokens=24,
        reasoning_tokens=16,
    )


def test_refusal_gives_the_models_own_words() -> None:
    with pytest.raises(ContentRefused, match="I can't help with that") as caught:
        read("openai", recorded("openai", "refusal.json"))
    assert caught.value.details["reason"] == "refusal"


def test_answer_filtered_away_is_a_refusal_and_a_cut_one_is_not() -> None:
    with pytest.raises(ContentRefused) as caught:
        read("openai", answer({"content": None}, "content_filter"))
    assert caught.value.details["reason"] == "content_filter"
    cut = read("openai", recorded("openai", "cut.json"))
    assert (cut.text, cut.finish_reason) == ("First you take", FinishReason.CONTENT_FILTER)


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("novelty", FinishReason.UNKNOWN),
        (None, FinishReason.UNKNOWN),
    ],
)
def test_finish_reason_is_translated(word: str | None, finish: FinishReason) -> None:
    assert read("openai", answer({"content": "Hi."}, word)).finish_reason is finish
    ends = [chunk({"content": "Hi."}), chunk({}, word), DONE]
    assert gist_of_chunks(played("openai", ends))["finish"] is finish


def test_forced_tool_call_ends_in_tool_calls_though_openai_says_stop() -> None:
    assert read("openai", answer({"tool_calls": [CALL]}, "stop")).finish_reason is FinishReason.TOOL_CALLS


def test_missing_counts_and_details_are_zeros() -> None:
    body = answer({"content": "Hi."})
    assert read("openai", body).usage is None
    usage = read("openai", body | {"usage": {"prompt_tokens": 3, "completion_tokens_details": None}}).usage
    assert usage == Usage(input_tokens=3)


def test_call_without_an_id_is_given_one() -> None:
    call = {"function": {"name": "look_up", "arguments": None}}
    assert read("openai", answer({"tool_calls": [CALL, call]})).parts[1] == ToolCallPart(
        id="call_1", name="look_up", arguments=""
    )


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_of_compatible_servers_is_kept_apart(field: str) -> None:
    assert read("openai", answer({"content": "Hi.", field: "Hm."})).parts == (
        ReasoningPart(text="Hm."),
        TextPart("Hi."),
    )


def test_error_that_comes_as_a_200_is_an_error() -> None:
    with pytest.raises(ProviderQuotaExhausted):
        read("openai", {"error": {"message": "No money.", "code": "insufficient_quota"}})


# --- streams ------------------------------------------------------------------------------------------------


def test_model_is_told_once_and_first() -> None:
    chunks = played("openai", recorded_events("openai", "plain.sse"))
    assert [piece.model for piece in chunks if piece.model] == ["gpt-6-luna-2026-09-01"]
    assert chunks[0].model


def test_stream_without_a_finish_reason_ends_unknown() -> None:
    [*_, last] = played("openai", [chunk({"content": "Hi."}), DONE])
    assert last.finish_reason is FinishReason.UNKNOWN


def test_finish_reason_is_given_once() -> None:
    chunks = played("openai", recorded_events("openai", "plain.sse"))
    assert [piece.finish_reason for piece in chunks if piece.finish_reason] == [FinishReason.STOP]


def test_tool_call_tells_id_and_name_with_its_first_piece_only() -> None:
    chunks = played("openai", recorded_events("openai", "tools.sse"))
    told = [(call.index, call.id, call.name) for piece in chunks for call in piece.tool_calls]
    assert told[:2] == [(0, "call_p1", "get_weather"), (0, None, None)]
    assert (1, "call_p2", "get_time") in told


def test_name_said_again_is_not_a_second_piece_of_it() -> None:
    again = {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}]}
    chunks = played("openai", [chunk(again), chunk(again)])
    assert [call.name for piece in chunks for call in piece.tool_calls] == ["f", None]
    assert [call.id for piece in chunks for call in piece.tool_calls] == ["call_1", None]


def test_calls_without_an_index_are_told_apart_by_their_names() -> None:
    def piece(**function: Any) -> Any:
        return chunk({"tool_calls": [{"function": function}]})

    events = [
        piece(name="a", arguments='{"x"'),
        piece(arguments=":1}"),
        piece(name="b", arguments=None),
        DONE,
    ]
    gist = gist_of_chunks(played("openai", events))
    assert gist["calls"] == [("call_0", "a", {"x": 1}, None), ("call_1", "b", None, None)]
    assert gist["finish"] is FinishReason.TOOL_CALLS


def test_other_choices_are_left_alone() -> None:
    second = event({"choices": [{"index": 1, "delta": {"content": "Other."}, "finish_reason": "stop"}]})
    assert played("openai", [second]) == []


def test_refusal_waits_for_its_usage() -> None:
    *before, done = recorded_events("openai", "refusal.sse")
    parser = text_adapter("openai").text_stream_parser(spec_for("openai"))
    assert not any(chunk.finish_reason for each in before if (chunk := parser.feed(each)))
    with pytest.raises(ContentRefused, match="I can't help with that") as caught:
        parser.feed(done)
    assert caught.value.usage == Usage(input_tokens=40, output_tokens=9)


def test_refusal_after_words_cuts_the_answer_off() -> None:
    events = [chunk({"content": "First"}), chunk({"refusal": "No."}), chunk({}, "stop"), DONE]
    gist = gist_of_chunks(played("openai", events))
    assert (gist["text"], gist["finish"]) == ("First", FinishReason.CONTENT_FILTER)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "server_error", "message": "Oops."}, ProviderError),
        ({"type": "insufficient_quota", "code": None}, ProviderQuotaExhausted),
        ({"code": "rate_limit_exceeded"}, ProviderRateLimited),
        ({"type": "tokens"}, ProviderRateLimited),
        ({"code": "invalid_api_key"}, ProviderKeyRefused),
        ({"type": "invalid_request_error", "message": "Too long."}, ProviderRejected),
        ({"code": "content_filter", "message": "Filtered."}, ContentRefused),
        ({"code": 400, "message": "Too long."}, ProviderRejected),
        ("Out of memory.", ProviderError),
    ],
)
def test_error_in_mid_stream_is_known_by_its_words(error: Any, kind: type[ProviderError]) -> None:
    with pytest.raises(kind) as caught:
        played("openai", [event({"error": error})])
    assert type(caught.value) is kind


def test_event_called_error_is_one_without_the_envelope() -> None:
    with pytest.raises(ProviderRateLimited):
        played("openai", [event({"message": "Slow down.", "code": "rate_limit_exceeded"}, "error")])
