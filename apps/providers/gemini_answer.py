"""Google's Gemini API, the way back: whole answers, streams and failures as our nouns.

A streamed event is a whole answer object with the next piece in it, so both are read by the same lines.
Source: docs of models.generateContent and Google's discovery document, recorded answers (read 2026-11-23).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from apps.core.errors import ProviderError, ProviderKeyRefused, ProviderQuotaExhausted
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

# An open list: what is not here is UNKNOWN.
_FINISH: Mapping[str, FinishReason] = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "LANGUAGE": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "ESCALATION": FinishReason.CONTENT_FILTER,
    "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "IMAGE_RECITATION": FinishReason.CONTENT_FILTER,
}

# The model tried to call a tool and Google could not make sense of it: no answer, and a second try may do.
_BROKEN = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"}
)


class _FunctionCall(msgspec.Struct):
    name: str | None = None
    args: msgspec.Raw = msgspec.Raw(b"")
    id: str | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _FunctionCall | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


class _Answer(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)


def read_answer(spec: ModelSpec, body: bytes) -> TextResult:
    """A whole answer. Raises ContentRefused when prompt or answer were blocked, ProviderError on nonsense."""
    answer = wire.answer_of(_ANSWER, body, spec)
    if answer.error:
        raise _answered_fault(spec, faults.error_object(body))
    usage = _usage(answer.usage_metadata)
    if (block := _block(answer)) is not None:
        raise _refused(spec, block, usage)
    candidate = _first(answer)
    if candidate is None:
        raise wire.nonsense(spec)
    parts = tuple(_parts(_pieces(candidate), answer.response_id))
    return TextResult(
        parts=parts,
        finish_reason=_finish_reason(
            spec,
            candidate,
            usage,
            has_text=any(isinstance(part, TextPart) for part in parts),
            has_calls=any(isinstance(part, ToolCallPart) for part in parts),
        ),
        usage=usage,
        model=answer.model_version,
        provider_request_id=answer.response_id,
    )


def _first(answer: _Answer) -> _Candidate | None:
    return next((candidate for candidate in answer.candidates or () if not candidate.index), None)


def _block(answer: _Answer) -> _Feedback | None:
    """Why the prompt was blocked, if it was: then there are no candidates."""
    feedback = answer.prompt_feedback
    blocked = feedback is not None and feedback.block_reason and not answer.candidates
    return feedback if blocked else None


def _refused(spec: ModelSpec, block: _Feedback, usage: Usage | None) -> ProviderError:
    return faults.refusal(
        spec, reason=block.block_reason or "", said=block.block_reason_message or "", usage=usage
    )


def _pieces(candidate: _Candidate) -> list[_Part]:
    return candidate.content.parts or [] if candidate.content is not None else []


def _parts(pieces: Iterable[_Part], response_id: str | None) -> Iterable[Part]:
    """Pieces of other kinds, and those that hold but a signature, say nothing."""
    calls = 0
    for piece in pieces:
        if piece.function_call is not None:
            call = piece.function_call
            yield ToolCallPart(
                id=call.id or _call_id(response_id, calls),
                name=call.name or "",
                arguments=_arguments(call),
                signature=piece.thought_signature,
            )
            calls += 1
        elif piece.text:
            yield ReasoningPart(text=piece.text) if piece.thought else TextPart(piece.text)


def _call_id(response_id: str | None, index: int) -> str:
    """An id for a call that has none: the same each time it is read, another in each answer of a conversation."""
    return f"call_{response_id}_{index}" if response_id else f"call_{index}"


def _arguments(call: _FunctionCall) -> str:
    arguments = bytes(call.args).decode()
    return "{}" if arguments in ("", "null") else arguments


def _finish_reason(
    spec: ModelSpec, candidate: _Candidate, usage: Usage | None, *, has_text: bool, has_calls: bool
) -> FinishReason:
    """Raises when there is no answer to finish: ContentRefused, or ProviderError for a call gone wrong."""
    word = candidate.finish_reason or ""
    finish = _FINISH.get(word, FinishReason.UNKNOWN)
    if has_calls:
        # Google says STOP here, where others name the call.
        return FinishReason.TOOL_CALLS if finish is FinishReason.STOP else finish
    if has_text:
        return finish
    if finish is FinishReason.CONTENT_FILTER:
        raise faults.refusal(spec, reason=word, said=candidate.finish_message or "", usage=usage)
    if word in _BROKEN:
        raise faults.provider_fault(ProviderError, spec, usage=usage)
    return finish


def _usage(usage: _Usage | None) -> Usage | None:
    """Google counts cached input inside the prompt, tool results and thinking beside the rest."""
    if usage is None:
        return None
    thoughts = usage.thoughts_token_count or 0
    return Usage(
        input_tokens=(usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
        cached_input_tokens=usage.cached_content_token_count or 0,
        output_tokens=(usage.candidates_token_count or 0) + thoughts,
        reasoning_tokens=thoughts,
    )


class GeminiStream:
    """One streamed answer; the event with a finish reason is its end."""

    def __init__(self, spec: ModelSpec) -> None:
        self.is_complete = False
        self._spec = spec
        self._model: str | None = None
        self._usage: Usage | None = None
        self._has_text = False
        self._calls = 0

    def feed(self, event: ServerSentEvent) -> TextChunk | None:
        if not event.data:
            return None
        answer = wire.answer_of(_ANSWER, event.data, self._spec)
        if answer.error:
            raise _answered_fault(self._spec, faults.error_object(event.data.encode()))
        usage = _usage(answer.usage_metadata)
        self._usage = usage or self._usage
        model = None
        if self._model is None and answer.model_version:
            model = self._model = answer.model_version
        if (block := _block(answer)) is not None:
            return self._blocked(block, usage)
        candidate = _first(answer)
        if candidate is None:
            return TextChunk(usage=usage, model=model) if usage is not None or model else None
        return self._chunk(candidate, answer.response_id, usage, model)

    def _blocked(self, block: _Feedback, usage: Usage | None) -> TextChunk:
        """Second thoughts about the prompt: what was said is kept, like any answer cut by a filter."""
        if not self._has_text and not self._calls:
            raise _refused(self._spec, block, self._usage)
        self.is_complete = True
        return TextChunk(finish_reason=FinishReason.CONTENT_FILTER, usage=usage)

    def _chunk(
        self, candidate: _Candidate, response_id: str | None, usage: Usage | None, model: str | None
    ) -> TextChunk | None:
        text = reasoning = ""
        calls: tuple[ToolCallDelta, ...] = ()
        for piece in _pieces(candidate):
            if piece.function_call is not None:
                calls += (self._tool_call(piece, piece.function_call, response_id),)
            elif piece.text and piece.thought:
                reasoning += piece.text
            elif piece.text:
                text += piece.text
        self._has_text = self._has_text or bool(text)
        finish = None
        if candidate.finish_reason:
            self.is_complete = True
            finish = _finish_reason(
                self._spec,
                candidate,
                self._usage,
                has_text=self._has_text,
                has_calls=self._calls > 0,
            )
        if not (text or reasoning or calls or finish or usage is not None or model):
            return None
        return TextChunk(
            text=text, reasoning=reasoning, tool_calls=calls, finish_reason=finish, usage=usage, model=model
        )

    def _tool_call(self, piece: _Part, call: _FunctionCall, response_id: str | None) -> ToolCallDelta:
        """Google never splits a call."""
        index = self._calls
        self._calls += 1
        return ToolCallDelta(
            index=index,
            id=call.id or _call_id(response_id, index),
            name=call.name or "",
            arguments=_arguments(call),
            signature=piece.thought_signature,
        )


# --- failures -----------------------------------------------------------------------------------------------


def fault(
    spec: ModelSpec, error: Mapping[str, Any], *, status: int | None = None, wait_s: float | None = None
) -> ProviderError:
    kind = faults.class_for_status(status)
    if any(detail.get("reason") == "API_KEY_INVALID" for detail in _details(error)):
        kind = ProviderKeyRefused  # a 400 here
    elif error.get("status") == "FAILED_PRECONDITION":
        # Billing, or a region without service: the account's state, which neither caller nor patience can mend.
        kind = ProviderQuotaExhausted
    return faults.provider_fault(
        kind, spec, status=status, said=faults.text_of(error.get("message")), retry_after_s=wait_s
    )


def retry_delay_s(error: Mapping[str, Any]) -> float | None:
    """Seconds to wait, from the RetryInfo among an error's details ("48s", "1.5s")."""
    for detail in _details(error):
        if faults.text_of(detail.get("@type")).endswith("RetryInfo"):
            delay = faults.text_of(detail.get("retryDelay")).removesuffix("s")
            try:
                return faults.bounded_wait(float(delay))
            except ValueError:
                return None
    return None


def _answered_fault(spec: ModelSpec, error: Mapping[str, Any]) -> ProviderError:
    """An error that came as a 200, or in mid-stream: it carries its status itself."""
    code = error.get("code")
    status = code if isinstance(code, int) else None
    return fault(spec, error, status=status, wait_s=retry_delay_s(error))


def _details(error: Mapping[str, Any]) -> list[dict[str, Any]]:
    details = error.get("details")
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
