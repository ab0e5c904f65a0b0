from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import pydantic
import pytest
from anthropic import Anthropic

from apps.sandbox.anthropic.turns import signature
from tests.sandbox.samples import PNG, PROMPT, SAMPLES, TRIP_SCHEMA, WEATHER_SCHEMA, error_of

PATH = "/anthropic/v1/messages"
USER: dict[str, Any] = {"role": "user", "content": PROMPT}
WEATHER: dict[str, Any] = {"name": "get_weather", "input_schema": WEATHER_SCHEMA}
NEW_VERSION = {"anthropic-version": "2026-10-21"}


def _ask(client: Anthropic, prompt: str = PROMPT, **options: Any) -> Any:
    messages = [{"role": "user", "content": prompt}]
    body: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 300, "messages": messages}
    return client.messages.create(**body | options)


def _events(text: str) -> list[dict[str, Any]]:
    """The data of every event; fails unless each is named after its type."""
    events = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n", 1)
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


# --- answers ------------------------------------------------------------------------------------------------


def test_a_plain_answer_quotes_the_prompt_and_counts_its_tokens(anthropic_client):
    message = _ask(anthropic_client)
    assert "rivers in Spain" in message.content[0].text
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert _ask(anthropic_client).content == message.content


def test_max_tokens_cuts_the_same_answer_short(anthropic_client):
    whole, cut = _ask(anthropic_client), _ask(anthropic_client, max_tokens=6)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 6)
    assert whole.content[0].text.startswith(cut.content[0].text)


def test_no_tokens_at_all_only_warm_the_cache(anthropic_client):
    message = _ask(anthropic_client, max_tokens=0)
    assert (message.content, message.usage.output_tokens) == ([], 0)


def test_a_stop_sequence_is_reported(anthropic_client):
    message = _ask(anthropic_client, stop_sequences=["Portugal", "Spain"])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "Spain")
    assert "Spain" not in message.content[0].text


def test_a_system_prompt_and_pictures_are_noticed(anthropic_client):
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    message = _ask(anthropic_client, system="Speak plainly.", messages=[{"role": "user", "content": content}])
    assert "1 picture." in message.content[0].text
    assert "Speak plainly" in message.content[0].text
    assert message.usage.input_tokens > 800


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("claude-haiku-4-5", {"type": "enabled", "budget_tokens": 1024}),
        ("claude-sonnet-5-5", {"type": "adaptive"}),
        ("claude-sonnet-5-5", None),
    ],
    ids=["enabled", "adaptive", "by default"],
)
def test_thinking_comes_first_and_is_signed(anthropic_client, model, thinking):
    message = _ask(anthropic_client, model=model, max_tokens=2000, thinking=thinking)
    thought, text = message.content
    assert (thought.type, text.type) == ("thinking", "text")
    assert thought.signature == signature(thought.thinking)
    assert 0 < message.usage.output_tokens_details.thinking_tokens < message.usage.output_tokens


def test_thinking_can_be_hidden_or_switched_off(anthropic_client):
    hidden = _ask(
        anthropic_client, model="claude-opus-5", thinking={"type": "adaptive", "display": "omitted"}
    )
    assert hidden.content[0].thinking == ""
    assert hidden.content[0].signature
    off = _ask(anthropic_client, model="claude-opus-5", thinking={"type": "disabled"})
    assert [block.type for block in off.content] == ["text"]


def test_its_own_thinking_is_taken_back_and_no_other(anthropic_client):
    first = _ask(anthropic_client, model="claude-opus-5")
    history = [USER, {"role": "assistant", "content": first.content}, {"role": "user", "content": "And?"}]
    assert _ask(anthropic_client, model="claude-opus-5", messages=history).stop_reason == "end_turn"
    first.content[0].thinking += "!"
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature`"):
        _ask(anthropic_client, model="claude-opus-5", messages=history)


def test_cached_tokens_stand_beside_the_input(anthropic_client):
    plain = _ask(anthropic_client).usage
    content = [{"type": "text", "text": PROMPT, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    cached = _ask(anthropic_client, messages=[{"role": "user", "content": content}]).usage
    parts = (cached.cache_read_input_tokens, cached.cache_creation_input_tokens)
    assert min(parts) > 0
    assert cached.input_tokens + sum(parts) == plain.input_tokens
    assert cached.cache_creation.ephemeral_1h_input_tokens == cached.cache_creation_input_tokens
    assert plain.cache_read_input_tokens == plain.cache_creation_input_tokens == 0


def test_tokens_can_be_counted_beforehand(anthropic_client):
    counted = anthropic_client.messages.count_tokens(
        model="claude-haiku-4-5", messages=[USER], system="Be brief."
    )
    assert counted.input_tokens == _ask(anthropic_client, system="Be brief.").usage.input_tokens


# --- streams ------------------------------------------------------------------------------------------------


def test_a_stream_adds_up_to_the_plain_answer(anthropic_client):
    plain = _ask(anthropic_client, model="claude-sonnet-5-5")
    options: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 300, "messages": [USER]}
    with anthropic_client.messages.stream(**options) as stream:
        final = stream.get_final_message()
    assert [block.model_dump() for block in final.content] == [block.model_dump() for block in plain.content]
    assert final.usage.output_tokens == plain.usage.output_tokens
    assert final.stop_reason == "end_turn"


def test_events_come_in_their_order(http):
    events = _events(http.post(PATH, json=SAMPLES["anthropic"].stream_body).text)
    kinds = [event["type"] for event in events]
    assert kinds[:4] == ["message_start", "content_block_start", "ping", "content_block_delta"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert events[0]["message"]["content"] == []
    assert events[0]["message"]["usage"]["output_tokens"] < events[-2]["usage"]["output_tokens"]
    assert events[0]["message"]["usage"]["input_tokens"] == events[-2]["usage"]["input_tokens"]


def test_a_streamed_tool_call_is_joined_from_pieces(anthropic_client):
    options: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 300, "tools": [WEATHER]}
    messages: Any = [{"role": "user", "content": "Use get_weather."}]
    with anthropic_client.messages.stream(**options, messages=messages) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert set(final.content[0].input) == {"city", "unit"}


# --- tools --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"tool_choice": {"type": "any"}},
        {"tool_choice": {"type": "tool", "name": "get_weather"}},
        {"messages": [{"role": "user", "content": "Please get weather for Madrid."}]},
    ],
    ids=["any", "named", "mentioned"],
)
def test_a_tool_is_called_with_input_that_fits(anthropic_client, options):
    message = _ask(anthropic_client, tools=[WEATHER], **options)
    assert message.stop_reason == "tool_use"
    (block,) = message.content
    assert (block.type, block.name) == ("tool_use", "get_weather")
    assert block.input["unit"] in ("celsius", "fahrenheit")


def test_a_tools_result_is_answered_in_words(anthropic_client):
    asked = {"role": "user", "content": "Use get_weather for Madrid."}
    called = _ask(anthropic_client, messages=[asked], tools=[WEATHER])
    result = {"type": "tool_result", "tool_use_id": called.content[0].id, "content": "31 degrees and dry"}
    history = [asked, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    final = _ask(anthropic_client, messages=history, tools=[WEATHER])
    assert "31 degrees and dry" in final.content[0].text


def test_parallel_calls_can_be_forbidden(anthropic_client):
    tools = [WEATHER, {"name": "get_time", "input_schema": {"type": "object"}}]
    for choice, count in (({"type": "auto"}, 2), ({"type": "auto", "disable_parallel_tool_use": True}, 1)):
        message = _ask(anthropic_client, "get_weather, get_time", tools=tools, tool_choice=choice)
        assert len(message.content) == count


# --- structured output --------------------------------------------------------------------------------------


def test_a_parsed_answer_fits_the_class(anthropic_client):
    class Trip(pydantic.BaseModel):
        title: str
        days: int = pydantic.Field(description="at least one")
        stops: list[str]

    message = anthropic_client.messages.parse(
        model="claude-haiku-4-5", max_tokens=500, messages=[USER], output_format=Trip
    )
    assert isinstance(message.parsed_output, Trip)


def test_a_schema_is_kept_to(anthropic_client):
    form = {"type": "json_schema", "schema": TRIP_SCHEMA}
    trip = json.loads(_ask(anthropic_client, output_config={"format": form}).content[0].text)
    assert set(trip) == set(TRIP_SCHEMA["properties"])


def test_a_mere_request_for_json_gives_an_object(anthropic_client):
    assert isinstance(json.loads(_ask(anthropic_client, "Rivers as json, please").content[0].text), dict)


# --- refusals -----------------------------------------------------------------------------------------------


def test_a_bad_key_is_an_authentication_error(sandbox_url):
    with (
        Anthropic(base_url=f"{sandbox_url}/anthropic", api_key="invalid", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        _ask(client)


def test_both_ways_to_send_a_key_work_and_none_is_refused(sandbox_url):
    url, version = f"{sandbox_url}/anthropic/v1/models", {"anthropic-version": "2023-06-01"}
    for key in ({"x-api-key": "key"}, {"authorization": "Bearer key"}):
        assert httpx.get(url, headers=version | key).status_code == 200
    answer = httpx.get(url, headers=version)
    assert answer.status_code == 401
    assert error_of("anthropic", answer.json())["type"] == "authentication_error"


def test_the_version_header_is_required(sandbox_url):
    url, key = f"{sandbox_url}/anthropic/v1/models", {"x-api-key": "key"}
    for headers in (key, key | {"anthropic-version": "tomorrow"}):
        answer = httpx.get(url, headers=headers)
        assert answer.status_code == 400
        assert "anthropic-version" in error_of("anthropic", answer.json())["message"]


@pytest.mark.parametrize("model", ["claude-nonexistent", "claude-retired-1", "gpt-4o"])
def test_an_unknown_model_is_not_found(anthropic_client, model):
    with pytest.raises(anthropic.NotFoundError) as caught:
        _ask(anthropic_client, model=model)
    assert caught.value.api_message == f"model: {model}"


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_sampling_is_refused_by_the_new_version_and_by_current_models(http, name):
    old, current = SAMPLES["anthropic"].body, SAMPLES["anthropic"].body | {"model": "claude-opus-4-7"}
    half = {name: 0.5 if name != "top_k" else 5}
    for headers, body, status in (
        ({}, old | half, 200),
        ({}, current | half, 400),
        ({}, current | {name: 1}, 200),
        (NEW_VERSION, old | {name: 1}, 400),
    ):
        answer = http.post(PATH, json=body, headers=headers)
        assert answer.status_code == status
        if status == 400:
            assert name in error_of("anthropic", answer.json())["message"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_tokens": None}, "max_tokens: "),
        ({"max_tokens": "16"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 200_000}, "max_tokens: 200000 > 64000"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "system", "content": "x"}]}, 'Unexpected role "system"'),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "first message"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "Input tag 'image_url'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages.0.content.0.text.text: Field",
        ),
        ({"seed": 1}, "seed: Extra inputs are not permitted"),
        ({"stop_sequences": [" "]}, "non-whitespace"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tool_choice": {"type": "any"}}, "only be specified while providing tools"),
        ({"thinking": {"type": "enabled", "budget_tokens": 100}}, "greater than or equal to 1024"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            "must be greater than `thinking.budget_tokens`",
        ),
        (
            {"model": "claude-opus-5", "thinking": {"type": "enabled", "budget_tokens": 1024}},
            "not supported for this",
        ),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            "'additionalProperties' must be explicitly set to false",
        ),
        (
            {
                "model": "claude-sonnet-5-5",
                "messages": [USER, {"role": "assistant", "content": "The"}],
            },
            "does not support assistant message prefill",
        ),
    ],
)
def test_a_bad_request_names_its_fault(http, changes, message):
    answer = http.post(PATH, json=SAMPLES["anthropic"].body | changes)
    assert answer.status_code == 400
    error = error_of("anthropic", answer.json())
    assert error["type"] == "invalid_request_error"
    assert message in error["message"]


def test_a_missing_field_is_named(http):
    for name in ("model", "max_tokens", "messages"):
        body = {key: value for key, value in SAMPLES["anthropic"].body.items() if key != name}
        assert (
            error_of("anthropic", http.post(PATH, json=body).json())["message"] == f"{name}: Field required"
        )


def test_a_tool_use_must_be_answered_and_nothing_else(http):
    used = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}
    answered = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t2", "content": "x"}]}
    for messages, message in (
        ([USER, used, USER], "without `tool_result`"),
        ([USER, used, answered], "unexpected"),
    ):
        answer = http.post(PATH, json=SAMPLES["anthropic"].body | {"messages": messages})
        assert answer.status_code == 400
        assert message in error_of("anthropic", answer.json())["message"]


# --- the rest -----------------------------------------------------------------------------------------------


def test_every_answer_carries_anthropics_headers(http):
    for answer in (http.get("/anthropic/v1/models"), http.post(PATH, json={})):
        assert answer.headers["request-id"].startswith("req_")
        assert answer.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
        assert int(answer.headers["anthropic-ratelimit-input-tokens-remaining"]) > 0
    assert answer.json()["request_id"] == answer.headers["request-id"]


def test_models_are_listed_in_pages_and_found(anthropic_client):
    ids = [model.id for model in anthropic_client.models.list(limit=5)]
    assert "claude-haiku-5-5" in ids
    assert len(ids) == len(set(ids)) > 5
    assert anthropic_client.models.retrieve("claude-sonnet-5-5").display_name == "Claude Sonnet 5.5"
    with pytest.raises(anthropic.NotFoundError):
        anthropic_client.models.retrieve("claude-nonexistent")
