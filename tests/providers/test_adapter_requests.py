"""What every built-in adapter sends, whoever its maker is."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import httpx
import jsonschema
import pytest
from pydantic import TypeAdapter

from apps.core.errors import InvalidRequest, ProviderKeyRefused
from apps.providers.registry import text_adapter
from apps.providers.types import (
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
)
from tests.providers.recordings import BUILT_IN, KEY, MODELS, SPECS, body_of, built

every_adapter = pytest.mark.parametrize("provider", BUILT_IN)

ASK = TextRequest(messages=(Message.user("Name a river."),))
SCHEMA = {"type": "object", "properties": {"river": {"type": "string"}}, "required": ["river"]}
PIXEL = "iVBORw0KGgo="

# All a request can hold, in one conversation.
RICH = TextRequest(
    system="Be brief.",
    messages=(
        Message("user", (TextPart("What is this?"), ImagePart(data=PIXEL, media_type="image/png"))),
        Message("user", (ImagePart(url="https://example.com/a/b.jpg?x=1", detail="low"),)),
        Message(
            "assistant",
            (
                ReasoningPart(text="Look it up.", signature="c2ln"),
                ReasoningPart(redacted="b3BhcXVl"),
                TextPart("Let me look."),
                ToolCallPart(id="call_1", name="look_up", arguments='{"word": "Ebro"}', signature="c2ln"),
                ToolCallPart(id="call_2", name="get_time", arguments=""),
                ToolCallPart(id="functions.look_up:3", name="look_up", arguments='{"word": "Eb'),
            ),
        ),
        Message("tool", (ToolResultPart(tool_call_id="call_1", content='{"kind": "river"}'),)),
        Message("tool", (ToolResultPart(tool_call_id="call_2", content="10:00"),)),
        Message(
            "user",
            (
                TextPart("Go on."),
                ToolResultPart(tool_call_id="functions.look_up:3", content="broken", is_error=True),
            ),
        ),
        Message("assistant", (TextPart(""),)),
        Message.user("Well?"),
    ),
    max_tokens=100,
    temperature=0.5,
    top_p=0.9,
    stop=("END",),
    seed=7,
    presence_penalty=0.1,
    frequency_penalty=0.2,
    tools=(
        Tool(name="look_up", description="Looks a word up.", parameters=SCHEMA, strict=True),
        Tool(name="get_time"),
    ),
    tool_choice=ToolChoice(mode="tool", name="look_up", parallel=False),
    response_format=ResponseFormat(json_schema=SCHEMA, name="river", strict=True),
    reasoning_effort="low",
    user="customer-1",
)


def closed(schema: Any, *, is_open: bool = False) -> Any:
    """schema with unknown fields forbidden: all three services refuse them. Members of an allOf stay open."""
    if isinstance(schema, list):
        return [closed(part, is_open=is_open) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(part, is_open=name == "allOf") for name, part in schema.items()}
    if "properties" in made and not is_open and isinstance(schema.get("type"), str):
        made.setdefault("additionalProperties", False)
    return made


@cache
def request_schema(provider: str) -> dict[str, Any]:
    if provider == "anthropic":
        # The SDK's own types are the nearest thing to a specification.
        from anthropic.types.message_create_params import MessageCreateParamsNonStreaming as Params

        schema: dict[str, Any] = closed(TypeAdapter(Params).json_schema())
        schema["properties"]["stream"] = {"type": "boolean"}
        return schema
    schema = json.loads((SPECS / f"{provider}.json").read_text())
    schemas = schema["components"]["schemas"]
    inherited = {"ModelResponseProperties", "CreateModelResponseProperties"}
    schema["components"]["schemas"] = {
        name: part if name in inherited else closed(part) for name, part in schemas.items()
    }
    return schema | {"unevaluatedProperties": False}


def fits_official_schema(provider: str, body: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(request_schema(provider)).validate(body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", [ASK, RICH], ids=["plain", "rich"])
@every_adapter
def test_request_has_only_what_the_official_schema_allows(
    provider: str, asked: TextRequest, stream: bool
) -> None:
    profile = {"sampling": False, "structured_output": True, "effort": True}
    fits_official_schema(provider, body_of(built(provider, asked, stream=stream, profile=profile)))


@pytest.mark.parametrize("mode", ["auto", "none", "required", "tool"])
@every_adapter
def test_every_tool_choice_fits_the_official_schema(provider: str, mode: Any) -> None:
    for parallel in (None, True, False):
        choice = ToolChoice(mode=mode, name="get_time", parallel=parallel)
        asked = TextRequest(messages=ASK.messages, tools=(Tool(name="get_time"),), tool_choice=choice)
        fits_official_schema(provider, body_of(built(provider, asked)))


@every_adapter
def test_official_schema_would_notice_a_wrong_type_and_an_unknown_field(provider: str) -> None:
    body = body_of(built(provider, ASK))
    for broken in ({"no_such_field": 1}, {"messages": "text"}, {"contents": "text"}):
        with pytest.raises(jsonschema.ValidationError):
            fits_official_schema(provider, body | broken)


@every_adapter
def test_what_the_caller_did_not_say_is_not_sent(provider: str) -> None:
    required = {
        "openai": {"model", "messages"},
        "anthropic": {"model", "messages", "max_tokens"},
        "gemini": {"contents"},
    }
    assert set(body_of(built(provider, ASK))) == required[provider]


@every_adapter
def test_request_arrives_whole_at_the_default_address(provider: str) -> None:
    seen: list[httpx.Request] = []

    def server(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    with httpx.Client(transport=httpx.MockTransport(server)) as client:
        client.send(built(provider, ASK))
    [request] = seen
    adapter = text_adapter(provider)
    assert request.method == "POST"
    assert str(request.url).startswith(adapter.default_base_url + "/v1")
    assert request.headers["host"] == httpx.URL(adapter.default_base_url).host
    assert request.headers["content-type"] == "application/json"
    assert int(request.headers["content-length"]) == len(request.read())
    assert b"Name a river." in request.content


@every_adapter
def test_base_url_may_have_a_port_a_prefix_and_a_last_slash(provider: str) -> None:
    request = built(provider, ASK, base_url="http://gpu-box:8000/proxy/")
    assert str(request.url).startswith("http://gpu-box:8000/proxy/v1")
    assert request.headers["host"] == "gpu-box:8000"


@every_adapter
def test_key_travels_in_one_header_and_nowhere_else(provider: str) -> None:
    request = built(provider, RICH, stream=True)
    carriers = [name for name, value in request.headers.items() if KEY in value]
    assert len(carriers) == 1
    assert KEY not in str(request.url)
    assert KEY.encode() not in request.content


@every_adapter
def test_two_keys_are_never_mixed_up(provider: str) -> None:
    for key in ("first-key-000", "second-key-111", "first-key-000"):
        request = built(provider, ASK, api_key=key)
        [carried] = [value for value in request.headers.values() if "-key-" in value]
        assert carried.endswith(key)


@every_adapter
def test_keyless_server_gets_no_empty_key_header(provider: str) -> None:
    names = set(built(provider, ASK, api_key="").headers)
    assert not names & {"authorization", "x-api-key", "x-goog-api-key"}


@every_adapter
def test_key_that_no_header_can_hold_is_a_refused_key(provider: str) -> None:
    for key in ("sk-pasted-twice\n", "sk-pasted\u2013badly"):
        with pytest.raises(ProviderKeyRefused) as caught:
            built(provider, ASK, api_key=key)
        assert key not in str(caught.value)


@every_adapter
def test_headers_of_the_spec_have_the_last_word(provider: str) -> None:
    request = built(provider, ASK, headers=(("X-DE-Rehearse", "refuse"), ("Content-Type", "text/odd")))
    assert request.headers["x-de-rehearse"] == "refuse"
    assert request.headers.get_list("content-type") == ["text/odd"]


@every_adapter
def test_extra_options_are_sent_as_they_are(provider: str) -> None:
    asked = TextRequest(messages=ASK.messages, extra={"service_tier": "flex", "store": False})
    body = body_of(built(provider, asked))
    assert body["service_tier"] == "flex"
    assert body["store"] is False


@every_adapter
def test_extra_options_change_neither_model_nor_conversation_nor_framing(provider: str) -> None:
    wanted = {"model": "dear-model", "messages": [], "contents": [], "stream": True}
    asked = TextRequest(messages=ASK.messages, extra=wanted)
    plain, sneaky = built(provider, ASK), built(provider, asked)
    kept = {name: value for name, value in body_of(sneaky).items() if name in body_of(plain)}
    assert kept == body_of(plain)
    assert body_of(sneaky).get("stream", False) is False
    assert body_of(sneaky).get("model") in (None, MODELS[provider])
    assert sneaky.url == plain.url


@every_adapter
def test_models_that_refuse_sampling_are_sent_none(provider: str) -> None:
    extras: dict[str, dict[str, Any]] = {
        "openai": {},
        "anthropic": {"top_k": 3},
        "gemini": {"generationConfig": {"topK": 3}},
    }
    asked = TextRequest(messages=ASK.messages, temperature=0.1, top_p=0.2, extra=extras[provider])
    without = built(provider, asked, profile={"sampling": False}).content.decode()
    assert "temperature" not in without
    assert '"top' not in without
    assert b'"temperature":0.1' in built(provider, asked).content


@pytest.mark.parametrize(
    "part",
    [
        ImagePart(),
        ImagePart(data=PIXEL),
        ImagePart(data=PIXEL, media_type="image/png", url="https://example.com/a.png"),
        ImagePart(url="data:image/png,plain"),
        ToolCallPart(id="call_1", name="look_up", arguments="{}"),
    ],
)
@every_adapter
def test_what_a_user_message_cannot_hold_is_the_callers_mistake(provider: str, part: Any) -> None:
    with pytest.raises(InvalidRequest):
        built(provider, TextRequest(messages=(Message("user", (part,)),)))


@every_adapter
def test_picture_in_an_assistant_message_is_the_callers_mistake(provider: str) -> None:
    picture = ImagePart(data=PIXEL, media_type="image/png")
    with pytest.raises(InvalidRequest):
        built(provider, TextRequest(messages=(Message("assistant", (picture,)),)))


@every_adapter
def test_picture_in_a_data_url_is_the_same_as_inline(provider: str) -> None:
    inline = ImagePart(data=PIXEL, media_type="image/png")
    by_url = ImagePart(url=f"data:image/png;base64,{PIXEL}")
    bodies = [
        built(provider, TextRequest(messages=(Message("user", (part,)),))).content
        for part in (inline, by_url)
    ]
    assert bodies[0] == bodies[1]


@every_adapter
def test_half_a_surrogate_pair_is_the_callers_mistake(provider: str) -> None:
    with pytest.raises(InvalidRequest):
        built(provider, TextRequest(messages=(Message.user("\ud800"),)))
