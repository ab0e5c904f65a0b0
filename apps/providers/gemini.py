"""Google's Gemini API with an API key (not Vertex).

Facts a model's profile may hold:
- sampling: False leaves out temperature, topP and topK, deprecated from gemini-3.6 on.
- structured_output: False for models that can't write JSON to a schema; the caller's own check is then all there is.

Left out, having no place in this API: a limit of one tool call at a time, the end user's id, and reasoning in the
history, of which only the signatures matter, and those travel with the tool calls.
Source: docs of models.generateContent and Google's discovery document (read 2026-11-23).
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import httpx

from apps.core.errors import GatewayError, InvalidRequest
from apps.providers import faults, wire
from apps.providers.base import StreamFormat
from apps.providers.gemini_answer import GeminiStream, fault, read_answer, retry_delay_s
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

DEFAULT_BASE_URL = "https://generativelanguage.googleapis.com"

# `model` and `stream` are no fields here, but a caller who says them is still not to be heard.
_FIXED = frozenset({"model", "contents", "stream", "generationConfig"})
_SAMPLING = ("temperature", "topP", "topK")

_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
_THINKING_LEVELS = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}

# From Gemini 3 on, a step whose first call is unsigned is a 400. Calls that another model made, or whose client
# dropped the signature, have none; this is Google's own word for that case.
_NO_SIGNATURE = "skip_thought_signature_validator"


class GeminiAdapter:
    default_base_url = DEFAULT_BASE_URL

    def build_text_request(self, spec: ModelSpec, request: TextRequest, *, stream: bool) -> httpx.Request:
        return wire.json_request(
            _head(spec.base_url, spec.model, stream, spec.api_key, spec.headers, spec.provider),
            _body(spec, request),
        )

    def parse_text_result(self, spec: ModelSpec, body: bytes) -> TextResult:
        return read_answer(spec, body)

    def text_stream_parser(self, spec: ModelSpec) -> GeminiStream:
        return GeminiStream(spec)

    def stream_format(self, spec: ModelSpec) -> StreamFormat:
        return "sse"

    def parse_error(
        self, spec: ModelSpec, status: int, headers: Mapping[str, str], body: bytes
    ) -> GatewayError:
        error = faults.error_object(body)
        wait_s = retry_delay_s(error)
        return fault(
            spec, error, status=status, wait_s=faults.retry_after_s(headers) if wait_s is None else wait_s
        )


@lru_cache(maxsize=wire.HEADS_KEPT)
def _head(
    base_url: str,
    model: str,
    stream: bool,
    api_key: str,
    extra: tuple[tuple[str, str], ...],
    provider: str,
) -> wire.Head:
    # Without alt=sse the stream is one JSON array written piecemeal.
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    # The model's name came from a person: quoted whole, it can't climb out of its place in the path.
    name = quote(model.removeprefix("models/"), safe="")
    url = f"{base_url.rstrip('/')}/v1beta/models/{name}:{method}"
    return wire.json_head(url, {"x-goog-api-key": api_key}, extra, provider=provider)


def _body(spec: ModelSpec, request: TextRequest) -> dict[str, Any]:
    body: dict[str, Any] = {"contents": _contents(request.messages)}
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.tools:
        body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in request.tools]}]
        if request.tool_choice is not None:
            body["toolConfig"] = {"functionCallingConfig": _calling_config(request.tool_choice)}
    if request.extra:
        wire.add_extra(body, request.extra, fixed=_FIXED)
    if config := _generation_config(spec.profile, request):
        body["generationConfig"] = config
    return body


def _generation_config(profile: Mapping[str, Any], request: TextRequest) -> dict[str, Any]:
    """The caller's own generationConfig is merged over ours, one level deep."""
    config = wire.said_only(
        maxOutputTokens=request.max_tokens,
        temperature=request.temperature,
        topP=request.top_p,
        stopSequences=request.stop or None,
        seed=request.seed,
        presencePenalty=request.presence_penalty,
        frequencyPenalty=request.frequency_penalty,
    )
    if request.reasoning_effort is not None:
        level = _THINKING_LEVELS.get(request.reasoning_effort)
        config["thinkingConfig"] = {"thinkingLevel": level or request.reasoning_effort.upper()}
    wanted = request.response_format
    if wanted is not None and profile.get("structured_output") is not False:
        config["responseMimeType"] = "application/json"
        if wanted.json_schema is not None:
            config["responseJsonSchema"] = wanted.json_schema
    extra = request.extra.get("generationConfig")
    if isinstance(extra, Mapping):
        config.update(extra)
    if profile.get("sampling") is False:
        for name in _SAMPLING:
            config.pop(name, None)
    return config


def _declaration(tool: Tool) -> dict[str, Any]:
    return wire.said_only(
        name=tool.name,
        description=tool.description or None,
        parametersJsonSchema=tool.parameters or None,
    )


def _calling_config(choice: ToolChoice) -> dict[str, Any]:
    config: dict[str, Any] = {"mode": _MODES[choice.mode]}
    if choice.mode == "tool":
        config["allowedFunctionNames"] = [choice.name or ""]
    return config


# --- contents -----------------------------------------------------------------------------------------------


def _contents(messages: Messages) -> list[dict[str, Any]]:
    """user and model by turns; tool results are the user's, and neighbours of one role become one content."""
    turns: list[tuple[Literal["user", "model"], list[dict[str, Any]]]] = []
    names: dict[str, str] = {}  # call id -> function name: results are matched by name here
    for message in messages:
        role: Literal["user", "model"] = "model" if message.role == "assistant" else "user"
        parts = _model_parts(message, names) if role == "model" else _user_parts(message.parts, names)
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(parts)
        elif parts:
            turns.append((role, parts))
    return [{"role": role, "parts": parts} for role, parts in turns]


def _user_parts(parts: Sequence[Part], names: Mapping[str, str]) -> list[dict[str, Any]]:
    return [_user_part(part, names) for part in parts if not _is_empty(part)]


def _is_empty(part: Part) -> bool:
    """An empty text is a 400 here, and other makers' answers do hold them."""
    return isinstance(part, TextPart) and not part.text


def _user_part(part: Part, names: Mapping[str, str]) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"text": part.text}
    if isinstance(part, ImagePart):
        return _image(part)
    if isinstance(part, ToolResultPart):
        return {"functionResponse": _function_response(part, names)}
    raise InvalidRequest("A user message can hold text, images and tool results only.")


def _model_parts(message: Message, names: dict[str, str]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    is_first_call = True
    for part in message.parts:
        if _is_empty(part):
            continue
        if isinstance(part, TextPart):
            parts.append({"text": part.text})
        elif isinstance(part, ToolCallPart):
            names[part.id] = part.name
            parts.append(_function_call(part, needs_signature=is_first_call))
            is_first_call = False
        elif not isinstance(part, ReasoningPart):
            raise InvalidRequest("An assistant message can hold text, reasoning and tool calls only.")
    return parts


def _function_call(part: ToolCallPart, *, needs_signature: bool) -> dict[str, Any]:
    """Of parallel calls only the first is signed."""
    call = {"id": part.id, "name": part.name, "args": wire.tool_input(part.arguments)}
    signature = part.signature or (_NO_SIGNATURE if needs_signature else None)
    return wire.said_only(functionCall=call, thoughtSignature=signature)


def _function_response(part: ToolResultPart, names: Mapping[str, str]) -> dict[str, Any]:
    name = part.name or names.get(part.tool_call_id)
    if name is None:
        raise InvalidRequest(
            f"The tool result for {part.tool_call_id!r} answers no tool call before it, and names no tool."
        )
    response: Mapping[str, Any]
    if part.is_error:
        response = {"error": part.content}
    else:
        found = wire.json_object(part.content) if part.content.lstrip().startswith("{") else None
        response = {"result": part.content} if found is None else found
    return {"id": part.tool_call_id, "name": name, "response": response}


def _image(part: ImagePart) -> dict[str, Any]:
    inline = wire.inline_image(part)
    if inline is not None:
        return {"inlineData": {"mimeType": inline[0], "data": inline[1]}}
    url = part.url or ""
    media_type = part.media_type or mimetypes.guess_type(urlsplit(url).path)[0]
    return {"fileData": wire.said_only(fileUri=url, mimeType=media_type)}
