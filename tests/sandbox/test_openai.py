from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pydantic
import pytest
from openai import OpenAI

from tests.sandbox.samples import PNG, PROMPT, SAMPLES, TRIP_SCHEMA, WEATHER_SCHEMA, conforms, error_of

PATH = "/openai/v1/chat/completions"
USER = [{"role": "user", "content": PROMPT}]
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": WEATHER_SCHEMA, "strict": True},
}


def _ask(client: OpenAI, prompt: str = PROMPT, **options: Any) -> Any:
    body: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]}
    return client.chat.completions.create(**body | options)


# --- answers ------------------------------------------------------------------------------------------------


def test_a_plain_answer_quotes_the_prompt_and_counts_its_tokens(openai_client):
    completion = _ask(openai_client)
    assert "rivers in Spain" in completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.object == "chat.completion"
    usage = completion.usage
    assert usage.prompt_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_the_same_request_gets_the_same_answer_and_a_seed_another(openai_client):
    texts = [_ask(openai_client, seed=seed).choices[0].message.content for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_the_answers_are_what_the_specification_says(http):
    sample = SAMPLES["openai"]
    assert conforms("openai", "CreateChatCompletionResponse", http.post(sample.path, json=sample.body).json())
    body = sample.stream_body | {"stream_options": {"include_usage": True}}
    for line in http.post(sample.stream_path, json=body).text.split("\n\n"):
        if line and line != "data: [DONE]":
            assert conforms(
                "openai", "CreateChatCompletionStreamResponse", json.loads(line.removeprefix("data: "))
            )
    assert conforms("openai", "ListModelsResponse", http.get("/openai/v1/models").json())
    assert conforms("openai", "ErrorResponse", http.post(sample.path, json={}).json())


def test_max_tokens_cuts_the_same_answer_short(openai_client):
    whole, cut = _ask(openai_client), _ask(openai_client, max_tokens=5)
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage.completion_tokens == 5
    assert whole.choices[0].message.content.startswith(cut.choices[0].message.content)


def test_a_stop_sequence_ends_the_answer_before_it(openai_client):
    completion = _ask(openai_client, stop=["Spain"])
    assert completion.choices[0].finish_reason == "stop"
    assert "rivers in" in completion.choices[0].message.content
    assert "Spain" not in completion.choices[0].message.content


def test_a_system_prompt_and_pictures_are_noticed(openai_client):
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    content = [{"type": "text", "text": "What is this?"}, picture, picture]
    messages = [
        {"role": "developer", "content": "Speak like a pirate."},
        {"role": "user", "content": content},
    ]
    completion = _ask(openai_client, messages=messages)
    assert "2 pictures" in completion.choices[0].message.content
    assert "Speak like a pirate" in completion.choices[0].message.content
    assert completion.usage.prompt_tokens_details.image_tokens == 170


def test_several_choices_differ(openai_client):
    completion = _ask(openai_client, n=3)
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in completion.choices}) > 1


def test_a_long_answer_can_be_asked_for(openai_client):
    assert len(_ask(openai_client, "Write 400 words on rivers.").choices[0].message.content.split()) >= 400


def test_a_reasoning_model_counts_its_reasoning_as_output(openai_client):
    completion = _ask(openai_client, model="gpt-6-luna", max_completion_tokens=40)
    reasoning = completion.usage.completion_tokens_details.reasoning_tokens
    assert 0 < reasoning < completion.usage.completion_tokens <= 40
    assert completion.choices[0].message.content
    none = _ask(openai_client, model="gpt-6-luna", reasoning_effort="none", temperature=0.2)
    assert none.usage.completion_tokens_details.reasoning_tokens == 0


def test_reasoning_can_eat_a_tiny_allowance(openai_client):
    completion = _ask(openai_client, model="gpt-6-luna", max_completion_tokens=2)
    assert completion.choices[0].message.content == ""
    assert completion.choices[0].finish_reason == "length"


def test_cached_and_written_tokens_are_inside_the_prompts(openai_client):
    usage = _ask(openai_client, model="gpt-6-luna", prompt_cache_key="k").usage
    details = usage.prompt_tokens_details
    assert details.cached_tokens > 0
    assert details.cache_write_tokens > 0
    assert details.cached_tokens + details.cache_write_tokens <= usage.prompt_tokens
    assert _ask(openai_client).usage.prompt_tokens_details.cached_tokens == 0


# --- streams ------------------------------------------------------------------------------------------------


def test_a_stream_adds_up_to_the_plain_answer(openai_client):
    chunks = list(_ask(openai_client, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == (
        _ask(openai_client).choices[0].message.content
    )
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_comes_last_and_only_when_asked_for(http, openai_client):
    chunks = list(_ask(openai_client, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage == _ask(openai_client).usage
    sample = SAMPLES["openai"]
    asked = sample.stream_body | {"stream_options": {"include_usage": True, "include_obfuscation": False}}
    for body, count in ((asked, 1), (sample.stream_body, 0)):
        text = http.post(sample.stream_path, json=body).text
        assert text.count('"usage":{') == count
        assert ('"usage":null' in text) is bool(count)
        assert ("obfuscation" in text) is not count
        assert text.endswith("data: [DONE]\n\n")


def test_the_sdks_stream_helper_builds_the_message(openai_client):
    with openai_client.chat.completions.stream(model="gpt-4o", messages=USER) as stream:
        final = stream.get_final_completion()
    assert "rivers in Spain" in final.choices[0].message.content


# --- tools --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        {"messages": [{"role": "user", "content": "Use get_weather for Madrid."}]},
    ],
    ids=["required", "named", "mentioned"],
)
def test_a_tool_is_called_with_arguments_that_fit(openai_client, options):
    choice = _ask(openai_client, tools=[WEATHER], **options).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["unit"] in ("celsius", "fahrenheit")


def test_a_tool_nobody_mentions_or_allows_is_not_called(openai_client):
    assert _ask(openai_client, tools=[WEATHER]).choices[0].message.tool_calls is None
    quiet = _ask(openai_client, "Use get_weather.", tools=[WEATHER], tool_choice="none")
    assert quiet.choices[0].finish_reason == "stop"


def test_streamed_calls_come_in_pieces_by_index(openai_client):
    clock = {
        "type": "function",
        "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}},
    }
    calls: dict[int, dict[str, str]] = {}
    for chunk in _ask(openai_client, "get_weather and get_time", tools=[WEATHER, clock], stream=True):
        for piece in chunk.choices[0].delta.tool_calls or ():
            call = calls.setdefault(piece.index, {"name": piece.function.name, "arguments": ""})
            call["arguments"] += piece.function.arguments
    assert [calls[index]["name"] for index in (0, 1)] == ["get_weather", "get_time"]
    assert set(json.loads(calls[0]["arguments"])) == {"city", "unit"}
    assert json.loads(calls[1]["arguments"]) == {}
    one = _ask(openai_client, "get_weather and get_time", tools=[WEATHER, clock], parallel_tool_calls=False)
    assert len(one.choices[0].message.tool_calls) == 1


def test_a_tools_result_is_answered_in_words(openai_client):
    asked = {"role": "user", "content": "Use get_weather for Madrid."}
    called = _ask(openai_client, messages=[asked], tools=[WEATHER]).choices[0].message
    result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "31 degrees and dry"}
    final = _ask(
        openai_client, messages=[asked, called.model_dump(exclude_none=True), result], tools=[WEATHER]
    )
    assert "31 degrees and dry" in final.choices[0].message.content


def test_a_custom_tool_gets_plain_text(openai_client):
    tool = {"type": "custom", "custom": {"name": "shell"}}
    (call,) = _ask(openai_client, "Use the shell.", tools=[tool]).choices[0].message.tool_calls
    assert (call.type, call.custom.name) == ("custom", "shell")
    assert call.custom.input


# --- structured output --------------------------------------------------------------------------------------


def test_a_parsed_answer_fits_the_class(openai_client):
    class Trip(pydantic.BaseModel):
        title: str
        days: int
        stops: list[str]

    completion = openai_client.chat.completions.parse(model="gpt-4o", messages=USER, response_format=Trip)
    assert isinstance(completion.choices[0].message.parsed, Trip)


def test_a_schema_is_kept_to(openai_client):
    form = {"type": "json_schema", "json_schema": {"name": "trip", "schema": TRIP_SCHEMA, "strict": True}}
    trip = json.loads(_ask(openai_client, response_format=form).choices[0].message.content)
    assert set(trip) == set(TRIP_SCHEMA["properties"])
    assert trip["stops"][0]["on"] == "2026-11-23"


def test_json_mode_and_a_mere_request_for_json_give_an_object(openai_client):
    for options in ({"response_format": {"type": "json_object"}}, {}):
        completion = _ask(openai_client, "Answer in JSON: which rivers?", **options)
        assert isinstance(json.loads(completion.choices[0].message.content), dict)


def test_a_schema_shown_in_the_prompt_is_kept_to(openai_client):
    prompt = f"Answer with JSON that fits this schema: {json.dumps(WEATHER_SCHEMA)}"
    assert set(json.loads(_ask(openai_client, prompt).choices[0].message.content)) == {"city", "unit"}


# --- refusals -----------------------------------------------------------------------------------------------


def test_a_bad_key_is_an_authentication_error(sandbox_url):
    with (
        OpenAI(base_url=f"{sandbox_url}/openai/v1", api_key="invalid", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        _ask(client)
    assert caught.value.code == "invalid_api_key"


def test_a_missing_key_is_told_how_to_send_one(sandbox_url):
    answer = httpx.get(f"{sandbox_url}/openai/v1/models")
    assert answer.status_code == 401
    assert "didn't provide an API key" in error_of("openai", answer.json())["message"]


@pytest.mark.parametrize("model", ["gpt-9-nonexistent", "gpt-4-retired", "claude-haiku-5-5"])
def test_an_unknown_model_is_not_found(openai_client, model):
    with pytest.raises(openai.NotFoundError) as caught:
        _ask(openai_client, model=model)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"model": None}, None, None),
        ({"messages": None}, "invalid_type", "messages"),
        ({"messages": "hi"}, "invalid_type", "messages"),
        ({"messages": []}, "empty_array", "messages"),
        ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
        ({"messages": [{"role": "king", "content": "x"}]}, "invalid_value", "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "picture"}]}]},
            "invalid_value",
            "messages[0].content[0].type",
        ),
        (
            {"messages": [*USER, {"role": "tool", "tool_call_id": "x", "content": "y"}]},
            None,
            "messages[1].role",
        ),
        ({"temperature": 3}, "decimal_above_max_value", "temperature"),
        ({"temperature": "0.7"}, "invalid_type", "temperature"),
        ({"max_tokens": "16"}, "invalid_type", "max_tokens"),
        ({"max_tokens": 0}, "integer_below_min_value", "max_tokens"),
        ({"stop": ["a"] * 5}, "array_above_max_length", "stop"),
        ({"style": "vivid"}, "unknown_parameter", "style"),
        ({"top_k": 40}, "unknown_parameter", "top_k"),
        ({"stream_options": {"include_usage": True}}, None, "stream_options"),
        ({"tool_choice": "auto"}, None, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, None, "messages"),
        ({"response_format": {"type": "yaml"}}, "invalid_value", "response_format.type"),
        ({"reasoning_effort": "low"}, "unsupported_parameter", "reasoning_effort"),
        ({"model": "gpt-6-luna", "max_tokens": 9}, "unsupported_parameter", "max_tokens"),
        ({"model": "o3", "stop": "x"}, "unsupported_parameter", "stop"),
        ({"model": "gpt-5", "temperature": 0.5}, "unsupported_value", "temperature"),
        (
            {"tools": [{"type": "function", "function": {"name": "two words"}}]},
            "invalid_value",
            "tools[0].function.name",
        ),
        (
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "strict": True, "parameters": {"type": "object"}},
                    }
                ]
            },
            "invalid_function_parameters",
            "tools[0].function.parameters",
        ),
    ],
)
def test_a_bad_request_names_its_fault(http, changes, code, param):
    answer = http.post(PATH, json=SAMPLES["openai"].body | changes)
    error = error_of("openai", answer.json())
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert error["type"] == "invalid_request_error"


def test_an_old_model_takes_both_names_of_the_limit(openai_client):
    limits: list[dict[str, Any]] = [{"max_tokens": 3}, {"max_completion_tokens": 3}]
    for limit in limits:
        assert _ask(openai_client, **limit).usage.completion_tokens == 3


def test_a_strict_schema_must_be_closed(http):
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}}}
    answer = http.post(PATH, json=SAMPLES["openai"].body | {"response_format": form})
    assert "'additionalProperties' is required" in error_of("openai", answer.json())["message"]


def test_a_tool_call_must_be_answered(http):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [*USER, {"role": "assistant", "content": None, "tool_calls": [call]}, *USER]
    answer = http.post(PATH, json=SAMPLES["openai"].body | {"messages": messages})
    assert "c1" in error_of("openai", answer.json())["message"]


# --- the rest -----------------------------------------------------------------------------------------------


def test_every_answer_carries_openais_headers(http):
    for answer in (http.get("/openai/v1/models"), http.post(PATH, json={})):
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["openai-version"] == "2020-10-01"
        assert answer.headers["x-ratelimit-reset-requests"] == "6ms"
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) > 0


def test_models_are_listed_and_found(openai_client):
    assert "gpt-4o" in [model.id for model in openai_client.models.list()]
    assert openai_client.models.retrieve("gpt-6-luna").owned_by == "system"
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("gpt-nonexistent")
