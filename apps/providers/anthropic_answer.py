"""Anthropic's messages, the way back: whole answers, streams and failures as our nouns.

Source: docs of POST /v1/messages and the generated SDK, recorded answers (read 2026-11-23).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from apps.core.errors import ContentRefused, ProviderError, ProviderQuotaExhausted
from apps.providers import faults, wire
from apps.providers.types import (
    FinishReason,
    ModelSpec,
    Part,
    ReasoningPart,
    ServerSentEvent,
    TextChunk,
    TextPart,
    TextResult,
    ToolCallDelta,
    ToolCallPart,
    Usage,
)

_FINISH: Mapping[str, FinishReason] = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
}

# In the middle of a stream the type stands for the status.
_STATUS_BY_TYPE: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}

# Waiting helps against none of these; some come as a 429.
_MONEY_CODES = frozenset(
    {
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "linked_organization_spend_limit_reached",
        "linked_organization_billing_unavailable",
    }
)
# And two that are told apart from a malformed request by their sentence alone.
_MONEY_WORDS = ("credit balance is too low", "specified api usage limits")
_REFUSAL_WORDS = "blocked by content filtering policy"


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"")


class _Details(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: _Details | None = None


class _StopDetails(msgspec.Struct):
    category: str | None = None
    explanation: str | None = None


class _Answer(msgspec.Struct):
    """A whole answer, and the empty one a stream starts with."""

    id: str | None = None
    model: str | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: _StopDetails | None = None
    usage: _Usage | None = None
    error: Any = None


class _Delta(msgspec.Struct):
    """What is new in a block; in a message_delta, how it all ends."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: _StopDetails | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Answer | None = None
    usage: _Usage | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_EVENT = msgspec.json.Decoder(_Event)

_BLOCKS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
_DELTAS = frozenset({"text_delta", "thinking_delta", "signature_delta", "input_json_delta"})
_EVENTS = frozenset({"message_start", "content_block_start", "content_block_delta", "message_delta"})


# --- a whole answer -----------------------------------------------------------------------------------------


def read_answer(spec: ModelSpec, body: bytes) -> TextResult:
    """A whole answer. Raises ContentRefused when it ends in a refusal, ProviderError on nonsense."""
    answer = _answer(spec, body)
    if answer.error:
        raise fault(spec, faults.error_object(body))
    if answer.content is None:
        raise wire.nonsense(spec)
    usage = _neutral(answer.usage) if answer.usage is not None else None
    if answer.stop_reason == "refusal":
        raise _refused(spec, answer.stop_details, usage)
    return TextResult(
        parts=tuple(_parts(answer.content)),
        finish_reason=_FINISH.get(answer.stop_reason or "", FinishReason.UNKNOWN),
        usage=usage,
        model=answer.model,
        provider_request_id=answer.id,
        stop_sequence=answer.stop_sequence,
    )


def _answer(spec: ModelSpec, body: bytes) -> _Answer:
    try:
        return _ANSWER.decode(body)
    except msgspec.ValidationError:
        return _without_strangers(spec, body)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise wire.nonsense(spec) from exc


def _without_strangers(spec: ModelSpec, body: bytes) -> _Answer:
    """The answer less the blocks we don't know: one of theirs may use a name of ours for something else."""
    answer = faults.decoded(body)
    if isinstance(answer, dict) and isinstance(answer.get("content"), list):
        answer["content"] = [block for block in answer["content"] if _type_of(block) in _BLOCKS]
    try:
        # By way of JSON, since Raw can't be converted to.
        return _ANSWER.decode(msgspec.json.encode(answer))
    except msgspec.ValidationError as exc:
        raise wire.nonsense(spec) from exc


def _type_of(value: Any) -> str:
    return faults.text_of(value.get("type")) if isinstance(value, dict) else ""


def _parts(blocks: Iterable[_Block]) -> Iterable[Part]:
    for block in blocks:
        if block.type == "text":
            yield TextPart(block.text or "")
        elif block.type == "thinking":
            yield ReasoningPart(text=block.thinking or "", signature=block.signature or None)
        elif block.type == "redacted_thinking":
            yield ReasoningPart(redacted=block.data or "")
        elif block.type == "tool_use":
            yield ToolCallPart(id=block.id or "", name=block.name or "", arguments=_arguments(block) or "{}")


def _arguments(block: _Block) -> str:
    return bytes(block.input).decode()


def _neutral(usage: _Usage) -> Usage:
    """Anthropic counts cached input beside the rest, and thinking inside the output."""
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    details = usage.output_tokens_details
    return Usage(
        input_tokens=(usage.input_tokens or 0) + cached + written,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=usage.output_tokens or 0,
        reasoning_tokens=details.thinking_tokens or 0 if details is not None else 0,
    )


# --- a stream -----------------------------------------------------------------------------------------------


class AnthropicStream:
    """One streamed answer."""

    def __init__(self, spec: ModelSpec) -> None:
        self.is_complete = False
        self._spec = spec
        self._usage = _Usage()
        self._model: str | None = None
        self._calls: dict[int, int] = {}  # block index -> the tool call's own index
        self._unfed: set[int] = set()  # tool blocks without any input yet

    def feed(self, event: ServerSentEvent) -> TextChunk | None:
        if not event.data:
            return None
        said = self._event(event.data)
        kind = said.type
        if kind == "content_block_delta":
            return self._delta(said.index, said.delta) if said.delta is not None else None
        if kind == "content_block_start":
            return (
                self._block_start(said.index, said.content_block) if said.content_block is not None else None
            )
        if kind == "content_block_stop":
            return self._block_stop(said.index)
        if kind == "message_start":
            return self._start(said.message) if said.message is not None else None
        if kind == "message_delta":
            return self._end(said)
        if kind == "message_stop":
            self.is_complete = True
        elif kind == "error":
            raise fault(self._spec, faults.error_object(event.data.encode()))
        return None

    def _event(self, data: str) -> _Event:
        try:
            return _EVENT.decode(data)
        except msgspec.ValidationError as exc:
            if _is_stranger(faults.decoded(data)):
                return _Event()
            raise wire.nonsense(self._spec) from exc
        except (msgspec.DecodeError, RecursionError) as exc:
            raise wire.nonsense(self._spec) from exc

    def _start(self, message: _Answer) -> TextChunk:
        # A second one has been seen: its figures replace, nothing starts over.
        self._model = message.model or self._model
        self._merge(message.usage)
        return TextChunk(model=self._model, usage=_neutral(self._usage))

    def _block_start(self, index: int, block: _Block) -> TextChunk | None:
        if block.type == "tool_use":
            return self._tool_start(index, block)
        if block.type == "text" and block.text:
            return TextChunk(text=block.text)
        if block.type == "thinking" and (block.thinking or block.signature):
            return TextChunk(reasoning=block.thinking or "", signature=block.signature or None)
        if block.type == "redacted_thinking":
            return TextChunk(redacted=block.data or "")
        return None

    def _tool_start(self, index: int, block: _Block) -> TextChunk:
        place = self._calls.setdefault(index, len(self._calls))
        arguments = _arguments(block)
        if arguments in ("", "{}", "null"):  # the usual: the input comes in pieces
            arguments = ""
            self._unfed.add(index)
        call = ToolCallDelta(index=place, id=block.id or "", name=block.name or "", arguments=arguments)
        return TextChunk(tool_calls=(call,))

    def _delta(self, index: int, delta: _Delta) -> TextChunk | None:
        if delta.type == "text_delta":
            return TextChunk(text=delta.text) if delta.text else None
        if delta.type == "thinking_delta":
            return TextChunk(reasoning=delta.thinking) if delta.thinking else None
        if delta.type == "signature_delta":
            return TextChunk(signature=delta.signature) if delta.signature else None
        if delta.type == "input_json_delta" and delta.partial_json and index in self._calls:
            self._unfed.discard(index)
            return TextChunk(
                tool_calls=(ToolCallDelta(index=self._calls[index], arguments=delta.partial_json),)
            )
        return None

    def _block_stop(self, index: int) -> TextChunk | None:
        """No input at all, and properly ended: a call without arguments. Cut off, its JSON stays as it is."""
        if index not in self._unfed:
            return None
        self._unfed.discard(index)
        return TextChunk(tool_calls=(ToolCallDelta(index=self._calls[index], arguments="{}"),))

    def _end(self, said: _Event) -> TextChunk:
        self._merge(said.usage)
        usage = _neutral(self._usage)
        delta = said.delta or _Delta()
        if delta.stop_reason == "refusal":
            raise _refused(self._spec, delta.stop_details, usage)
        finish = _FINISH.get(delta.stop_reason, FinishReason.UNKNOWN) if delta.stop_reason else None
        return TextChunk(finish_reason=finish, usage=usage, stop_sequence=delta.stop_sequence)

    def _merge(self, usage: _Usage | None) -> None:
        """Counts are running totals, and any event may leave some out: the last figure given for each wins."""
        if usage is None:
            return
        for name in _Usage.__struct_fields__:
            value = getattr(usage, name)
            if value is not None:
                setattr(self._usage, name, value)


def _is_stranger(event: Any) -> bool:
    """Whether it is an event, block or delta of a kind we don't know, to be passed over."""
    if not isinstance(event, dict):
        return False
    kind = _type_of(event)
    if kind == "content_block_start":
        return _type_of(event.get("content_block")) not in _BLOCKS
    if kind == "content_block_delta":
        return _type_of(event.get("delta")) not in _DELTAS
    return kind not in _EVENTS


# --- failures -----------------------------------------------------------------------------------------------


def _refused(spec: ModelSpec, details: _StopDetails | None, usage: Usage | None) -> ProviderError:
    details = details or _StopDetails()
    return faults.refusal(
        spec, reason=details.category or "refusal", said=details.explanation or "", usage=usage
    )


def fault(
    spec: ModelSpec, error: Mapping[str, Any], *, status: int | None = None, wait_s: float | None = None
) -> ProviderError:
    if status is None:
        status = _STATUS_BY_TYPE.get(faults.text_of(error.get("type")))
    said = faults.text_of(error.get("message"))
    kind = faults.class_for_status(status)
    reason = None
    if _is_about_money(error, said):
        kind = ProviderQuotaExhausted
    elif _REFUSAL_WORDS in said.lower():
        kind, reason = ContentRefused, "content_filter"
    return faults.provider_fault(kind, spec, status=status, said=said, reason=reason, retry_after_s=wait_s)


def _is_about_money(error: Mapping[str, Any], said: str) -> bool:
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    if isinstance(code, str) and code in _MONEY_CODES:
        return True
    return any(words in said.lower() for words in _MONEY_WORDS)
