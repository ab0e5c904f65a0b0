"""The neutral nouns every adapter speaks: what is asked, what comes back, what it used.

They carry tool calls, pictures, structured output and reasoning, so that any maker's API can be served
over any other maker's model. msgspec structs: a frozen one costs a fifth of a frozen dataclass to make,
and one is made per streamed piece. gc=False on those: they can't be part of a cycle, so the collector need
not follow them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

Role = Literal["user", "assistant", "tool"]


class FinishReason(enum.StrEnum):
    STOP = "stop"  # it said all it wanted, or met a stop sequence
    LENGTH = "length"  # max_tokens or the context window
    TOOL_CALLS = "tool_calls"  # it wants a tool called
    CONTENT_FILTER = "content_filter"  # cut off by a safety filter
    UNKNOWN = "unknown"  # the provider gave none, or a word we do not know


# --- parts of a message -------------------------------------------------------------------------------------


class TextPart(msgspec.Struct, frozen=True, tag="text"):
    text: str


class ImagePart(msgspec.Struct, frozen=True, tag="image", kw_only=True):
    """A picture in: exactly one of `url` and `data` (base64, with its `media_type`)."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None  # OpenAI's low | high | auto; others ignore it


class ToolCallPart(msgspec.Struct, frozen=True, tag="tool_call", kw_only=True):
    """The model asks for a tool. arguments: a JSON object as text, as the model wrote it (may be broken JSON).

    signature: Gemini signs the call itself, and wants the signature back with it.
    """

    id: str
    name: str
    arguments: str
    signature: str | None = None


class ToolResultPart(msgspec.Struct, frozen=True, tag="tool_result", kw_only=True):
    tool_call_id: str
    content: str
    name: str | None = None  # Gemini matches results by function name
    is_error: bool = False


class ReasoningPart(msgspec.Struct, frozen=True, tag="reasoning", kw_only=True):
    """Thinking. `signature` must travel back unchanged for the maker to accept it again.

    redacted: Anthropic's encrypted thinking, opaque; then `text` is empty.
    """

    text: str = ""
    signature: str | None = None
    redacted: str | None = None


Part = TextPart | ImagePart | ToolCallPart | ToolResultPart | ReasoningPart


class Message(msgspec.Struct, frozen=True):
    role: Role
    parts: tuple[Part, ...]

    @classmethod
    def user(cls, text: str) -> Message:
        return cls("user", (TextPart(text),))


# --- the request --------------------------------------------------------------------------------------------


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """parameters: a JSON Schema object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = {}
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    mode: Literal["auto", "none", "required", "tool"] = "auto"
    name: str | None = None  # with mode "tool"
    parallel: bool | None = None  # False: at most one call


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    """json_schema None means: any JSON object."""

    json_schema: Mapping[str, Any] | None = None
    name: str = "answer"
    strict: bool | None = None


class TextRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a text model. None means: not said, so not sent.

    extra: options no neutral name covers. A built-in adapter merges them into the top level of its body as they
    are (the one escape hatch); the mapped adapter offers them as placeholder names.
    """

    messages: tuple[Message, ...]
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    user: str | None = None
    extra: Mapping[str, Any] = {}


# --- the answer ---------------------------------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens of one call. Totals include their parts, whatever the maker's own habit:

    input_tokens includes cached_input_tokens and cache_write_tokens; output_tokens includes reasoning_tokens.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class TextResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. usage is None when the provider gave none."""

    parts: tuple[Part, ...]
    finish_reason: FinishReason
    usage: Usage | None
    model: str | None = None  # the provider's own word for what answered
    provider_request_id: str | None = None
    stop_sequence: str | None = None

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A piece of a tool call. index: its place among this answer's calls, from 0; id and name come with the first."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    signature: str | None = None


class TextChunk(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One piece of a streamed answer; every field is only what is new.

    usage replaces what earlier chunks said (providers send running totals).
    """

    text: str = ""
    reasoning: str = ""
    signature: str | None = None
    redacted: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    model: str | None = None
    stop_sequence: str | None = None

    @property
    def has_content(self) -> bool:
        """Whether the model said something in it: what time-to-first-token waits for."""
        return bool(self.text or self.reasoning or self.tool_calls)


# --- the model ----------------------------------------------------------------------------------------------


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. first_token: until the first content; idle: between two events after it; total: the whole call."""

    connect_s: float = 5.0
    first_token_s: float = 60.0
    idle_s: float = 60.0
    total_s: float = 600.0


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All an adapter needs to call one model with one tenant's key; made by a service, never holds a Django row.

    model: the provider's name for it; model_id: ours. base_url: origin (and prefix), without the version path,
    e.g. "https://api.openai.com". profile: facts about this model an adapter may consult, see each adapter.
    mapping: the compiled payload mapping, for the mapped adapter. headers: extra request headers, e.g. rehearsal.
    is_guarded: the address came from a person, so it must resolve to a public address.
    """

    model_id: str
    provider: str
    adapter: str
    model: str
    base_url: str
    api_key: str
    profile: Mapping[str, Any] = {}
    mapping: Any = None
    timeouts: Timeouts = Timeouts()
    headers: tuple[tuple[str, str], ...] = ()
    is_sandbox: bool = False
    is_guarded: bool = False

    def __repr__(self) -> str:
        """Without the key: specs end up in logs and tracebacks."""
        return f"ModelSpec({self.model_id!r}, provider={self.provider!r}, base_url={self.base_url!r})"


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """event: its name, "message" when unnamed; data: the data lines joined by newlines."""

    event: str
    data: str


Messages = Sequence[Message]
