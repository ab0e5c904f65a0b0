"""What the sandbox's tests have in common: one plain request per maker, one tool, one schema, one picture."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema

PROMPT = "Tell me about rivers in Spain."
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

WEATHER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TRIP_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "days": {"type": "integer"},
        "stops": {"type": "array", "items": {"$ref": "#/$defs/stop"}},
        "season": {"anyOf": [{"type": "string", "enum": ["spring", "autumn"]}, {"type": "null"}]},
    },
    "required": ["title", "days", "stops", "season"],
    "additionalProperties": False,
    "$defs": {
        "stop": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "on": {"type": "string", "format": "date"}},
            "required": ["place", "on"],
            "additionalProperties": False,
        }
    },
}


class Sample(NamedTuple):
    """One plain request of a maker, and the same streamed."""

    maker: str
    path: str
    body: dict[str, Any]
    stream_path: str
    stream_body: dict[str, Any]
    done: bytes  # what only a stream that ended in good order has


_openai = {"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}]}
_anthropic = _openai | {"model": "claude-haiku-4-5", "max_tokens": 200}
_gemini = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
_GEMINI_PATH = "/gemini/v1beta/models/gemini-3.8-flash"

SAMPLES = {
    "openai": Sample(
        "openai",
        "/openai/v1/chat/completions",
        _openai,
        "/openai/v1/chat/completions",
        _openai | {"stream": True},
        b"data: [DONE]",
    ),
    "anthropic": Sample(
        "anthropic",
        "/anthropic/v1/messages",
        _anthropic,
        "/anthropic/v1/messages",
        _anthropic | {"stream": True},
        b"event: message_stop",
    ),
    "gemini": Sample(
        "gemini",
        f"{_GEMINI_PATH}:generateContent",
        _gemini,
        f"{_GEMINI_PATH}:streamGenerateContent?alt=sse",
        _gemini,
        b'"finishReason":"STOP"',
    ),
}


def error_of(maker: str, body: Any) -> dict[str, Any]:
    """The error of a maker's answer; fails unless it has that maker's shape."""
    if maker == "openai":
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
    elif maker == "anthropic":
        assert body["type"] == "error"
        assert body["request_id"].startswith("req_")
        assert {"type", "message"} <= set(body["error"])
    else:
        assert {"code", "message", "status"} <= set(body["error"])
    error: dict[str, Any] = body["error"]
    assert error["message"]
    return error


def conforms(maker: str, name: str, value: Any) -> bool:
    """Whether the value is what the maker's published specification says; raises when it is not."""
    schema = _specification(maker) | {"$ref": f"#/components/schemas/{name}"}
    jsonschema.Draft202012Validator(schema).validate(value)
    return True


@functools.cache
def _specification(maker: str) -> dict[str, Any]:
    text = (Path(__file__).parent / "schemas" / f"{maker}.json").read_text()
    specification: dict[str, Any] = json.loads(text)
    return specification
