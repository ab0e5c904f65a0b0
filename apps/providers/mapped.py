"""The adapter driven by a payload mapping: a text provider described in the admin, without code.

What a mapping cannot express is said aloud: tools, and pictures where it has no `{messages}`. What it merely
does not mention (a temperature, a response format) is not sent, as its author chose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
import msgspec

from apps.core.errors import GatewayError, InternalError, InvalidRequest, ProviderError
from apps.providers import faults, wire
from apps.providers.base import StreamFormat
from apps.providers.jsonpath import Path
from apps.providers.mapped_messages import openai_messages, transcript
from apps.providers.mapping import CompiledMapping, mapping_fill
from apps.providers.mapping_response import StreamMapping, is_error, usage_of
from apps.providers.types import (
    FinishReason,
    ModelSpec,
    ResponseFormat,
    ServerSentEvent,
    TextChunk,
    TextPart,
    TextRequest,
    TextResult,
    ToolCallPart,
    ToolResultPart,
    Usage,
)


class MappedAdapter:
    default_base_url = ""  # the mapping names its own host, unless the instance gives another

    def build_text_request(self, spec: ModelSpec, request: TextRequest, *, stream: bool) -> httpx.Request:
        mapping = _mapping(spec)
        _refuse_tools(request)
        values = {name: _value(name, spec, request, mapping.names, stream=stream) for name in mapping.names}
        return mapping_fill(
            mapping,
            values,
            api_key=spec.api_key,
            base_url=spec.base_url,
            stream=stream,
            headers=spec.headers,
        )

    def parse_text_result(self, spec: ModelSpec, body: bytes) -> TextResult:
        response = _mapping(spec).response
        doc = _decoded(spec, body)
        _raise_error(spec, response.error, doc)
        word, finish = _finish(response.finish_reason, doc)
        usage = usage_of(response.usage.counts(doc)) if response.usage else None
        text = _text(response.text, doc)
        if not text and finish is FinishReason.CONTENT_FILTER:
            raise faults.refusal(spec, reason=word, usage=usage)
        # An allowance used up by thinking leaves no text at all; anything else without one is a wrong path.
        if text is None and finish is not FinishReason.LENGTH:
            raise _nothing_found(spec, response.text)
        return TextResult(
            parts=(TextPart(text),) if text else (),
            finish_reason=finish or FinishReason.UNKNOWN,
            usage=usage,
            model=_word(response.model, doc),
        )

    def text_stream_parser(self, spec: ModelSpec) -> MappedStream:
        mapping = _mapping(spec)
        if mapping.stream is None:
            raise InternalError(f"The payload mapping of {spec.model_id} has no stream.")
        return MappedStream(spec, mapping.stream, mapping.response.error)

    def stream_format(self, spec: ModelSpec) -> StreamFormat:
        stream = _mapping(spec).stream
        return None if stream is None else stream.format

    def parse_error(
        self, spec: ModelSpec, status: int, headers: Mapping[str, str], body: bytes
    ) -> GatewayError:
        try:
            doc = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            doc = None
        said = _said(_mapping(spec).response.error, doc)
        if not said:
            said = faults.text_of(faults.error_object(doc).get("message"))
        kind = faults.class_for_status(status)
        return _fault(spec, kind, said, status=status, retry_after_s=faults.retry_after_s(headers))


class MappedStream:
    """One streamed answer."""

    def __init__(self, spec: ModelSpec, stream: StreamMapping, error: Path | None) -> None:
        self.is_complete = False
        self._spec = spec
        self._stream = stream
        self._error = stream.error or error
        self._counts: dict[str, int] = {}
        self._has_text = False
        self._model: str | None = None

    def feed(self, event: ServerSentEvent) -> TextChunk | None:
        data = event.data.strip()
        if self._is_end(event.event, data):
            self.is_complete = True
            return None
        if not data:
            return None
        doc = _decoded(self._spec, data)
        _raise_error(self._spec, self._error, doc)
        if event.event == "error":
            raise _fault(self._spec, ProviderError, faults.text_of(faults.error_object(doc).get("message")))
        return self._chunk(doc)

    def _is_end(self, name: str, data: str) -> bool:
        """`done`, as data or as the event's name; [DONE] by custom where a mapping names none."""
        stream = self._stream
        if stream.done is not None:
            return stream.done in (data, name)
        return stream.done_path is None and data == "[DONE]"

    def _chunk(self, doc: Any) -> TextChunk | None:
        stream = self._stream
        text = _text(stream.text, doc) or ""
        self._has_text = self._has_text or bool(text)
        usage = self._usage(doc)
        word, finish = _finish(stream.finish_reason, doc)
        if finish is FinishReason.CONTENT_FILTER and not self._has_text:
            raise faults.refusal(self._spec, reason=word, usage=usage_of(self._counts))
        self._end(doc, finish)
        model = self._new_model(doc)
        if not (text or finish or usage or model):
            return None
        return TextChunk(text=text, finish_reason=finish, usage=usage, model=model)

    def _end(self, doc: Any, finish: FinishReason | None) -> None:
        if self._stream.done_path is not None:
            self.is_complete = self.is_complete or bool(self._stream.done_path.first(doc))
        elif self._stream.done is None:
            self.is_complete = self.is_complete or finish is not None

    def _usage(self, doc: Any) -> Usage | None:
        """The running total, when this event changed it. Makers give the counts in different events."""
        counts = self._stream.usage.counts(doc) if self._stream.usage else {}
        if not counts:
            return None
        self._counts |= counts
        return usage_of(self._counts)

    def _new_model(self, doc: Any) -> str | None:
        if self._model is None and self._stream.model is not None:
            self._model = _word(self._stream.model, doc)
            return self._model
        return None


def _mapping(spec: ModelSpec) -> CompiledMapping:
    if not isinstance(spec.mapping, CompiledMapping):
        raise InternalError(f"The model {spec.model_id} has no payload mapping.")
    return spec.mapping


# --- the request --------------------------------------------------------------------------------------------

_Value = Callable[[TextRequest, frozenset[str]], Any]


def _prompt(request: TextRequest, names: frozenset[str]) -> str:
    """With {messages} beside it, the last user message; alone, the whole conversation as one text."""
    system = None if "system" in names else request.system
    return transcript(request.messages, system, is_alone="messages" not in names)


def _messages(request: TextRequest, names: frozenset[str]) -> list[dict[str, Any]]:
    """The system text is the first message, unless the mapping has a place of its own for it."""
    return openai_messages(request.messages, None if "system" in names else request.system)


def _response_format(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.json_schema is None:
        return {"type": "json_object"}
    schema = wire.said_only(name=wanted.name, schema=wanted.json_schema, strict=wanted.strict)
    return {"type": "json_schema", "json_schema": schema}


_VALUES: Final[Mapping[str, _Value]] = {
    "prompt": _prompt,
    "user_prompt": _prompt,
    "messages": _messages,
    "system": lambda request, _: request.system or None,
    "max_tokens": lambda request, _: request.max_tokens,
    "temperature": lambda request, _: request.temperature,
    "top_p": lambda request, _: request.top_p,
    "stop": lambda request, _: list(request.stop) or None,
    "seed": lambda request, _: request.seed,
    "presence_penalty": lambda request, _: request.presence_penalty,
    "frequency_penalty": lambda request, _: request.frequency_penalty,
    "reasoning_effort": lambda request, _: request.reasoning_effort,
    "user": lambda request, _: request.user,
    "response_format": lambda request, _: _response_format(request.response_format),
    "json_schema": lambda request, _: request.response_format and request.response_format.json_schema,
}


def _value(name: str, spec: ModelSpec, request: TextRequest, names: frozenset[str], *, stream: bool) -> Any:
    if name == "model":
        return spec.model
    if name == "stream":
        return stream
    return _VALUES[name](request, names) if name in _VALUES else request.extra.get(name)


def _refuse_tools(request: TextRequest) -> None:
    if request.tools:
        raise InvalidRequest.for_fields({"tools": "this model does not take tools"})
    parts = (part for message in request.messages for part in message.parts)
    if any(isinstance(part, ToolCallPart | ToolResultPart) for part in parts):
        raise InvalidRequest.for_fields({"messages": "this model does not take tool calls or their results"})


# --- the answer ---------------------------------------------------------------------------------------------

_FINISH: Final[Mapping[str, FinishReason]] = {
    word: reason
    for reason, words in {
        FinishReason.STOP: (
            "stop stopped end end_turn stop_sequence eos eos_token complete completed done finished success"
        ),
        FinishReason.LENGTH: (
            "length max_length max_tokens max_new_tokens max_output_tokens token_limit "
            "model_context_window_exceeded incomplete"
        ),
        FinishReason.TOOL_CALLS: "tool_calls tool_call tool_use function_call",
        FinishReason.CONTENT_FILTER: (
            "content_filter content_filtered safety refusal refused blocked blocklist moderation "
            "prohibited_content error_toxic recitation spii"
        ),
    }.items()
    for word in words.split()
}


def _finish(path: Path | None, doc: Any) -> tuple[str, FinishReason | None]:
    """The provider's own word and ours. None while there is none: absent, null, "" or false. true means: done."""
    word = path.first(doc) if path is not None else None
    if word is True:
        return "", FinishReason.STOP
    if not isinstance(word, str) or not word:
        return "", None
    return word, _FINISH.get(word.lower(), FinishReason.UNKNOWN)


def _text(path: Path | None, doc: Any) -> str | None:
    """Every text found, joined; None when there is none."""
    texts = [found for found in path.all(doc) if isinstance(found, str)] if path is not None else []
    return "".join(texts) if texts else None


def _word(path: Path | None, doc: Any) -> str | None:
    return faults.text_of(path.first(doc)) or None if path is not None else None


def _decoded(spec: ModelSpec, data: bytes | str) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise wire.nonsense(spec) from exc


def _nothing_found(spec: ModelSpec, path: Path | None) -> ProviderError:
    where = "no path for text" if path is None else f"{path.text} found none"
    return ProviderError(
        f"{spec.provider} answered without text (response_mapping.text: {where}).", provider=spec.provider
    )


# --- failures -----------------------------------------------------------------------------------------------


def _raise_error(spec: ModelSpec, path: Path | None, doc: Any) -> None:
    """For a failure that came as a 200."""
    if path is not None and is_error(path.first(doc)):
        raise _fault(spec, ProviderError, _said(path, doc))


def _said(path: Path | None, doc: Any) -> str:
    found = path.first(doc) if path is not None else None
    if not is_error(found) or found is True:
        return ""
    return found if isinstance(found, str) else msgspec.json.encode(found).decode()


def _fault(
    spec: ModelSpec,
    kind: type[ProviderError],
    said: str,
    *,
    status: int | None = None,
    retry_after_s: float | None = None,
) -> ProviderError:
    """The mapping's author pointed at this sentence, so a plain failure quotes it too."""
    if kind is ProviderError and said:
        return ProviderError(
            f"{spec.provider} failed: {faults.quote(said, spec.api_key)}",
            provider=spec.provider,
            status=status,
            retry_after_s=retry_after_s,
        )
    return faults.provider_fault(kind, spec, status=status, said=said, retry_after_s=retry_after_s)
