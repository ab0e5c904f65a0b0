"""What Anthropic refuses in `messages`: roles, blocks, tool uses without results, thinking not its own."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from apps.sandbox.maker import Fault

MAX_BREAKPOINTS = 4

_MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_USER = ("text", "image", "document", "search_result", "tool_result", "container_upload")
_ASSISTANT = ("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "document")
# block type -> the fields it cannot do without, and their types
_FIELDS: dict[str, dict[str, tuple[type, str]]] = {
    "text": {"text": (str, "string")},
    "image": {"source": (dict, "dictionary")},
    "document": {"source": (dict, "dictionary")},
    "tool_use": {"id": (str, "string"), "name": (str, "string"), "input": (dict, "dictionary")},
    "tool_result": {"tool_use_id": (str, "string")},
    "thinking": {"thinking": (str, "string"), "signature": (str, "string")},
    "redacted_thinking": {"data": (str, "string")},
}


def signature(thinking: str) -> str:
    """The seal under a thinking block: only the sandbox's own thinking, unaltered, is taken back."""
    return base64.b64encode(b"sandbox/" + hashlib.sha256(thinking.encode()).digest()).decode()


def check_messages(messages: list[Any], *, is_new_version: bool, may_prefill: bool) -> None:
    if not messages:
        raise _invalid("messages", "at least one message is required")
    for index, message in enumerate(messages):
        place = f"messages.{index}"
        _check_message(message, place, is_last=index == len(messages) - 1)
        if is_new_version:
            _check_new_version(message, place)
    if messages[0]["role"] != "user":
        raise _invalid("messages", 'first message must use the "user" role')
    if messages[-1]["role"] == "assistant":
        _check_prefill(messages[-1], may_prefill=may_prefill)
    _check_tool_results(messages)
    if _breakpoints(messages) > MAX_BREAKPOINTS:
        text = f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided."
        raise Fault(400, f"{text} Found {_breakpoints(messages)}.")


def check_blocks(blocks: list[Any], place: str, *, kinds: tuple[str, ...]) -> None:
    for number, block in enumerate(blocks):
        _check_block(block, f"{place}.{number}", kinds)


def blocks_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _check_message(message: Any, place: str, *, is_last: bool) -> None:
    if not isinstance(message, dict):
        raise _invalid(place, "Input should be a valid dictionary")
    for name in ("role", "content"):
        if name not in message:
            raise _invalid(f"{place}.{name}", "Field required")
    role, content = message["role"], message["content"]
    if role == "system":
        text = (
            'Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system"'
        )
        raise _invalid("messages", f"{text} as an input message role.")
    if role not in ("user", "assistant"):
        raise _invalid(f"{place}.role", "Input should be 'user' or 'assistant'")
    if not isinstance(content, (str, list)):
        raise _invalid(f"{place}.content", "Input should be a valid list")
    if not content and not (is_last and role == "assistant"):
        raise _invalid(
            place, "all messages must have non-empty content except for the optional final assistant message"
        )
    if isinstance(content, list):
        check_blocks(content, f"{place}.content", kinds=_USER if role == "user" else _ASSISTANT)
    elif content and not content.strip():
        raise _invalid("messages", "text content blocks must contain non-whitespace text")


def _check_block(block: Any, place: str, kinds: tuple[str, ...]) -> None:
    if not isinstance(block, dict):
        raise _invalid(place, "Input should be a valid dictionary")
    kind = block.get("type")
    is_server_result = isinstance(kind, str) and kind.endswith("_tool_result")
    if kind not in kinds and not is_server_result:
        expected = ", ".join(f"'{one}'" for one in kinds)
        text = f"Input tag '{kind}' found using 'type' does not match any of the expected tags: {expected}"
        raise _invalid(place, text)
    for name, (expected_type, word) in _FIELDS.get(str(kind), {}).items():
        if name not in block:
            raise _invalid(f"{place}.{kind}.{name}", "Field required")
        if not isinstance(block[name], expected_type):
            raise _invalid(f"{place}.{kind}.{name}", f"Input should be a valid {word}")
    match kind:
        case "text" if not block["text"]:
            raise _invalid("messages", "text content blocks must be non-empty")
        case "text" if not block["text"].strip():
            raise _invalid("messages", "text content blocks must contain non-whitespace text")
        case "image":
            _check_image(block["source"], f"{place}.image.source")
        case "tool_use" if not re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]):
            raise _invalid(f"{place}.tool_use.id", "String should match pattern '^[a-zA-Z0-9_-]+$'")
        case "thinking" if block["signature"] != signature(block["thinking"]):
            raise _invalid(place, "Invalid `signature` in `thinking` block")
        case "tool_result" if isinstance(block.get("content"), list):
            kinds = ("text", "image", "document", "search_result")
            check_blocks(block["content"], f"{place}.tool_result.content", kinds=kinds)
        case "tool_result" if not isinstance(block.get("content", ""), str):
            raise _invalid(f"{place}.tool_result.content", "Input should be a valid string")


def _check_image(source: Mapping[str, Any], place: str) -> None:
    kind = source.get("type")
    if kind == "url" and re.match("https?://", str(source.get("url"))):
        return
    if kind == "file" and source.get("file_id"):
        return
    if kind != "base64":
        raise _invalid(
            place, f"Input tag '{kind}' does not match any of the expected tags: 'base64', 'file', 'url'"
        )
    if source.get("media_type") not in _MEDIA_TYPES:
        expected = ", ".join(f"'{one}'" for one in _MEDIA_TYPES)
        raise _invalid(f"{place}.base64.media_type", f"Input should be {expected}")
    try:
        base64.b64decode(str(source.get("data") or "?"), validate=True)
    except binascii.Error:
        raise _invalid(f"{place}.base64", "invalid base64 data") from None


def _check_new_version(message: Mapping[str, Any], place: str) -> None:
    for number, block in enumerate(blocks_of(message)):
        if message["role"] == "assistant" and block["type"] == "document":
            raise _invalid(
                f"{place}.content.{number}", "`document` blocks are not permitted in assistant messages"
            )
        if message["role"] == "user" and block["type"] == "text" and block.get("citations"):
            raise _invalid(f"{place}.content.{number}.text.citations", "must be empty on user text blocks")


def _check_prefill(message: Mapping[str, Any], *, may_prefill: bool) -> None:
    if not may_prefill:
        text = "This model does not support assistant message prefill. The conversation must end with a user message."
        raise Fault(400, text)
    blocks = blocks_of(message)
    if blocks and str(blocks[-1].get("text", "")).endswith((" ", "\n")):
        raise _invalid("messages", "final assistant content cannot end with trailing whitespace")


def _check_tool_results(messages: list[Any]) -> None:
    """Every tool use is answered at the head of the next message, and nothing else is."""
    awaited: list[str] = []
    for index, message in enumerate(messages):
        blocks = blocks_of(message)
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        head = [block["type"] for block in blocks[: len(answered)]]
        if stray := [identifier for identifier in answered if identifier not in awaited]:
            text = f"unexpected `tool_use_id` found in `tool_result` blocks: {stray[0]}. Each `tool_result` block must"
            raise _invalid(
                f"messages.{index}", f"{text} have a corresponding `tool_use` block in the previous message."
            )
        left = [identifier for identifier in awaited if identifier not in answered]
        if left or (awaited and set(head) != {"tool_result"}):
            text = "`tool_use` ids were found without `tool_result` blocks immediately after"
            raise _invalid(f"messages.{index - 1}", f"{text}: {', '.join(left or awaited)}.")
        awaited = [block["id"] for block in blocks if block["type"] == "tool_use"]
    if awaited:
        text = "`tool_use` ids were found without `tool_result` blocks immediately after"
        raise _invalid(f"messages.{len(messages) - 1}", f"{text}: {', '.join(awaited)}.")


def _breakpoints(messages: list[Any]) -> int:
    return sum(bool(block.get("cache_control")) for message in messages for block in blocks_of(message))


def _invalid(place: str, fault: str) -> Fault:
    return Fault(400, f"{place}: {fault}")
