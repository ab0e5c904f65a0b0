"""Every field of a rich request replaced by nonsense: the maker answers, and the sandbox never falls over."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from apps.sandbox.asgi import MAKERS, maker_response
from apps.sandbox.http import Request, Stream
from tests.sandbox.samples import PNG, WEATHER_SCHEMA, error_of

NONSENSE: list[Any] = [
    None,
    True,
    -1,
    1.5,
    "x",
    "",
    [],
    ["x"],
    [[]],
    [None],
    {},
    {"type": []},
    {"a": {"b": 1}},
]
HEADERS = {
    "authorization": "Bearer k",
    "x-api-key": "k",
    "anthropic-version": "2023-06-01",
    "x-goog-api-key": "k",
}

OPENAI = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "Answer in json."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Use get_weather."},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "dry"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "get_weather", "parameters": WEATHER_SCHEMA, "strict": True},
        },
        {"type": "custom", "custom": {"name": "shell"}},
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "auto",
            "tools": [{"type": "function", "function": {"name": "get_weather"}}],
        },
    },
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": WEATHER_SCHEMA, "strict": True},
    },
    "stop": ["x"],
    "max_tokens": 50,
    "temperature": 1,
    "n": 2,
    "seed": 1,
    "logprobs": True,
    "top_logprobs": 2,
    "stream": True,
    "stream_options": {"include_usage": True},
    "prompt_cache_key": "k",
    "metadata": {"a": "b"},
}
ANTHROPIC = {
    "model": "claude-haiku-4-5",
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Use get_weather."},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "a", "name": "get_weather", "input": {}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "dry"}]},
                {"type": "text", "text": "And tomorrow?"},
            ],
        },
    ],
    "tools": [{"name": "get_weather", "input_schema": WEATHER_SCHEMA, "strict": True}],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": WEATHER_SCHEMA}},
    "stop_sequences": ["x"],
    "metadata": {"user_id": "u"},
    "temperature": 1,
    "top_k": 1,
    "stream": True,
}
GEMINI = {
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "contents": [
        {
            "role": "user",
            "parts": [{"text": "get_weather"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}],
        },
        {"role": "model", "parts": [{"functionCall": {"name": "get_weather", "args": {}}}]},
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "get_weather", "response": {"sky": "dry"}}}],
        },
    ],
    "tools": [
        {
            "functionDeclarations": [
                {
                    "name": "get_weather",
                    "parameters": {
                        "type": "OBJECT",
                        "properties": {"l": {"type": "ARRAY", "items": {"type": "NUMBER"}, "minItems": "2"}},
                        "required": ["l"],
                    },
                },
                {"name": "get_time", "parametersJsonSchema": WEATHER_SCHEMA},
            ]
        }
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}},
    "generationConfig": {
        "temperature": 1,
        "maxOutputTokens": 100,
        "candidateCount": 2,
        "stopSequences": ["x"],
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "INTEGER", "minimum": 3}}},
        "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True},
    },
    "cachedContent": "cachedContents/x",
}
CASES = {
    "openai": ("/v1/chat/completions", OPENAI),
    "openai, reasoning": (
        "/v1/chat/completions",
        {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "shell"}], "tools": OPENAI["tools"]},
    ),
    "anthropic": ("/v1/messages", ANTHROPIC),
    "anthropic, forced": (
        "/v1/messages",
        {
            "model": "claude-haiku-5-5",
            "max_tokens": 300,
            "messages": [{"role": "user", "content": "hi"}],
            "tools": ANTHROPIC["tools"],
            "tool_choice": {"type": "tool", "name": "get_weather"},
        },
    ),
    "gemini": ("/v1beta/models/gemini-3.8-flash:streamGenerateContent", GEMINI),
    "gemini, counting": ("/v1/models/gemini-3.8-flash:countTokens", {"generateContentRequest": GEMINI}),
}


@pytest.mark.parametrize("case", CASES)
def test_nonsense_anywhere_gets_an_answer_in_the_makers_shape(case):
    maker = case.partition(",")[0]
    path, body = CASES[case]
    assert _status(maker, path, body) == 200
    for place in _places(body):
        for nonsense in NONSENSE:
            assert _status(maker, path, _replaced(body, place, nonsense)) in (200, 400, 404)


def _status(maker: str, path: str, body: Any) -> int:
    content = json.dumps(body).encode()
    request = Request(method="POST", path=path, query={}, headers=HEADERS, body=content, id="1")
    answer = maker_response(MAKERS[maker], request)
    if isinstance(answer, Stream):
        assert b"".join(answer.frames)
        return 200
    if answer.status != 200:
        said = json.loads(answer.body)
        error_of(maker, said[0] if isinstance(said, list) else said)
    return answer.status


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield (*place, name)
        yield from _places(part, (*place, name))


def _replaced(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(body)
    part = changed
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    return changed
