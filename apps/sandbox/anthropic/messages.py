"""Anthropic's `POST /v1/messages` and its token count: the message whole, and in events."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from apps.sandbox import words
from apps.sandbox.answer import Answer, Ask, Tool, answer
from apps.sandbox.anthropic.checks import messages_body, thinks_by_default
from apps.sandbox.anthropic.turns import blocks_of, signature
from apps.sandbox.http import Reply, Request, Stream, json_reply

IMAGE_TOKENS = 800
MESSAGE_TOKENS = 3
FIRST_OUTPUT_TOKENS = 2  # what message_start says before anything is written

_STOP_REASONS = {
    "end": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool": "tool_use",
}
_THINKING_TOKENS = {"low": 32, "medium": 64, "high": 128, "xhigh": 192, "max": 256}
_REFUSAL = {
    "type": "refusal",
    "category": "general_harms",
    "explanation": "This request was declined because it may lead to harm.",
}


def messages_create(request: Request) -> Reply | Stream:
    body = messages_body(request)
    message = _Message(body, None if request.is_refused else answer(_ask(body)))
    if body.get("stream"):
        error = {"type": "overloaded_error", "message": "Overloaded"}
        broken = {"type": "error", "error": error, "request_id": f"req_{request.id}"}
        return Stream(frames=message.frames(), failure=(_frame(broken),))
    return json_reply(message.body())


def count_tokens(request: Request) -> Reply:
    return json_reply({"input_tokens": _input_tokens(messages_body(request, is_count=True))})


def _ask(body: Mapping[str, Any]) -> Ask:
    messages = body["messages"]
    asked = [message for message in messages if message["role"] == "user"]
    prompts = [text for message in asked if (text := _text(blocks_of(message)))]
    last = blocks_of(messages[-1])
    choice = body.get("tool_choice", {})
    form = body.get("output_config", {}).get("format") or {}
    tools, must_call = _tools(body, choice)
    return Ask(
        fingerprint=words.fingerprint(body["model"], messages, body.get("system"), body.get("tools"), form),
        prompt=prompts[-1] if prompts else "",
        system=_system(body),
        tool_results=tuple(_result_text(block) for block in last if block["type"] == "tool_result"),
        images=sum(block["type"] == "image" for block in last),
        max_tokens=body["max_tokens"],
        stop=tuple(body.get("stop_sequences", ())),
        schema=form.get("schema"),
        tools=tools,
        must_call=must_call,
        is_parallel=not choice.get("disable_parallel_tool_use"),
        thinking=_thinking(body, must_call=must_call),
    )


def _tools(body: Mapping[str, Any], choice: Mapping[str, Any]) -> tuple[tuple[Tool, ...], bool]:
    """The tools that may be called, and whether one must be. Anthropic's own server tools are never called."""
    kind = choice.get("type", "auto")
    offered = [tool for tool in body.get("tools", ()) if tool.get("type") in (None, "custom")]
    tools = tuple(Tool(name=tool["name"], schema=tool["input_schema"]) for tool in offered)
    if kind == "tool":
        tools = tuple(tool for tool in tools if tool.name == choice["name"])
    return () if kind == "none" else tools, kind in ("any", "tool")


def _thinking(body: Mapping[str, Any], *, must_call: bool) -> int:
    default = "adaptive" if thinks_by_default(body["model"]) and not must_call else "disabled"
    kind = body.get("thinking", {}).get("type", default)
    effort = body.get("output_config", {}).get("effort") or "medium"
    return _THINKING_TOKENS[effort] if kind in ("adaptive", "enabled") else 0


def _text(blocks: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(block["text"] for block in blocks if block["type"] == "text")


def _system(body: Mapping[str, Any]) -> str:
    system = body.get("system", "")
    return system if isinstance(system, str) else _text(system)


def _result_text(block: Mapping[str, Any]) -> str:
    content = block.get("content") or ""
    return content if isinstance(content, str) else _text(content)


def _input_tokens(body: Mapping[str, Any]) -> int:
    texts, images = [_system(body)] if body.get("system") else [], 0
    for message in body["messages"]:
        for block in blocks_of(message):
            if block["type"] == "image":
                images += 1
            elif block["type"] in ("text", "tool_result"):
                texts.append(block.get("text") or _result_text(block))
            else:
                texts.append(msgspec.json.encode(block.get("input", "")).decode())
    if body.get("tools"):
        texts.append(msgspec.json.encode(body["tools"]).decode())
    return words.prompt_tokens(texts) + images * IMAGE_TOKENS + len(body["messages"]) * MESSAGE_TOKENS


class _Message:
    """One message: what both its forms share. No answer: the refusal."""

    def __init__(self, body: Mapping[str, Any], said: Answer | None) -> None:
        self._asked = body
        self._said = said or Answer(ending="end", output_tokens=FIRST_OUTPUT_TOKENS)
        self._head: dict[str, Any] = {
            "id": f"msg_01{secrets.token_urlsafe(16)}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
        }
        stopped = self._said.stop_sequence
        reason = _STOP_REASONS[self._said.ending]
        self._ending: dict[str, Any] = {"stop_reason": reason, "stop_sequence": stopped, "stop_details": None}
        if said is None:
            self._ending = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": _REFUSAL}

    def body(self) -> dict[str, Any]:
        return self._head | {"content": self._blocks()} | self._ending | {"usage": self._usage()}

    def frames(self) -> Iterator[bytes]:
        nothing = {"stop_reason": None, "stop_sequence": None, "stop_details": None}
        usage = self._usage() | {"output_tokens": FIRST_OUTPUT_TOKENS, "output_tokens_details": None}
        start = self._head | {"content": []} | nothing | {"usage": usage}
        yield _frame({"type": "message_start", "message": start})
        for index, block in enumerate(self._blocks()):
            yield _frame({"type": "content_block_start", "index": index, "content_block": _opened(block)})
            if index == 0:
                yield _frame({"type": "ping"})
            for delta in _deltas(block):
                yield _frame({"type": "content_block_delta", "index": index, "delta": delta})
            yield _frame({"type": "content_block_stop", "index": index})
        usage = {
            name: value
            for name, value in self._usage().items()
            if name not in ("cache_creation", "service_tier")
        }
        yield _frame({"type": "message_delta", "delta": self._ending, "usage": usage})
        yield _frame({"type": "message_stop"})

    def _blocks(self) -> list[dict[str, Any]]:
        said = self._said
        blocks: list[dict[str, Any]] = []
        if said.thinking_tokens:
            is_shown = self._asked.get("thinking", {}).get("display") != "omitted"
            thinking = said.thinking if is_shown else ""
            blocks.append({"type": "thinking", "thinking": thinking, "signature": signature(thinking)})
        if said.text:
            blocks.append({"type": "text", "text": said.text, "citations": None})
        for call in said.calls:
            head = {
                "type": "tool_use",
                "id": f"toolu_01{secrets.token_hex(11)}",
                "caller": {"type": "direct"},
            }
            blocks.append(head | {"name": call.tool.name, "input": call.arguments})
        return blocks

    def _usage(self) -> dict[str, Any]:
        """What was read from the cache or written to it stands beside `input_tokens`, not in it."""
        total = _input_tokens(self._asked)
        cache_control = _cache_control(self._asked)
        read, written = (total // 2, total // 4) if cache_control else (0, 0)
        is_hour = (cache_control or {}).get("ttl") == "1h"
        return {
            "input_tokens": total - read - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0 if is_hour else written,
                "ephemeral_1h_input_tokens": written if is_hour else 0,
            },
            "output_tokens": self._said.output_tokens + self._said.thinking_tokens,
            "output_tokens_details": {"thinking_tokens": self._said.thinking_tokens},
            "service_tier": "standard",
        }


def _opened(block: Mapping[str, Any]) -> dict[str, Any]:
    """The block before anything is in it."""
    empty: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
    }
    return dict(block) | empty[block["type"]]


def _deltas(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            for piece in words.pieces(block["text"]):
                yield {"type": "text_delta", "text": piece}
        case "thinking":
            for piece in words.pieces(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "tool_use":
            yield {"type": "input_json_delta", "partial_json": ""}
            for piece in words.pieces(msgspec.json.encode(block["input"]).decode()):
                yield {"type": "input_json_delta", "partial_json": piece}


def _cache_control(part: Any) -> dict[str, Any] | None:
    """The first cache breakpoint anywhere in the request."""
    if isinstance(part, dict):
        if isinstance(found := part.get("cache_control"), dict):
            return found
        # A tool's schema and a tool's input are the caller's own words, where the name means nothing.
        part = [value for name, value in part.items() if name not in ("input_schema", "input")]
    for inner in part if isinstance(part, list) else ():
        if found := _cache_control(inner):
            return found
    return None


def _frame(body: Mapping[str, Any]) -> bytes:
    name: str = body["type"]
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"
