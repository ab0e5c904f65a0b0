from __future__ import annotations

from typing import Any

import pytest

from apps.core.errors import (
    ContentRefused,
    InvalidRequest,
    ProviderError,
    ProviderKeyRefused,
    ProviderRateLimited,
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


def sent(profile: dict[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
    return body_of(built("gemini", TextRequest(**({"messages": ASK} | asked)), profile=profile or {}))


def said(role: Any, *parts: Part) -> Message:
    return Message(role, parts)


def path_of(model: str, *, stream: bool = False) -> bytes:
    return built("gemini", TextRequest(messages=ASK), stream=stream, model=model).url.raw_path


def candidate(*parts: dict[str, Any], finish: str | None = "STOP", **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    return {"candidates": [made | ({"finishReason": finish} if finish else {}) | fields]}


# --- the request --------------------------------------------------------------------------------------------


def test_key_has_a_header_and_the_model_a_place_in_the_path() -> None:
    request = built("gemini", TextRequest(messages=ASK), api_key="AIza-12345")
    assert request.headers["x-goog-api-key"] == "AIza-12345"
    assert path_of("gemini-3.8-flash") == b"/v1beta/models/gemini-3.8-flash:generateContent"
    streamed = path_of("gemini-3.8-flash", stream=True)
    assert streamed == b"/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse"


def test_model_may_come_with_googles_own_prefix() -> None:
    assert path_of("models/gemini-3.8-flash") == path_of("gemini-3.8-flash")


@pytest.mark.parametrize("model", ["../../x", "x/..", "..", "a?alt=media", "a#b", "a%2F..%2Fb", "ü"])
def test_model_name_cannot_leave_its_place_in_the_path(model: str) -> None:
    path = path_of(model)
    assert path.startswith(b"/v1beta/models/")
    assert path.endswith(b":generateContent")
    assert path.count(b"/") == 3
    assert not set(path) & set(b"?#")


def test_roles_are_googles_and_neighbours_become_one_content() -> None:
    body = sent(
        system="Be brief.",
        messages=(
            Message.user("One."),
            Message.user("Two."),
            said("assistant", TextPart("Three.")),
            said("assistant", TextPart("")),
        ),
    )
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "One."}, {"text": "Two."}]},
        {"role": "model", "parts": [{"text": "Three."}]},
    ]


def test_options_go_into_generation_config() -> None:
    body = sent(
        max_tokens=9,
        temperature=0,
        top_p=0.5,
        stop=("END",),
        seed=0,
        presence_penalty=0.1,
        frequency_penalty=0.2,
    )
    assert body["generationConfig"] == {
        "maxOutputTokens": 9,
        "temperature": 0,
        "topP": 0.5,
        "stopSequences": ["END"],
        "seed": 0,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
    }


def test_callers_generation_config_is_merged_over_ours() -> None:
    extra = {"generationConfig": {"topK": 3, "maxOutputTokens": 5}, "safetySettings": []}
    body = sent(max_tokens=9, seed=1, extra=extra)
    assert body["generationConfig"] == {"maxOutputTokens": 5, "seed": 1, "topK": 3}
    assert body["safetySettings"] == []


@pytest.mark.parametrize(
    ("effort", "level"), [("none", "MINIMAL"), ("low", "LOW"), ("medium", "MEDIUM"), ("max", "HIGH")]
)
def test_effort_becomes_a_thinking_level(effort: str, level: str) -> None:
    assert sent(reasoning_effort=effort)["generationConfig"] == {"thinkingConfig": {"thinkingLevel": level}}


def test_json_is_asked_for_in_the_form_wanted() -> None:
    assert sent(response_format=ResponseFormat())["generationConfig"] == {
        "responseMimeType": "application/json"
    }
    wanted = ResponseFormat(json_schema={"type": "object"})
    assert sent(response_format=wanted)["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
    }
    assert "generationConfig" not in sent({"structured_output": False}, response_format=wanted)


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (ToolChoice(), {"mode": "AUTO"}),
        (ToolChoice(mode="none"), {"mode": "NONE"}),
        (ToolChoice(mode="required"), {"mode": "ANY"}),
        (ToolChoice(mode="tool", name="f"), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_tool_choice_is_translated(choice: ToolChoice, config: dict[str, Any]) -> None:
    body = sent(tools=(Tool(name="f"),), tool_choice=choice)
    assert body["toolConfig"] == {"functionCallingConfig": config}
    assert "toolConfig" not in sent(tool_choice=choice)


def test_tools_are_one_list_of_declarations() -> None:
    tools = (Tool(name="f", description="Does f.", parameters={"type": "object"}), Tool(name="g"))
    assert sent(tools=tools)["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "description": "Does f.", "parametersJsonSchema": {"type": "object"}},
                {"name": "g"},
            ]
        }
    ]


def test_pictures_are_inline_data_or_files() -> None:
    parts = (
        ImagePart(data="AAAA", media_type="image/png"),
        ImagePart(url="https://example.com/a/b.jpg?x=1"),
        ImagePart(url="https://example.com/raw", media_type="image/webp"),
        ImagePart(url="https://example.com/raw"),
    )
    [content] = sent(messages=(said("user", *parts),))["contents"]
    assert content["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"fileData": {"fileUri": "https://example.com/a/b.jpg?x=1", "mimeType": "image/jpeg"}},
        {"fileData": {"fileUri": "https://example.com/raw", "mimeType": "image/webp"}},
        {"fileData": {"fileUri": "https://example.com/raw"}},
    ]


def call(call_id: str, name: str, **fields: Any) -> ToolCallPart:
    return ToolCallPart(id=call_id, name=name, arguments='{"a":1}', **fields)


def test_tool_result_finds_the_name_of_the_latest_call_with_its_id() -> None:
    messages = (
        said("assistant", call("call_0", "old")),
        said("tool", ToolResultPart(tool_call_id="call_0", content="1")),
        said("assistant", call("call_0", "new")),
        said("tool", ToolResultPart(tool_call_id="call_0", content="2")),
    )
    contents = sent(messages=messages)["contents"]
    assert contents[1]["parts"] == [
        {"functionResponse": {"id": "call_0", "name": "old", "response": {"result": "1"}}}
    ]
    assert contents[3]["parts"][0]["functionResponse"]["name"] == "new"


def test_tool_result_of_nobody_is_the_callers_mistake() -> None:
    with pytest.raises(InvalidRequest, match="call_9"):
        sent(messages=(said("tool", ToolResultPart(tool_call_id="call_9", content="1")),))
    named = said("tool", ToolResultPart(tool_call_id="call_9", content="1", name="f"))
    assert sent(messages=(named,))["contents"][0]["parts"][0]["functionResponse"]["name"] == "f"


@pytest.mark.parametrize(
    ("content", "is_error", "response"),
    [
        ('{"t": 3}', False, {"t": 3}),
        ("[1]", False, {"result": "[1]"}),
        ("", False, {"result": ""}),
        ("{broken", False, {"result": "{broken"}),
        ('{"t": 3}', True, {"error": '{"t": 3}'}),
    ],
)
def test_tool_result_is_always_an_object(content: str, is_error: bool, response: dict[str, Any]) -> None:
    result = ToolResultPart(tool_call_id="c", content=content, name="f", is_error=is_error)
    [turn] = sent(messages=(said("tool", result),))["contents"]
    assert turn["parts"][0]["functionResponse"]["response"] == response


def test_call_goes_back_with_its_signature() -> None:
    result = read("gemini", recorded("gemini", "tools.json"))
    [turn] = sent(messages=(Message("assistant", result.parts),))["contents"]
    assert [part.get("thoughtSignature") for part in turn["parts"]] == ["CvcBAdHtim8=", None, None]
    assert turn["parts"][0]["functionCall"]["args"] == {"city": "Zaragoza"}


def test_first_call_of_a_step_is_never_left_unsigned() -> None:
    [turn] = sent(messages=(said("assistant", call("a", "f"), call("b", "g")),))["contents"]
    assert [part.get("thoughtSignature") for part in turn["parts"]] == [
        "skip_thought_signature_validator",
        None,
    ]


def test_reasoning_stays_behind() -> None:
    parts = (ReasoningPart(text="Hm.", signature="of another maker"), TextPart("Hi."))
    [turn] = sent(messages=(said("assistant", *parts),))["contents"]
    assert turn["parts"] == [{"text": "Hi."}]


# --- whole answers ------------------------------------------------------------------------------------------


def test_plain_answer_is_read_in_full() -> None:
    result = read("gemini", recorded("gemini", "plain.json"))
    assert result.parts == (TextPart("The Ebro — 930 km."),)
    assert result.finish_reason is FinishReason.STOP
    assert result.model == "gemini-3.8-flash"
    assert result.provider_request_id == "r1aB-_x"
    # 79 in the prompt and 4 of tool results; 9 said and 21 thought.
    assert result.usage == Usage(
        input_tokens=83, cached_input_tokens=32, output_tokens=30, reasoning_tokens=21
    )


def test_thoughts_are_kept_apart_from_the_text() -> None:
    result = read("gemini", recorded("gemini", "thinking.json"))
    assert result.text == "The Ebro."
    assert result.parts[0] == ReasoningPart(text="**Rivers**\nSpain has the Ebro.")


def test_call_ids_are_googles_own_or_always_the_same() -> None:
    first, second = (read("gemini", recorded("gemini", "tools.json")).parts for _ in range(2))
    assert first == second
    ids = [part.id for part in first if isinstance(part, ToolCallPart)]
    assert ids == ["call_r1aB-_x_0", "call_r1aB-_x_1", "fc-77"]


def test_call_ids_of_two_answers_differ() -> None:
    part = {"functionCall": {"name": "f"}}
    ids = {read("gemini", candidate(part) | {"responseId": name}).parts[0].id for name in ("r1", "r2")}  # type: ignore[union-attr]
    assert len(ids) == 2
    assert read("gemini", candidate(part)).parts[0].id == "call_0"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("STOP", FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("SAFETY", FinishReason.CONTENT_FILTER),
        ("RECITATION", FinishReason.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", FinishReason.CONTENT_FILTER),
        ("OTHER", FinishReason.UNKNOWN),
        ("MALFORMED_FUNCTION_CALL", FinishReason.UNKNOWN),
        ("NOVELTY", FinishReason.UNKNOWN),
        (None, FinishReason.UNKNOWN),
    ],
)
def test_finish_reason_of_an_answer_with_text_is_translated(word: str | None, finish: FinishReason) -> None:
    assert read("gemini", candidate({"text": "Hi."}, finish=word)).finish_reason is finish


@pytest.mark.parametrize("word", ["SAFETY", "RECITATION", "SPII", "BLOCKLIST", "IMAGE_SAFETY"])
def test_answer_filtered_away_is_a_refusal(word: str) -> None:
    answer = candidate(finish=word, finishMessage="Blocked.")
    for play in (lambda: read("gemini", answer), lambda: played("gemini", [event(answer)])):
        with pytest.raises(ContentRefused, match="Blocked") as caught:
            play()
        assert caught.value.details["reason"] == word


def test_blocked_prompt_is_a_refusal_with_its_reason() -> None:
    with pytest.raises(ContentRefused) as caught:
        read("gemini", recorded("gemini", "refusal.json"))
    assert caught.value.details["reason"] == "PROHIBITED_CONTENT"
    assert caught.value.usage == Usage(input_tokens=8)


def test_block_reason_beside_an_answer_does_not_undo_it() -> None:
    answer = candidate({"text": "Hi."}) | {"promptFeedback": {"blockReason": "OTHER"}}
    assert read("gemini", answer).text == "Hi."


def test_block_after_the_first_words_cuts_the_answer_off() -> None:
    block = event({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 8}})
    gist = gist_of_chunks(played("gemini", [event(candidate({"text": "First"}, finish=None)), block]))
    assert (gist["text"], gist["finish"]) == ("First", FinishReason.CONTENT_FILTER)
    assert gist["usage"] == Usage(input_tokens=8)


def test_answer_that_was_all_thought_is_empty_and_valid() -> None:
    result = read("gemini", recorded("gemini", "all_thought.json"))
    assert result.parts == ()
    assert result.finish_reason is FinishReason.LENGTH
    assert result.usage == Usage(input_tokens=9, output_tokens=64, reasoning_tokens=64)


def test_call_gone_wrong_may_be_tried_again() -> None:
    with pytest.raises(ProviderError) as caught:
        read("gemini", candidate(finish="MALFORMED_FUNCTION_CALL"))
    assert caught.value.retryable


def test_answer_without_candidates_is_nonsense_unless_blocked() -> None:
    with pytest.raises(ProviderError):
        read("gemini", {"usageMetadata": {"promptTokenCount": 8}})


# --- streams ------------------------------------------------------------------------------------------------


def test_counts_replace_each_other_even_when_they_fall() -> None:
    chunks = played("gemini", recorded_events("gemini", "plain.sse"))
    assert [chunk.usage.input_tokens for chunk in chunks if chunk.usage] == [169, 169, 83]


def test_text_before_a_safety_stop_is_kept() -> None:
    gist = gist_of_chunks(played("gemini", recorded_events("gemini", "cut.sse")))
    assert (gist["text"], gist["finish"]) == ("First you take", FinishReason.CONTENT_FILTER)


def test_event_with_nothing_new_says_nothing() -> None:
    assert played("gemini", [event({"candidates": [{"index": 0}]}), event({"promptFeedback": {}})]) == []


def test_error_in_mid_stream_is_known_by_its_code() -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}
    failure = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [detail]}}
    with pytest.raises(ProviderRateLimited) as caught:
        played("gemini", [event(failure)])
    assert caught.value.retry_after_s == 2
    bad_key = {"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}}
    with pytest.raises(ProviderKeyRefused):
        played("gemini", [event(bad_key)])


@pytest.mark.parametrize("delay", ["soon", "-3s", "", None, 7])
def test_senseless_retry_delay_is_none(delay: Any) -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    with pytest.raises(ProviderRateLimited) as caught:
        played("gemini", [event({"error": {"code": 429, "details": [detail]}})])
    assert caught.value.retry_after_s is None
