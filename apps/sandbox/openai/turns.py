"""What OpenAI refuses in `messages`: roles, parts, and tool calls without their results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from apps.sandbox.maker import Fault
from apps.sandbox.openai.faults import missing, wrong_type, wrong_value

_PARTS = {
    "system": ("text",),
    "developer": ("text",),
    "tool": ("text",),
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal"),
}
_IMAGE_URL = re.compile(r"https?://|data:image/[\w.+-]+;base64,")


def check_messages(messages: Any) -> None:
    if messages is None:
        raise missing("messages")
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array of objects", messages)
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise Fault(400, message, code="empty_array", param="messages")
    awaited: set[str] = set()
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if not isinstance(message, dict):
            raise wrong_type(place, "an object", message)
        role = message.get("role")
        if role is None:
            raise missing(f"{place}.role")
        if role not in tuple(_PARTS):
            raise wrong_value(f"{place}.role", role, tuple(_PARTS))
        _check_content(message, place)
        awaited = _check_order(message, place, awaited)
    if awaited:
        raise _unanswered(awaited, "messages")


def _check_content(message: Mapping[str, Any], place: str) -> None:
    content, role = message.get("content"), message["role"]
    if content is None:
        if role == "assistant" and (message.get("tool_calls") or message.get("refusal")):
            return
        if "content" in message:
            raise wrong_type(f"{place}.content", "a string", None)
        raise missing(f"{place}.content")
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise wrong_type(f"{place}.content", "one of a string or array of objects", content)
    for number, part in enumerate(content):
        _check_part(part, f"{place}.content[{number}]", _PARTS[role])


def _check_part(part: Any, place: str, kinds: tuple[str, ...]) -> None:
    if not isinstance(part, dict):
        raise wrong_type(place, "an object", part)
    kind = part.get("type")
    if kind is None:
        raise missing(f"{place}.type")
    if kind not in kinds:
        raise wrong_value(f"{place}.type", kind, kinds)
    if kind not in part:
        raise missing(f"{place}.{kind}")
    expected, word = (str, "a string") if kind in ("text", "refusal") else (dict, "an object")
    if not isinstance(part[kind], expected):
        raise wrong_type(f"{place}.{kind}", word, part[kind])
    if kind == "image_url" and not _IMAGE_URL.match(str(part[kind].get("url"))):
        text = (
            "Invalid image URL. Expected an http(s) URL or a base64-encoded data URL with an image MIME type."
        )
        raise Fault(400, text, code="invalid_image_url", param=f"{place}.image_url.url")


def _check_order(message: Mapping[str, Any], place: str, awaited: set[str]) -> set[str]:
    """The ids of the tool calls still unanswered after this message."""
    if message["role"] == "tool":
        identifier = message.get("tool_call_id")
        if identifier is None:
            raise missing(f"{place}.tool_call_id")
        if identifier not in tuple(awaited):
            text = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
            raise Fault(400, f"Invalid parameter: {text}", param=f"{place}.role")
        return awaited - {identifier}
    if awaited:
        raise _unanswered(awaited, f"{place}.role")
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise wrong_type(f"{place}.tool_calls", "an array of objects", calls)
    return {_call_id(call, f"{place}.tool_calls[{number}]") for number, call in enumerate(calls)}


def _call_id(call: Any, place: str) -> str:
    if not isinstance(call, dict):
        raise wrong_type(place, "an object", call)
    for field in ("id", "type"):
        if field not in call:
            raise missing(f"{place}.{field}")
        if not isinstance(call[field], str):
            raise wrong_type(f"{place}.{field}", "a string", call[field])
    kind = call["type"]
    if kind not in ("function", "custom"):
        raise wrong_value(f"{place}.type", kind, ("function", "custom"))
    if not isinstance(called := call.get(kind), dict):
        raise missing(f"{place}.{kind}")
    said = "arguments" if kind == "function" else "input"
    for field in ("name", said):
        if not isinstance(called.get(field), str):
            raise wrong_type(f"{place}.{kind}.{field}", "a string", called.get(field))
    return str(call["id"])


def _unanswered(identifiers: set[str], param: str) -> Fault:
    message = (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
        "'tool_call_id'. The following tool_call_ids did not have response messages: "
    )
    return Fault(400, message + ", ".join(sorted(identifiers)), param=param)
