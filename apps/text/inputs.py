"""The body of a text request: checked, every bad field named, and turned into the neutral TextRequest.

Hand-written checks rather than a serializer: this is the hot path, and the usual body passes in a few microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from apps.core.errors import InvalidRequest
from apps.providers.types import (
    ImagePart,
    Message,
    Part,
    ResponseFormat,
    TextPart,
    TextRequest,
    ToolCallPart,
    ToolResultPart,
)
from apps.text.json_answers import schema_check

MAX_MESSAGES = 10_000
MAX_STOPS = 16
MAX_JSON_RETRIES = 5
DEFAULT_JSON_RETRIES = 2


class TextInput(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request. `request` is what goes to the provider; the rest decides how."""

    request: TextRequest
    model_id: str | None
    model: str | None
    instance_id: str | None
    project_id: str | None
    wants_stream: bool
    expect_json: bool
    json_schema: Mapping[str, Any] | None
    json_max_retries: int


class _Faults:
    """Gathers what is wrong, by dotted field name."""

    def __init__(self) -> None:
        self.fields: dict[str, str | list[str]] = {}

    def add(self, name: str, text: str) -> None:
        self.fields.setdefault(name, text)

    def raise_if_any(self) -> None:
        if self.fields:
            raise InvalidRequest.for_fields(self.fields)


def _number(low: float, high: float) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "It must be a number."
        return None if low <= value <= high else f"It must be from {low:g} to {high:g}."

    return check


def _whole(low: int, high: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "It must be a whole number."
        return None if low <= value <= high else f"It must be from {low} to {high}."

    return check


def _text(limit: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return "It must be a string."
        return None if len(value) <= limit else f"It must be at most {limit} characters."

    return check


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "It must be true or false."


def _stop(value: Any) -> str | None:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        return "It must be a non-empty string or a list of them."
    return None if len(stops) <= MAX_STOPS else f"It may hold at most {MAX_STOPS} entries."


_FIELDS: dict[str, Callable[[Any], str | None]] = {
    "model_id": _text(100),
    "model": _text(200),
    "instance_id": _text(64),
    "project_id": _text(64),
    "expect_json": _flag,
    "json_max_retries": _whole(0, MAX_JSON_RETRIES),
}
_BODY_FIELDS = frozenset((*_FIELDS, "prompt", "messages", "json_schema", "options"))

# Bounds that no provider goes beyond; tighter ones are the provider's to say.
_OPTIONS: dict[str, Callable[[Any], str | None]] = {
    "max_tokens": _whole(1, 10_000_000),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "seed": _whole(-(2**63), 2**63 - 1),
    "stop": _stop,
    "system": _text(10_000_000),
    "stream": _flag,
    "reasoning_effort": _text(32),
    "user": _text(256),
}
_REQUEST_OPTIONS = frozenset(_OPTIONS) - {"stream", "stop", "system"}
# What the request is made of is said outside `options`; inside it would get round the checks on it.
_RESERVED_OPTIONS = frozenset(("model", "messages", "contents", "prompt", "api_key", "stream_options"))


def text_input_read(body: Mapping[str, Any], *, instance_header: str | None = None) -> TextInput:
    """Raises InvalidRequest naming every bad field."""
    faults = _Faults()
    for name in body:
        if name not in _BODY_FIELDS:
            faults.add(name, "There is no such field.")
    for name, check in _FIELDS.items():
        value = body.get(name)
        if value is not None and (fault := check(value)):
            faults.add(name, fault)
    options = _options(body.get("options"), faults)
    system, messages = _conversation(body, options, faults)
    expect_json, schema = _json_wish(body, faults)
    wants_stream = options.get("stream") is True
    if expect_json and wants_stream:
        faults.add(
            "expect_json", "A streamed answer can't be checked and repaired; leave one of the two out."
        )
    faults.raise_if_any()
    stop = options.get("stop") or ()
    return TextInput(
        request=TextRequest(
            messages=messages,
            system=system,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            response_format=ResponseFormat(json_schema=schema) if expect_json else None,
            extra={name: value for name, value in options.items() if name not in _OPTIONS},
            **{name: options[name] for name in _REQUEST_OPTIONS & options.keys()},
        ),
        model_id=body.get("model_id"),
        model=body.get("model"),
        instance_id=body.get("instance_id") or instance_header or None,
        project_id=body.get("project_id"),
        wants_stream=wants_stream,
        expect_json=expect_json,
        json_schema=schema,
        json_max_retries=_retries(body),
    )


def _options(value: Any, faults: _Faults) -> dict[str, Any]:
    """The options that are set; null means not set."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        faults.add("options", "It must be an object.")
        return {}
    options = {name: entry for name, entry in value.items() if entry is not None}
    for name, entry in options.items():
        if name in _RESERVED_OPTIONS:
            faults.add(f"options.{name}", "It can't be set as an option.")
        elif (check := _OPTIONS.get(name)) is not None and (fault := check(entry)):
            faults.add(f"options.{name}", fault)
    return {} if faults.fields else options


def _conversation(
    body: Mapping[str, Any], options: Mapping[str, Any], faults: _Faults
) -> tuple[str | None, tuple[Message, ...]]:
    prompt, messages = body.get("prompt"), body.get("messages")
    system: str | None = options.get("system")
    if prompt is not None and messages is not None:
        faults.add("messages", "Send either `prompt` or `messages`, not both.")
    elif messages is not None:
        said, turns = messages_read(messages, faults.add)
        return "\n\n".join(filter(None, (system, said))) or None, turns
    elif not isinstance(prompt, str):
        faults.add("prompt", "This field is required." if prompt is None else "It must be a string.")
    elif not prompt.strip():
        faults.add("prompt", "It must not be empty.")
    else:
        return system, (Message.user(prompt),)
    return system, ()


def _json_wish(body: Mapping[str, Any], faults: _Faults) -> tuple[bool, Mapping[str, Any] | None]:
    schema = body.get("json_schema")
    if schema is None:
        return body.get("expect_json") is True, None
    if not isinstance(schema, dict):
        faults.add("json_schema", "It must be a JSON Schema object.")
    elif fault := schema_check(schema):
        faults.add("json_schema", fault)
    # A schema without expect_json says clearly enough what is wanted, unless it is switched off.
    return body.get("expect_json") is not False, schema


def _retries(body: Mapping[str, Any]) -> int:
    value = body.get("json_max_retries")
    return DEFAULT_JSON_RETRIES if value is None else int(value)


# --- messages, in the chat form every client knows -----------------------------------------------------------


def messages_read(value: Any, fault: Callable[[str, str], None]) -> tuple[str, tuple[Message, ...]]:
    """(what system and developer messages said, the conversation). fault(field, text) is told what is wrong."""
    if not isinstance(value, list) or not value:
        fault("messages", "It must be a non-empty list.")
        return "", ()
    if len(value) > MAX_MESSAGES:
        fault("messages", f"It may hold at most {MAX_MESSAGES} messages.")
        return "", ()
    system: list[str] = []
    turns: list[Message] = []
    for index, entry in enumerate(value):
        place = f"messages.{index}"
        if not isinstance(entry, dict):
            fault(place, "It must be an object with `role` and `content`.")
            continue
        role = entry.get("role")
        parts = _parts(entry, place, fault)
        if role in ("system", "developer"):
            system.append("".join(part.text for part in parts if isinstance(part, TextPart)))
        elif role == "user":
            turns.append(Message("user", parts))
        elif role == "assistant":
            turns.append(Message("assistant", parts + _tool_calls(entry, place, fault)))
        elif role == "tool":
            turns.append(Message("tool", (_tool_result(entry, parts, place, fault),)))
        else:
            fault(f"{place}.role", "It must be one of: system, developer, user, assistant, tool.")
    if not turns:
        fault("messages", "At least one message must be the user's.")
    elif not any(turn.parts for turn in turns):
        fault("messages", "The messages are empty.")
    return "\n\n".join(filter(None, system)), tuple(turn for turn in turns if turn.parts)


def _parts(entry: Mapping[str, Any], place: str, fault: Callable[[str, str], None]) -> tuple[Part, ...]:
    content = entry.get("content")
    if isinstance(content, str):
        return (TextPart(content),) if content else ()
    if content is None and entry.get("role") == "assistant":
        return ()  # an assistant turn may be tool calls alone
    if not isinstance(content, list):
        fault(f"{place}.content", "It must be a string or a list of parts.")
        return ()
    parts: list[Part] = []
    for index, raw in enumerate(content):
        part = _part(raw)
        if part is None:
            fault(
                f"{place}.content.{index}",
                'It must be {"type": "text", "text": …} or {"type": "image_url", "image_url": {"url": …}}.',
            )
        else:
            parts.append(part)
    return tuple(parts)


def _part(raw: Any) -> Part | None:
    if not isinstance(raw, dict):
        return None
    if raw.get("type") == "text" and isinstance(raw.get("text"), str):
        return TextPart(raw["text"])
    if raw.get("type") == "image_url":
        image = raw.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        detail = image.get("detail") if isinstance(image, dict) else None
        if isinstance(url, str) and (detail is None or isinstance(detail, str)):
            return image_part(url, detail=detail)
    return None


def image_part(url: str, *, detail: str | None = None) -> ImagePart | None:
    """A picture from an http(s) URL or a base64 data URL; None for anything else."""
    if url.startswith(("https://", "http://")):
        return ImagePart(url=url, detail=detail)
    head, comma, data = url.partition(",")
    if comma and head.startswith("data:image/") and head.endswith(";base64") and data:
        return ImagePart(data=data, media_type=head[5:-7], detail=detail)
    return None


def _tool_calls(entry: Mapping[str, Any], place: str, fault: Callable[[str, str], None]) -> tuple[Part, ...]:
    calls: list[Part] = []
    raw_calls = entry.get("tool_calls") or []
    if not isinstance(raw_calls, list):
        fault(f"{place}.tool_calls", "It must be a list.")
        return ()
    for index, raw in enumerate(raw_calls):
        function = raw.get("function") if isinstance(raw, dict) else None
        function = function if isinstance(function, dict) else None
        values = [raw.get("id"), function.get("name"), function.get("arguments")] if function else []
        texts = [value for value in values if isinstance(value, str)]
        if len(texts) == 3:
            calls.append(ToolCallPart(id=texts[0], name=texts[1], arguments=texts[2]))
        else:
            fault(f"{place}.tool_calls.{index}", 'It needs "id" and "function": {"name", "arguments"}.')
    return tuple(calls)


def _tool_result(
    entry: Mapping[str, Any], parts: tuple[Part, ...], place: str, fault: Callable[[str, str], None]
) -> ToolResultPart:
    call_id = entry.get("tool_call_id")
    if not isinstance(call_id, str):
        fault(f"{place}.tool_call_id", "It must name the call this is the result of.")
        call_id = ""
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    return ToolResultPart(tool_call_id=call_id, content=text)
