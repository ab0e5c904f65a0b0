"""OpenAI's `POST /v1/chat/completions`: the answer whole, and in chunks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from apps.sandbox import words
from apps.sandbox.answer import Answer, Ask, Tool, ToolCall, answer
from apps.sandbox.http import Reply, Request, Stream, json_reply
from apps.sandbox.openai.checks import chat_body, is_reasoning

IMAGE_TOKENS = 85
MESSAGE_TOKENS = 4

_FINISH_REASONS = {"end": "stop", "stop_sequence": "stop", "length": "length", "tool": "tool_calls"}
_REASONING_TOKENS = {"none": 0, "minimal": 8, "low": 32, "medium": 64, "high": 128, "xhigh": 192, "max": 256}
_MESSAGE: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
_REFUSAL = "I'm sorry, but I can't help with that request."


def chat_completions(request: Request) -> Reply | Stream:
    body = chat_body(request)
    answers = [] if request.is_refused else [answer(ask) for ask in _asks(body)]
    completion = _Completion(body, answers)
    if body.get("stream"):
        error = {"message": "The server had an error while processing your request.", "type": "server_error"}
        return Stream(
            frames=completion.frames(), failure=(_frame({"error": error | {"param": None, "code": None}}),)
        )
    return json_reply(completion.body())


def _asks(body: Mapping[str, Any]) -> Iterator[Ask]:
    messages = body["messages"]
    asked = [index for index, message in enumerate(messages) if message["role"] == "user"]
    turn = messages[asked[-1] :] if asked else messages
    tools, must_call = _tools(body)
    stop = body.get("stop") or ()
    ask = Ask(
        fingerprint=words.fingerprint(
            body["model"], messages, body.get("seed"), body.get("tools"), body.get("response_format")
        ),
        prompt=_text(turn[0]) if asked else "",
        system="\n".join(
            _text(message) for message in messages if message["role"] in ("system", "developer")
        ),
        tool_results=tuple(_text(message) for message in turn if message["role"] == "tool"),
        images=_images([turn[0]]),
        max_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        schema=_schema(body.get("response_format") or {}),
        tools=tools,
        must_call=must_call,
        is_parallel=body.get("parallel_tool_calls", True),
        thinking=_REASONING_TOKENS[body.get("reasoning_effort", "medium")]
        if is_reasoning(body["model"])
        else 0,
    )
    for variant in range(body.get("n", 1)):
        yield msgspec.structs.replace(ask, variant=variant)


def _tools(body: Mapping[str, Any]) -> tuple[tuple[Tool, ...], bool]:
    """The tools that may be called, and whether one must be."""
    tools = []
    for entry in body.get("tools", ()):
        inner = entry[entry["type"]]
        is_custom = entry["type"] == "custom"
        tools.append(Tool(name=inner["name"], schema=inner.get("parameters") or {}, is_custom=is_custom))
    choice = body.get("tool_choice", "auto")
    if choice == "none":
        return (), False
    if isinstance(choice, str):
        return tuple(tools), choice == "required"
    if choice.get("type") == "allowed_tools":
        allowed = choice["allowed_tools"]
        names = {entry.get(entry.get("type"), {}).get("name") for entry in allowed["tools"]}
        return tuple(tool for tool in tools if tool.name in names), allowed.get("mode") == "required"
    name = choice[choice["type"]]["name"]
    return tuple(tool for tool in tools if tool.name == name), True


def _schema(form: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if form.get("type") == "json_object":
        return {}
    return (form["json_schema"].get("schema") or {}) if form.get("type") == "json_schema" else None


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(message: Mapping[str, Any]) -> str:
    return "\n".join(part["text"] for part in _parts(message) if part["type"] == "text")


def _images(messages: Sequence[Mapping[str, Any]]) -> int:
    return sum(part["type"] == "image_url" for message in messages for part in _parts(message))


class _Completion:
    """One completion: what both its forms share. No answers: the refusal."""

    def __init__(self, body: Mapping[str, Any], answers: Sequence[Answer]) -> None:
        self._asked = body
        self._answers = answers
        tier = body.get("service_tier", "auto")
        self._head = {
            "id": f"chatcmpl-{secrets.token_urlsafe(21)}",
            "object": "chat.completion.chunk" if body.get("stream") else "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "service_tier": "default" if tier == "auto" else tier,
            "system_fingerprint": "fp_5a4db0c5e1",
        }

    def body(self) -> dict[str, Any]:
        choices = [self._choice(index, said) for index, said in enumerate(self._answers)]
        if not choices:
            message = _MESSAGE | {"refusal": _REFUSAL}
            choices = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]
        return self._head | {"choices": choices, "usage": self._usage()}

    def _choice(self, index: int, said: Answer) -> dict[str, Any]:
        message = _MESSAGE | {"content": said.text}
        if said.calls:
            message = _MESSAGE | {"tool_calls": [_call_body(call) for call in said.calls]}
        return {
            "index": index,
            "message": message,
            "finish_reason": _FINISH_REASONS[said.ending],
            "logprobs": self._logprobs(words.pieces(said.text)),
        }

    def frames(self) -> Iterator[bytes]:
        for index, said in enumerate(self._answers):
            yield from self._choice_frames(index, said)
        if not self._answers:
            yield self._chunk(0, {"role": "assistant", "content": "", "refusal": None})
            for piece in words.pieces(_REFUSAL):
                yield self._chunk(0, {"refusal": piece})
            yield self._chunk(0, {}, "stop")
        if self._counts_usage():
            yield _frame(self._head | {"choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def _choice_frames(self, index: int, said: Answer) -> Iterator[bytes]:
        content = None if said.calls else ""
        yield self._chunk(index, {"role": "assistant", "content": content, "refusal": None})
        for number, call in enumerate(said.calls):
            for delta in _call_deltas(number, call):
                yield self._chunk(index, {"tool_calls": [delta]})
        for piece in words.pieces(said.text):
            yield self._chunk(index, {"content": piece})
        yield self._chunk(index, {}, _FINISH_REASONS[said.ending])

    def _chunk(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        logprobs = self._logprobs([delta["content"]] if delta.get("content") else [])
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        chunk = self._head | {"choices": [choice]}
        if self._counts_usage():
            chunk["usage"] = None
        if self._stream_options().get("include_obfuscation", True):
            chunk["obfuscation"] = secrets.token_urlsafe(12)[: secrets.randbelow(16) + 1]
        return _frame(chunk)

    def _stream_options(self) -> dict[str, Any]:
        options: dict[str, Any] = self._asked.get("stream_options") or {}
        return options

    def _counts_usage(self) -> bool:
        return bool(self._stream_options().get("include_usage"))

    def _logprobs(self, pieces: Sequence[str]) -> dict[str, Any] | None:
        if not self._asked.get("logprobs") or not pieces:
            return None
        wanted = self._asked.get("top_logprobs", 0)
        content = []
        for piece in pieces:
            entry = {"token": piece, "logprob": -0.05, "bytes": list(piece.encode())}
            content.append(entry | {"top_logprobs": [entry][:wanted]})
        return {"content": content, "refusal": None}

    def _usage(self) -> dict[str, Any]:
        """Cached and written tokens are inside the prompt's, reasoning inside the completion's."""
        asked, messages = self._asked, self._asked["messages"]
        images = _images(messages) * IMAGE_TOKENS
        extras = [
            msgspec.json.encode(asked[name]).decode()
            for name in ("tools", "response_format")
            if name in asked
        ]
        calls = [
            msgspec.json.encode(calls).decode()
            for message in messages
            if (calls := message.get("tool_calls"))
        ]
        texts = words.prompt_tokens([*map(_text, messages), *calls, *extras])
        prompt = texts + images + MESSAGE_TOKENS * len(messages)
        is_cached = bool(asked.get("prompt_cache_key"))
        is_reasoner = is_reasoning(asked["model"])
        reasoning = sum(said.thinking_tokens for said in self._answers)
        spoken = sum(said.output_tokens for said in self._answers) or len(words.pieces(_REFUSAL)) * (
            not self._answers
        )
        return {
            "prompt_tokens": prompt,
            "completion_tokens": spoken + reasoning,
            "total_tokens": prompt + spoken + reasoning,
            "prompt_tokens_details": {
                "cached_tokens": prompt // 2 if is_cached else 0,
                # Only reasoning models have a price for writing to the cache.
                "cache_write_tokens": prompt // 4 if is_cached and is_reasoner else 0,
                "audio_tokens": 0,
            }
            | ({"image_tokens": images} if images else {}),
            "completion_tokens_details": {
                "reasoning_tokens": reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def _call_body(call: ToolCall) -> dict[str, Any]:
    head = {"id": f"call_{secrets.token_hex(12)}"}
    if call.tool.is_custom:
        return head | {"type": "custom", "custom": {"name": call.tool.name, "input": call.text}}
    return head | {"type": "function", "function": {"name": call.tool.name, "arguments": call.text}}


def _call_deltas(number: int, call: ToolCall) -> Iterator[dict[str, Any]]:
    """Who is called comes first, with nothing said; then what is said, in pieces."""
    whole = _call_body(call)
    kind = whole["type"]
    field = "input" if call.tool.is_custom else "arguments"
    yield {"index": number} | whole | {kind: {"name": call.tool.name, field: ""}}
    for piece in words.pieces(call.text):
        yield {"index": number, kind: {field: piece}}


def _frame(body: Mapping[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
