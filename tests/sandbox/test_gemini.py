from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pydantic
import pytest
from google.genai import errors, types

from tests.sandbox.conftest import gemini_sdk
from tests.sandbox.samples import PNG, PROMPT, SAMPLES, TRIP_SCHEMA, WEATHER_SCHEMA, conforms, error_of

MODEL = "gemini-3.8-flash"
PATH = f"/gemini/v1beta/models/{MODEL}"
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(name="get_weather", parameters_json_schema=WEATHER_SCHEMA)
    ]
)


def _ask(client: Any, contents: Any = PROMPT, *, model: str = MODEL, **config: Any) -> Any:
    return client.models.generate_content(
        model=model, contents=contents, config=types.GenerateContentConfig(**config)
    )


def _thinking(**config: Any) -> types.ThinkingConfig:
    return types.ThinkingConfig(**config)


# --- answers ------------------------------------------------------------------------------------------------


def test_a_plain_answer_quotes_the_prompt_and_counts_its_tokens(gemini_client):
    response = _ask(gemini_client)
    assert "rivers in Spain" in response.text
    assert response.candidates[0].finish_reason == types.FinishReason.STOP
    assert response.model_version == MODEL
    usage = response.usage_metadata
    assert usage.thoughts_token_count > 0
    assert usage.total_token_count == (
        usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    )
    assert _ask(gemini_client).text == response.text


def test_a_seed_gives_another_answer_and_candidates_differ(gemini_client):
    assert _ask(gemini_client, seed=1).text != _ask(gemini_client, seed=2).text
    response = _ask(gemini_client, candidate_count=3)
    assert len({candidate.content.parts[0].text for candidate in response.candidates}) > 1


def test_the_answers_are_what_the_specification_says(http):
    sample = SAMPLES["gemini"]
    assert conforms("gemini", "GenerateContentResponse", http.post(sample.path, json=sample.body).json())
    for event in http.post(sample.stream_path, json=sample.body).text.strip().split("\r\n\r\n"):
        assert conforms("gemini", "GenerateContentResponse", json.loads(event.removeprefix("data: ")))
    assert conforms(
        "gemini", "CountTokensResponse", http.post(f"{PATH}:countTokens", json=sample.body).json()
    )
    assert conforms("gemini", "ListModelsResponse", http.get("/gemini/v1beta/models").json())
    assert conforms("gemini", "ErrorEnvelope", http.post(sample.path, json={}).json())


def test_the_limit_holds_thinking_and_answer_together(gemini_client):
    response = _ask(gemini_client, max_output_tokens=20)
    usage = response.usage_metadata
    assert response.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert usage.candidates_token_count + usage.thoughts_token_count == 20
    assert response.text


def test_thinking_can_eat_the_whole_allowance(http):
    config = {"generationConfig": {"maxOutputTokens": 2}}
    (candidate,) = http.post(f"{PATH}:generateContent", json=SAMPLES["gemini"].body | config).json()[
        "candidates"
    ]
    assert candidate["finishReason"] == "MAX_TOKENS"
    assert "parts" not in candidate["content"]


def test_a_stop_sequence_ends_the_answer_before_it(gemini_client):
    response = _ask(gemini_client, stop_sequences=["Spain"])
    assert response.candidates[0].finish_reason == types.FinishReason.STOP
    assert "Spain" not in response.text


def test_a_system_instruction_and_pictures_are_noticed(gemini_client):
    picture = types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png")
    response = _ask(gemini_client, [picture, "What is this?"], system_instruction="Speak plainly.")
    assert "1 picture." in response.text
    assert "Speak plainly" in response.text
    modalities = {
        entry.modality: entry.token_count for entry in response.usage_metadata.prompt_tokens_details
    }
    assert modalities[types.MediaModality.IMAGE] == 258


def test_thoughts_are_shown_when_asked_for_and_can_be_switched_off(gemini_client):
    shown = _ask(gemini_client, thinking_config=_thinking(include_thoughts=True, thinking_level="LOW"))
    thought, said = shown.candidates[0].content.parts
    assert thought.thought
    assert not said.thought
    assert said.thought_signature
    off = _ask(gemini_client, thinking_config=_thinking(thinking_budget=0))
    assert off.usage_metadata.thoughts_token_count is None


def test_cached_content_is_inside_the_prompts_count(gemini_client):
    plain, cached = (
        _ask(gemini_client, **more).usage_metadata for more in ({}, {"cached_content": "cachedContents/x"})
    )
    assert cached.cached_content_token_count == cached.prompt_token_count - plain.prompt_token_count > 0


def test_tokens_can_be_counted_beforehand(gemini_client):
    counted = gemini_client.models.count_tokens(model=MODEL, contents=PROMPT)
    assert counted.total_tokens == _ask(gemini_client).usage_metadata.prompt_token_count


# --- streams ------------------------------------------------------------------------------------------------


def test_a_stream_adds_up_to_the_plain_answer(gemini_client):
    plain = _ask(gemini_client)
    chunks = list(gemini_client.models.generate_content_stream(model=MODEL, contents=PROMPT))
    assert "".join(chunk.text or "" for chunk in chunks) == plain.text
    assert [chunk.candidates[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata == plain.usage_metadata


def test_a_stream_without_sse_is_one_array(http):
    sample = SAMPLES["gemini"]
    answer = http.post(f"{PATH}:streamGenerateContent", json=sample.body)
    assert answer.headers["content-type"].startswith("application/json")
    chunks = answer.json()
    events = http.post(sample.stream_path, json=sample.body).text.strip().split("\r\n\r\n")
    assert len(chunks) == len(events) > 5
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    failed = http.post(f"{PATH}:streamGenerateContent", json={}).json()
    assert error_of("gemini", failed[0])["status"] == "INVALID_ARGUMENT"


# --- tools --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "calling"),
    [
        (PROMPT, {"mode": "ANY"}),
        (PROMPT, {"mode": "ANY", "allowed_function_names": ["get_weather"]}),
        ("Use get_weather for Madrid.", {"mode": "AUTO"}),
    ],
    ids=["any", "named", "mentioned"],
)
def test_a_function_is_called_with_arguments_that_fit(gemini_client, prompt, calling):
    config = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(**calling))
    response = _ask(gemini_client, prompt, tools=[WEATHER], tool_config=config)
    (call,) = response.function_calls
    assert call.name == "get_weather"
    assert call.args["unit"] in ("celsius", "fahrenheit")
    assert response.candidates[0].finish_reason == types.FinishReason.STOP


def test_a_functions_result_is_answered_in_words(gemini_client):
    asked = types.Content(role="user", parts=[types.Part.from_text(text="Use get_weather for Madrid.")])
    called = _ask(gemini_client, [asked], tools=[WEATHER]).candidates[0].content
    part = types.Part.from_function_response(name="get_weather", response={"sky": "31 degrees and dry"})
    final = _ask(gemini_client, [asked, called, types.Content(role="user", parts=[part])], tools=[WEATHER])
    assert "31 degrees and dry" in final.text


def test_a_streamed_call_comes_whole(gemini_client):
    config = types.GenerateContentConfig(tools=[WEATHER])
    chunks = list(
        gemini_client.models.generate_content_stream(model=MODEL, contents="Use get_weather", config=config)
    )
    assert [call.name for chunk in chunks for call in chunk.function_calls or ()] == ["get_weather"]
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


# --- structured output --------------------------------------------------------------------------------------


def test_a_parsed_answer_fits_the_class(gemini_client):
    class Trip(pydantic.BaseModel):
        title: str
        days: int = pydantic.Field(ge=2, le=9)
        stops: list[str] = pydantic.Field(min_length=3)

    response = _ask(gemini_client, response_mime_type="application/json", response_schema=Trip)
    assert isinstance(response.parsed, Trip)


def test_a_json_schema_is_kept_to(gemini_client):
    response = _ask(gemini_client, response_mime_type="application/json", response_json_schema=TRIP_SCHEMA)
    assert set(json.loads(response.text)) == set(TRIP_SCHEMA["properties"])


def test_an_enumeration_is_answered_with_one_bare_word(gemini_client):
    schema = {"type": "STRING", "enum": ["river", "lake"]}
    assert _ask(gemini_client, response_mime_type="text/x.enum", response_schema=schema).text in (
        "river",
        "lake",
    )


def test_json_mode_and_a_mere_request_for_json_give_an_object(gemini_client):
    for config in ({"response_mime_type": "application/json"}, {}):
        assert isinstance(json.loads(_ask(gemini_client, "Rivers in JSON", **config).text), dict)


# --- refusals -----------------------------------------------------------------------------------------------


def test_a_bad_key_is_a_400_that_says_so(sandbox_url):
    client = gemini_sdk(sandbox_url, "invalid")
    with pytest.raises(errors.ClientError) as caught:
        _ask(client)
    client.close()
    assert caught.value.code == 400
    assert caught.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"


def test_the_key_may_stand_in_the_query_but_not_in_authorization(sandbox_url):
    url = f"{sandbox_url}/gemini/v1beta/models"
    assert httpx.get(url, params={"key": "key"}).status_code == 200
    for headers, status, word in (
        ({}, 403, "PERMISSION_DENIED"),
        ({"authorization": "Bearer k"}, 401, "UNAUTHENTICATED"),
    ):
        answer = httpx.get(url, headers=headers)
        assert answer.status_code == status
        assert error_of("gemini", answer.json())["status"] == word


@pytest.mark.parametrize(
    "model", ["gemini-nonexistent", "gemini-1.5-retired", "gemini-omni-1.2-flash", "gpt-4o"]
)
def test_an_unknown_model_is_not_found(gemini_client, model):
    with pytest.raises(errors.ClientError) as caught:
        _ask(gemini_client, model=model)
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contents": []}, "contents is not specified"),
        ({"contents": "hi"}, "Invalid value at 'contents[0]'"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "Please use a valid role"),
        ({"contents": [{"parts": []}]}, "must not be empty"),
        ({"contents": [{"parts": [{"thought": True}]}]}, "required oneof field 'data'"),
        ({"max_tokens": 5}, 'Unknown name "max_tokens": Cannot find field.'),
        ({"generationConfig": {"max_tokens": 5}}, "Unknown name \"max_tokens\" at 'generation_config'"),
        ({"generationConfig": {"maxOutputTokens": "many"}}, "(TYPE_INT32)"),
        ({"generationConfig": {"temperature": 3}}, "temperature must be in the range [0, 2]"),
        ({"generationConfig": {"stopSequences": ["a"] * 6}}, "at most 5"),
        ({"generationConfig": {"responseMimeType": "text/html"}}, "allowed mimetypes"),
        ({"generationConfig": {"responseSchema": {"type": "STRING"}}}, "needs a response_mime_type"),
        (
            {
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseSchema": {"type": "OBJECT", "additionalProperties": False},
                }
            },
            "Unknown name \"additionalProperties\" at 'generation_config.response_schema'",
        ),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW"}}},
            "only set one",
        ),
        ({"tools": [{"functionDeclarations": [{"name": "two words"}]}]}, "Invalid function name"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "without function_declarations"),
        (
            {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
            "immediately after a function call turn",
        ),
    ],
)
def test_a_bad_request_names_its_fault(http, changes, message):
    answer = http.post(f"{PATH}:generateContent", json=SAMPLES["gemini"].body | changes)
    assert answer.status_code == 400
    error = error_of("gemini", answer.json())
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert message in error["message"]


def test_names_are_read_in_either_spelling_and_counts_as_text(http):
    config = {
        "max_output_tokens": "7",
        "thinking_config": {"thinking_level": "low", "include_thoughts": True},
    }
    body = {"contents": {"parts": {"text": PROMPT}}, "generation_config": config}
    answer = http.post(f"{PATH}:generateContent", json=body)
    assert answer.status_code == 200
    usage = answer.json()["usageMetadata"]
    assert usage["candidatesTokenCount"] + usage["thoughtsTokenCount"] == 7


# --- the rest -----------------------------------------------------------------------------------------------


def test_there_are_no_rate_limit_headers(http):
    answer = http.post(f"{PATH}:generateContent", json=SAMPLES["gemini"].body)
    assert not [name for name in answer.headers if "ratelimit" in name or "request-id" in name]


def test_models_are_listed_in_pages_and_found(gemini_client):
    names = [model.name for model in gemini_client.models.list(config={"page_size": 4})]
    assert f"models/{MODEL}" in names
    assert len(names) == len(set(names)) > 4
    assert gemini_client.models.get(model=MODEL).output_token_limit == 65_536
