"""Anthropic's messages.

Facts a model's profile may hold:
- anthropic_version: the dated API, "2023-06-01" unless said; from "2026-10-21" on it takes no sampling parameters.
- max_output_tokens: what is asked for when the caller names no max_tokens, which this API requires (4096).
- sampling: False for models that answer 400 to temperature, top_p and top_k, as all current ones do: left out.
- structured_output: True where output_config.format and strict tools work; else the caller's own check is all
  there is.
- effort: True where output_config.effort works.

Left out, having no place in this API: seed and the penalties, which are hints, and reasoning without a signature.
Source: docs of POST /v1/messages and the generated SDK (read 2026-11-23).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import httpx

from apps.core.errors import GatewayError, InvalidRequest
from apps.providers import faults, wire
from apps.providers.anthropic_answer import AnthropicStream, fault, read_answer
from apps.providers.base import StreamFormat
from apps.providers.schemas import schema_closed
from apps.providers.types import (
    ImagePart,
    Message,
    Messages,
    ModelSpec,
    Part,
    ReasoningPart,
    TextPart,
    TextRequest,
    TextResult,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)

DEFAULT_BASE_URL = "https://api.anthropic.com"
DEFAULT_VERSION = "2023-06-01"
DEFAULT_MAX_TOKENS = 4096

_FIXED = frozenset({"model", "messages", "stream"})
_SAMPLING = ("temperature", "top_p", "top_k")

_CHOICES = {"auto": "auto", "none": "none", "required": "any", "tool": "tool"}
# OpenAI's scale on Anthropic's; "none" is not an effort here but thinking switched off.
_EFFORTS = {"minimal": "low"}

# What a tool call's id may hold; other makers' ids come along in a conversation that changes models.
_ID_BREAKERS = re.compile(r"[^a-zA-Z0-9_-]")


class AnthropicAdapter:
    default_base_url = DEFAULT_BASE_URL

    def build_text_request(self, spec: ModelSpec, request: TextRequest, *, stream: bool) -> httpx.Request:
        version = spec.profile.get("anthropic_version", DEFAULT_VERSION)
        return wire.json_request(
            _head(spec.base_url, spec.api_key, version, spec.headers, spec.provider),
            _body(spec, request, version, stream=stream),
        )

    def parse_text_result(self, spec: ModelSpec, body: bytes) -> TextResult:
        return read_answer(spec, body)

    def text_stream_parser(self, spec: ModelSpec) -> AnthropicStream:
        return AnthropicStream(spec)

    def stream_format(self, spec: ModelSpec) -> StreamFormat:
        return "sse"

    def parse_error(
        self, spec: ModelSpec, status: int, headers: Mapping[str, str], body: bytes
    ) -> GatewayError:
        return fault(spec, faults.error_object(body), status=status, wait_s=faults.retry_after_s(headers))


@lru_cache(maxsize=wire.HEADS_KEPT)
def _head(
    base_url: str, api_key: str, version: str, extra: tuple[tuple[str, str], ...], provider: str
) -> wire.Head:
    headers = {"x-api-key": api_key, "anthropic-version": version}
    return wire.json_head(f"{base_url.rstrip('/')}/v1/messages", headers, extra, provider=provider)


def _body(spec: ModelSpec, request: TextRequest, version: str, *, stream: bool) -> dict[str, Any]:
    profile = spec.profile
    max_tokens = request.max_tokens
    body = wire.said_only(
        model=spec.model,
        max_tokens=profile.get("max_output_tokens", DEFAULT_MAX_TOKENS) if max_tokens is None else max_tokens,
        messages=_messages(request.messages),
        system=request.system or None,
        temperature=request.temperature,
        top_p=request.top_p,
        stop_sequences=request.stop or None,
        metadata={"user_id": request.user} if request.user else None,
    )
    if request.tools:
        is_strict = profile.get("structured_output") is True
        body["tools"] = [_tool(tool, is_strict=is_strict) for tool in request.tools]
        if request.tool_choice is not None:
            body["tool_choice"] = _tool_choice(request.tool_choice)
    body.update(_output_fields(profile, request))
    if request.extra:
        wire.add_extra(body, request.extra, fixed=_FIXED)
    if profile.get("sampling", version == DEFAULT_VERSION) is False:
        for name in _SAMPLING:
            body.pop(name, None)
    if stream:
        body["stream"] = True
    return body


def _output_fields(profile: Mapping[str, Any], request: TextRequest) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    config: dict[str, Any] = {}
    wanted, effort = request.response_format, request.reasoning_effort
    if wanted is not None and wanted.json_schema is not None and profile.get("structured_output") is True:
        # A schema that says it is strict goes as it is and may be refused; any other is made to fit, or left to words.
        schema = wanted.json_schema if wanted.strict else schema_closed(wanted.json_schema)
        if schema is not None:
            config["format"] = {"type": "json_schema", "schema": schema}
    if effort is not None and profile.get("effort") is True:
        if effort == "none":
            fields["thinking"] = {"type": "disabled"}
        else:
            config["effort"] = _EFFORTS.get(effort, effort)
    if config:
        fields["output_config"] = config
    return fields


def _tool(tool: Tool, *, is_strict: bool) -> dict[str, Any]:
    return wire.said_only(
        name=tool.name,
        description=tool.description or None,
        input_schema=tool.parameters or {"type": "object", "properties": {}},
        strict=True if is_strict and tool.strict else None,
    )


def _tool_choice(choice: ToolChoice) -> dict[str, Any]:
    fields = {"type": _CHOICES[choice.mode]}
    if choice.mode == "tool":
        fields["name"] = choice.name or ""
    if choice.parallel is None or choice.mode == "none":
        return fields
    return fields | {"disable_parallel_tool_use": not choice.parallel}


# --- messages -----------------------------------------------------------------------------------------------


def _messages(messages: Messages) -> list[dict[str, Any]]:
    """user and assistant by turns: tool results are the user's, and neighbours of one role become one message."""
    turns: list[tuple[Literal["user", "assistant"], list[dict[str, Any]]]] = []
    for message in messages:
        role: Literal["user", "assistant"] = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        elif blocks:
            turns.append((role, blocks))
    return [{"role": role, "content": _content(blocks)} for role, blocks in turns]


def _content(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        text: str = blocks[0]["text"]
        return text
    # Results that don't come first are a 400. The sort is stable.
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _blocks(message: Message) -> list[dict[str, Any]]:
    read = _assistant_block if message.role == "assistant" else _user_block
    return [block for part in message.parts if (block := read(part)) is not None]


def _user_block(part: Part) -> dict[str, Any] | None:
    if isinstance(part, TextPart):
        return _text(part)
    if isinstance(part, ImagePart):
        return {"type": "image", "source": _image_source(part)}
    if not isinstance(part, ToolResultPart):
        raise InvalidRequest("A user message can hold text, images and tool results only.")
    block = {"type": "tool_result", "tool_use_id": _call_id(part.tool_call_id), "content": part.content}
    return block | {"is_error": True} if part.is_error else block


def _assistant_block(part: Part) -> dict[str, Any] | None:
    if isinstance(part, TextPart):
        return _text(part)
    if isinstance(part, ReasoningPart):
        return _thinking(part)
    if not isinstance(part, ToolCallPart):
        raise InvalidRequest("An assistant message can hold text, reasoning and tool calls only.")
    return {
        "type": "tool_use",
        "id": _call_id(part.id),
        "name": part.name,
        "input": wire.tool_input(part.arguments),
    }


def _text(part: TextPart) -> dict[str, Any] | None:
    """None for an empty text: such a block is a 400 here, and other makers' answers do hold them."""
    return {"type": "text", "text": part.text} if part.text else None


def _thinking(part: ReasoningPart) -> dict[str, Any] | None:
    if part.redacted is not None:
        return {"type": "redacted_thinking", "data": part.redacted}
    # Unsigned, it is another maker's, and would be refused.
    if part.signature is None:
        return None
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _image_source(part: ImagePart) -> dict[str, Any]:
    inline = wire.inline_image(part)
    if inline is None:
        return {"type": "url", "url": part.url}
    return {"type": "base64", "media_type": inline[0], "data": inline[1]}


def _call_id(call_id: str) -> str:
    return _ID_BREAKERS.sub("_", call_id)
