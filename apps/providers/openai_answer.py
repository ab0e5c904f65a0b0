"""OpenAI's chat completions, the way back: whole answers, streams and failures as our nouns.

Source: docs of POST /v1/chat/completions, recorded answers (read 2026-11-23).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from apps.core.errors import (
    ContentRefused,
    ProviderError,
    ProviderKeyRefused,
    ProviderModelGone,
    ProviderQuotaExhausted,
    ProviderRateLimited,
)
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
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}

# Codes that say more than the status they come with.
_BY_CODE: Mapping[str, type[ProviderError]] = {
    "insufficient_quota": ProviderQuotaExhausted,
    "billing_hard_limit_reached": ProviderQuotaExhausted,
    "invalid_api_key": ProviderKeyRefused,
    "model_not_found": ProviderModelGone,
    "rate_limit_exceeded": ProviderRateLimited,
    "content_policy_violation": ContentRefused,
    "content_filter": ContentRefused,
    "moderation_blocked": ContentRefused,
}

# In the middle of a stream there is no status to go by.
_STATUS_BY_TYPE: Mapping[str, int] = {
    "invalid_request_error": 400,
    "requests": 429,
    "tokens": 429,
    "server_error": 500,
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct):
    """A whole answer's message, or a stream's delta. reasoning: compatible servers only, under either name."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    reasoning: Any = None
    reasoning_content: Any = None


class _Choice(msgspec.Struct):
    index: int | None = None
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Answer(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)
_NO_DETAILS = _Details()
_SILENCE = _Message()


def _first(choices: list[_Choice] | None) -> _Choice | None:
    """The choice with index 0: the only one there is, unless the caller asked for more behind our back."""
    return next((choice for choice in choices or () if not choice.index), None)


def read_answer(spec: ModelSpec, body: bytes) -> TextResult:
    """A whole answer. Raises ContentRefused when nothing but a refusal came, ProviderError on nonsense."""
    answer = wire.answer_of(_ANSWER, body, spec)
    if answer.error:
        raise fault(spec, faults.error_object(body))
    choice = _first(answer.choices)
    if choice is None or choice.message is None:
        raise wire.nonsense(spec)
    parts = tuple(_parts(choice.message))
    usage = _usage(answer.usage)
    has_calls = any(isinstance(part, ToolCallPart) for part in parts)
    finish = _finish_reason(choice.finish_reason, has_calls=has_calls)
    refused = choice.message.refusal or ""
    if refused or finish is FinishReason.CONTENT_FILTER:
        if not choice.message.content and not has_calls:
            raise _refused(spec, refused, usage)
        finish = FinishReason.CONTENT_FILTER
    return TextResult(
        parts=parts,
        finish_reason=finish,
        usage=usage,
        model=answer.model,
        provider_request_id=answer.id or None,
    )


def _parts(message: _Message) -> Iterable[Part]:
    if reasoning := _reasoning(message):
        yield ReasoningPart(text=reasoning)
    if message.content:
        yield TextPart(message.content)
    for index, call in enumerate(message.tool_calls or ()):
        if call.function is not None:
            yield ToolCallPart(
                id=call.id or f"call_{index}",
                name=call.function.name or "",
                arguments=call.function.arguments or "",
            )


def _reasoning(message: _Message) -> str:
    return faults.text_of(message.reasoning) or faults.text_of(message.reasoning_content)


def _finish_reason(word: str | None, *, has_calls: bool) -> FinishReason:
    finish = _FINISH.get(word or "", FinishReason.UNKNOWN)
    # A forced tool call ends in "stop", and some compatible servers say nothing at all.
    if has_calls and finish in (FinishReason.STOP, FinishReason.UNKNOWN):
        return FinishReason.TOOL_CALLS
    return finish


def _usage(usage: _Usage | None) -> Usage | None:
    """OpenAI's totals include their parts already."""
    if usage is None:
        return None
    into = usage.prompt_tokens_details or _NO_DETAILS
    out = usage.completion_tokens_details or _NO_DETAILS
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        cached_input_tokens=into.cached_tokens or 0,
        cache_write_tokens=into.cache_write_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        reasoning_tokens=out.reasoning_tokens or 0,
    )


class OpenAIStream:
    """One streamed answer. A refusal is raised at the very end, after its usage, so that it can be charged."""

    def __init__(self, spec: ModelSpec) -> None:
        self.is_complete = False
        self._spec = spec
        self._model: str | None = None
        self._usage: Usage | None = None
        self._finish: FinishReason | None = None
        self._refusal = ""
        self._has_text = False
        self._named: dict[int, bool] = {}  # tool calls begun -> whether their name has come

    def feed(self, event: ServerSentEvent) -> TextChunk | None:
        data = event.data
        if data.startswith("[DONE]"):
            return self._done()
        if not data:
            return None
        answer = wire.answer_of(_ANSWER, data, self._spec)
        if answer.error or event.event == "error":
            raise fault(self._spec, faults.error_object(data.encode()))
        if self._model is not None and (text := _text_alone(answer)):
            self._has_text = True
            return TextChunk(text=text)
        usage = None
        if answer.usage is not None:
            usage = self._usage = _usage(answer.usage)
        choice = _first(answer.choices)
        model = None
        if self._model is None and answer.model:
            model = self._model = answer.model
        if choice is None:
            return TextChunk(usage=usage, model=model) if usage is not None or model else None
        return self._chunk(choice, usage, model)

    def _chunk(self, choice: _Choice, usage: Usage | None, model: str | None) -> TextChunk | None:
        delta = choice.delta or _SILENCE
        text = delta.content or ""
        self._has_text = self._has_text or bool(text)
        reasoning = _reasoning(delta)
        calls = tuple(map(self._tool_call, delta.tool_calls)) if delta.tool_calls else ()
        if delta.refusal:
            self._refusal += delta.refusal
        finish = self._end(choice.finish_reason) if choice.finish_reason else None
        if not (text or reasoning or calls or finish or usage is not None or model):
            return None
        return TextChunk(
            text=text, reasoning=reasoning, tool_calls=calls, finish_reason=finish, usage=usage, model=model
        )

    def _tool_call(self, call: _ToolCall) -> ToolCallDelta:
        function = call.function or _Function()
        begun = self._named
        index = call.index
        if index is None:  # compatible servers: a call that names itself is a new one
            index = len(begun) if function.name or not begun else len(begun) - 1
        is_new = index not in begun
        name = None if begun.get(index) else function.name or None
        begun[index] = begun.get(index, False) or name is not None
        return ToolCallDelta(
            index=index,
            id=(call.id or f"call_{index}") if is_new else None,
            name=name,
            arguments=function.arguments or "",
        )

    def _end(self, word: str | None) -> FinishReason | None:
        """The finish reason to pass on; None while it may yet turn out a refusal."""
        self._finish = _finish_reason(word, has_calls=bool(self._named))
        if self._refusal:
            self._finish = FinishReason.CONTENT_FILTER
        return None if self._is_refused else self._finish

    @property
    def _is_refused(self) -> bool:
        return self._finish is FinishReason.CONTENT_FILTER and not self._has_text and not self._named

    def _done(self) -> TextChunk | None:
        self.is_complete = True
        finish = self._end(None) if self._finish is None else None
        if self._is_refused:
            raise _refused(self._spec, self._refusal, self._usage)
        return None if finish is None else TextChunk(finish_reason=finish)


def _text_alone(answer: _Answer) -> str | None:
    """The text of an event that holds nothing else, as nearly every event does."""
    if answer.usage is not None or not answer.choices or len(answer.choices) != 1:
        return None
    choice = answer.choices[0]
    delta = choice.delta
    if (
        delta is None
        or choice.finish_reason is not None
        or choice.index
        or delta.tool_calls is not None
        or delta.refusal is not None
        or delta.reasoning is not None
        or delta.reasoning_content is not None
    ):
        return None
    return delta.content


# --- failures -----------------------------------------------------------------------------------------------


def _refused(spec: ModelSpec, said: str, usage: Usage | None) -> ProviderError:
    return faults.refusal(spec, reason="refusal" if said else "content_filter", said=said, usage=usage)


def fault(
    spec: ModelSpec, error: Mapping[str, Any], *, status: int | None = None, wait_s: float | None = None
) -> ProviderError:
    code, kind = error.get("code"), faults.text_of(error.get("type"))
    if status is None:
        # Compatible servers put a status into `code`.
        status = code if isinstance(code, int) else _STATUS_BY_TYPE.get(kind)
    word = next((word for word in (code, kind) if isinstance(word, str) and word in _BY_CODE), None)
    fault = faults.class_for_status(status) if word is None else _BY_CODE[word]
    return faults.provider_fault(
        fault,
        spec,
        status=status,
        said=faults.text_of(error.get("message")),
        reason=word if fault is ContentRefused else None,
        retry_after_s=wait_s,
    )
