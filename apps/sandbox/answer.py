"""What a model in the sandbox says: one question in every maker's terms, one answer for all of them.

A maker's file reads its own request into an `Ask` and writes the `Answer` in its own form.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from random import Random
from typing import Any, Literal

import msgspec

from apps.sandbox import words
from apps.sandbox.instances import instance
from apps.sandbox.schemas import schema_fault

Ending = Literal["end", "length", "stop_sequence", "tool"]


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """schema: of its arguments. is_custom: OpenAI's kind that takes plain text."""

    name: str
    schema: Mapping[str, Any] = {}
    is_custom: bool = False


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    tool: Tool
    arguments: dict[str, Any]

    @property
    def text(self) -> str:
        """The arguments as the model writes them."""
        return str(self.arguments["input"]) if self.tool.is_custom else json.dumps(self.arguments)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """fingerprint: of all that decides the answer, so not of the limits, which only cut it.

    prompt: the last user message; tool_results: those after it, if the conversation ends in them.
    schema: None for prose, {} for any JSON object. thinking: tokens it would like to spend on that.
    tools: those that may be called; must_call: one of them has to be.
    """

    fingerprint: str
    prompt: str
    system: str = ""
    tool_results: tuple[str, ...] = ()
    images: int = 0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    is_parallel: bool = True
    thinking: int = 0
    variant: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Either text or calls. output_tokens leaves thinking_tokens out."""

    ending: Ending
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    thinking_tokens: int = 0
    output_tokens: int = 0
    stop_sequence: str | None = None


def answer(ask: Ask) -> Answer:
    rng = Random(f"{ask.fingerprint}/{ask.variant}")
    thinking_tokens = _thinking_tokens(ask)
    thinking = words.musing(rng, ask.prompt) if thinking_tokens else ""
    room = None if ask.max_tokens is None else ask.max_tokens - thinking_tokens
    said = _tool_calls(ask, rng, room) or _text(ask, rng, room)
    return msgspec.structs.replace(said, thinking=thinking, thinking_tokens=thinking_tokens)


def _thinking_tokens(ask: Ask) -> int:
    """Half of the allowance at most; of a tiny one, all, as real models do."""
    if ask.max_tokens is None or not ask.thinking:
        return ask.thinking
    return ask.max_tokens if ask.max_tokens < 4 else min(ask.thinking, ask.max_tokens // 2)


def _tool_calls(ask: Ask, rng: Random, room: int | None) -> Answer | None:
    """The calls it makes, if any. Tool results are always answered in words, so that every rehearsal ends."""
    if not ask.tools or ask.tool_results:
        return None
    chosen = [tool for tool in ask.tools if _mentions(ask.prompt, tool.name)]
    if ask.must_call and not chosen:
        chosen = [ask.tools[0]]
    if not chosen:
        return None
    calls = tuple(_tool_call(tool, rng, ask) for tool in chosen[: None if ask.is_parallel else 1])
    tokens = sum(len(words.pieces(call.text)) + len(words.pieces(call.tool.name)) + 4 for call in calls)
    if room is not None and tokens > room:
        return Answer(ending="length", output_tokens=room)
    return Answer(ending="tool", calls=calls, output_tokens=tokens)


def _tool_call(tool: Tool, rng: Random, ask: Ask) -> ToolCall:
    if tool.is_custom:
        return ToolCall(tool=tool, arguments={"input": words.quote(ask.prompt)})
    made = instance(tool.schema or {"type": "object"}, rng)
    return ToolCall(tool=tool, arguments=made if isinstance(made, dict) else {})


def _mentions(prompt: str, name: str) -> bool:
    spaced = re.sub(r"[_\-.]+", " ", name)
    return any(re.search(rf"\b{re.escape(form)}\b", prompt, re.IGNORECASE) for form in (name, spaced))


def _text(ask: Ask, rng: Random, room: int | None) -> Answer:
    text, ending, stop_sequence = _whole_text(ask, rng), "end", None
    met = [(place, stop) for stop in ask.stop if stop and (place := text.find(stop)) >= 0]
    if met:
        place, stop_sequence = min(met)
        text, ending = text[:place], "stop_sequence"
    pieces = words.pieces(text)
    if room is not None and len(pieces) > room:
        text, ending, stop_sequence = "".join(pieces[:room]), "length", None
    return Answer(
        ending=msgspec.convert(ending, Ending),
        text=text,
        output_tokens=len(pieces) if room is None else min(len(pieces), room),
        stop_sequence=stop_sequence,
    )


def _whole_text(ask: Ask, rng: Random) -> str:
    if ask.schema:
        return json.dumps(instance(ask.schema, rng), ensure_ascii=False)
    if ask.schema is not None or re.search("json", f"{ask.system} {ask.prompt}", re.IGNORECASE):
        return _some_json(ask, rng)
    asides = []
    if ask.tool_results:
        results = " and ".join(f"“{words.quote(result, longest=300)}”" for result in ask.tool_results)
        asides.append(f"The tool said {results}.")
    if ask.images:
        asides.append(f"I was shown {ask.images} picture{'s' if ask.images > 1 else ''}.")
    if ask.system:
        asides.append(f"I was told “{words.quote(ask.system)}”.")
    return words.prose(rng, ask.prompt, asides=asides)


def _some_json(ask: Ask, rng: Random) -> str:
    """A small object; one that fits the schema, when the prompt itself shows one."""
    if schema := _schema_within(f"{ask.prompt}\n{ask.system}"):
        return json.dumps(instance(schema, rng), ensure_ascii=False)
    body: dict[str, Any] = {"answer": words.prose(rng, ask.prompt), "about": words.quote(ask.prompt)}
    if ask.tool_results:
        body["tool_results"] = list(ask.tool_results)
    return json.dumps(body | {"confidence": rng.randint(50, 99) / 100}, ensure_ascii=False)


def _schema_within(text: str) -> Mapping[str, Any] | None:
    for start in itertools.islice(re.finditer(r"\{\s*\"", text[:100_000]), 20):
        try:
            found, _ = json.JSONDecoder().raw_decode(text, start.start())
        except (json.JSONDecodeError, RecursionError):
            continue
        if isinstance(found, dict) and "properties" in found and schema_fault(found) is None:
            return found
    return None
