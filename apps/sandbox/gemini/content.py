"""The Gemini API's `:generateContent`, `:streamGenerateContent` and `:countTokens`."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from apps.sandbox import words
from apps.sandbox.answer import Answer, Ask, Tool, answer
from apps.sandbox.gemini.checks import check_request, thinks
from apps.sandbox.gemini.faults import error_body, model_lookup, reply
from apps.sandbox.gemini.shapes import body_read
from apps.sandbox.http import Reply, Request, Stream
from apps.sandbox.maker import Fault

IMAGE_TOKENS = 258
CACHED_TOKENS = 1_024  # what a `cachedContent` is taken to hold

_FINISH_REASONS = {"end": "STOP", "stop_sequence": "STOP", "length": "MAX_TOKENS", "tool": "STOP"}
_THINKING_TOKENS = {"MINIMAL": 8, "LOW": 24, "MEDIUM": 64, "HIGH": 128}
_BLOCKED = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}


def generate_content(request: Request, *, version: str, model: str) -> Reply:
    return reply(_generation(request, model, version, "generateContent").body())


def stream_generate_content(request: Request, *, version: str, model: str) -> Stream:
    generation = _generation(request, model, version, "streamGenerateContent")
    broken = error_body(Fault(503, "The model is overloaded. Please try again later."))
    if request.query.get("alt") == "sse":
        frames = (_event(chunk) for chunk in generation.chunks())
        return Stream(frames=frames, failure=(_event(broken),))
    return Stream(
        frames=_array(generation.chunks()),
        failure=(b",\r\n" + msgspec.json.encode(broken), b"\r\n]"),
        content_type="application/json; charset=UTF-8",
    )


def count_tokens(request: Request, *, version: str, model: str) -> Reply:
    model_lookup(model, version, "countTokens")
    body = body_read(request, "CountTokensRequest")
    asked = body.get("generateContentRequest") or body
    check_request(asked, model)
    texts, images = _prompt_tokens(asked)
    return reply({"totalTokens": texts + images, "promptTokensDetails": _by_modality(texts, images)})


def _generation(request: Request, model: str, version: str, method: str) -> _Generation:
    model_lookup(model, version, method)
    body = body_read(request, "GenerateContentRequest")
    check_request(body, model)
    if request.is_refused:
        return _Generation(body, model, [])
    config = body.get("generationConfig", {})
    ask = _ask(body, config, model)
    answers = [
        answer(msgspec.structs.replace(ask, variant=variant))
        for variant in range(config.get("candidateCount", 1))
    ]
    if config.get("responseMimeType") == "text/x.enum":
        answers = [_bare(said) for said in answers]
    return _Generation(body, model, answers)


def _ask(body: Mapping[str, Any], config: Mapping[str, Any], model: str) -> Ask:
    contents = body["contents"]
    asked = [text for content in contents if content.get("role") != "model" and (text := _text(content))]
    last = contents[-1]["parts"]
    tools, must_call = _tools(body)
    schema = config.get("responseJsonSchema", config.get("responseSchema"))
    is_prose = config.get("responseMimeType", "text/plain") == "text/plain"
    return Ask(
        fingerprint=words.fingerprint(
            model, contents, body.get("systemInstruction"), config.get("seed"), tools, schema
        ),
        prompt=asked[-1] if asked else "",
        system=_text(body.get("systemInstruction", {"parts": []})),
        tool_results=tuple(
            json.dumps(part["functionResponse"]["response"]) for part in last if "functionResponse" in part
        ),
        images=sum(_is_picture(part) for part in last),
        max_tokens=config.get("maxOutputTokens"),
        stop=tuple(config.get("stopSequences", ())),
        schema=None if is_prose else schema or {},
        tools=tools,
        must_call=must_call,
        thinking=_thinking(config.get("thinkingConfig", {})) if thinks(model) else 0,
    )


def _tools(body: Mapping[str, Any]) -> tuple[tuple[Tool, ...], bool]:
    """The functions that may be called, and whether one must be."""
    tools = tuple(
        Tool(
            name=function["name"],
            schema=function.get("parametersJsonSchema") or function.get("parameters") or {},
        )
        for tool in body.get("tools", ())
        for function in tool.get("functionDeclarations", ())
    )
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    mode, allowed = calling.get("mode", "AUTO"), calling.get("allowedFunctionNames")
    if allowed:
        tools = tuple(tool for tool in tools if tool.name in allowed)
    return () if mode == "NONE" else tools, mode == "ANY"


def _thinking(config: Mapping[str, Any]) -> int:
    wanted = _THINKING_TOKENS.get(config.get("thinkingLevel", "MEDIUM"), 64)
    budget: int = config.get("thinkingBudget", -1)
    return min(wanted, budget) if budget >= 0 else wanted


def _text(content: Mapping[str, Any]) -> str:
    return "\n".join(part["text"] for part in content["parts"] if "text" in part and not part.get("thought"))


def _is_picture(part: Mapping[str, Any]) -> bool:
    blob = part.get("inlineData") or part.get("fileData") or {}
    return str(blob.get("mimeType", "image/" if blob else "")).startswith("image/")


def _prompt_tokens(body: Mapping[str, Any]) -> tuple[int, int]:
    """Of text, and of pictures."""
    texts, images = [], 0
    for content in [body.get("systemInstruction", {"parts": []}), *body["contents"]]:
        for part in content["parts"]:
            images += _is_picture(part)
            texts += [
                msgspec.json.encode(part[name]).decode()
                for name in ("functionCall", "functionResponse")
                if name in part
            ]
            texts += [part["text"]] if "text" in part else []
    if body.get("tools"):
        texts.append(msgspec.json.encode(body["tools"]).decode())
    return words.prompt_tokens(texts), images * IMAGE_TOKENS


def _by_modality(texts: int, images: int) -> list[dict[str, Any]]:
    counts = {"TEXT": texts, "IMAGE": images}
    return [{"modality": name, "tokenCount": count} for name, count in counts.items() if count]


def _bare(said: Answer) -> Answer:
    """One word of an enumeration, without the quotes of JSON."""
    return msgspec.structs.replace(said, text=json.loads(said.text)) if said.ending == "end" else said


class _Generation:
    """One generation: what its forms share. No answers: the prompt was blocked."""

    def __init__(self, body: Mapping[str, Any], model: str, answers: Sequence[Answer]) -> None:
        self._answers = answers
        self._head = {"modelVersion": model, "responseId": secrets.token_urlsafe(16)}
        self._texts, self._images = _prompt_tokens(body)
        self._cached = CACHED_TOKENS if body.get("cachedContent") else 0
        config = body.get("generationConfig", {}).get("thinkingConfig", {})
        self._shows_thoughts = bool(config.get("includeThoughts"))
        self._signature = base64.b64encode(secrets.token_bytes(24)).decode() if thinks(model) else None

    def body(self) -> dict[str, Any]:
        if not self._answers:
            return self._blocked()
        candidates = []
        for index, said in enumerate(self._answers):
            parts = [part for parts in self._parts(said, whole=True) for part in parts]
            candidates.append(_candidate(index, parts, said))
        spoken, thoughts = self._spent()
        return {"candidates": candidates, "usageMetadata": self._usage(spoken, thoughts)} | self._head

    def chunks(self) -> Iterator[dict[str, Any]]:
        """Each holds what is new, with the counts so far; the last one of a candidate says why it ended."""
        if not self._answers:
            yield self._blocked()
        spoken = thoughts = 0
        for index, said in enumerate(self._answers):
            thoughts += said.thinking_tokens
            pieces = list(self._parts(said, whole=False))
            for parts in pieces:
                spoken += sum(not part.get("thought") for part in parts)
                yield self._chunk(_candidate(index, parts), spoken, thoughts)
            spoken = sum(one.output_tokens for one in self._answers[: index + 1])
            ending = [self._signed({"text": ""})] if pieces else []
            yield self._chunk(_candidate(index, ending, said), spoken, thoughts)

    def _chunk(self, candidate: dict[str, Any], spoken: int, thoughts: int) -> dict[str, Any]:
        return {"candidates": [candidate], "usageMetadata": self._usage(spoken, thoughts)} | self._head

    def _blocked(self) -> dict[str, Any]:
        feedback = {"blockReason": "SAFETY", "safetyRatings": [_BLOCKED]}
        return {"promptFeedback": feedback, "usageMetadata": self._usage(0, 0)} | self._head

    def _parts(self, said: Answer, *, whole: bool) -> Iterator[list[dict[str, Any]]]:
        """The parts, as they would come in one chunk after another."""
        if said.thinking and self._shows_thoughts:
            yield [{"text": said.thinking, "thought": True}]
        if said.calls:
            calls = [
                {"functionCall": {"id": secrets.token_hex(4), "name": call.tool.name, "args": call.arguments}}
                for call in said.calls
            ]
            yield [self._signed(calls[0]), *calls[1:]]
        elif said.text and whole:
            yield [self._signed({"text": said.text})]
        else:
            yield from ([{"text": piece}] for piece in words.pieces(said.text))

    def _signed(self, part: dict[str, Any]) -> dict[str, Any]:
        return part | ({"thoughtSignature": self._signature} if self._signature else {})

    def _spent(self) -> tuple[int, int]:
        spoken = sum(said.output_tokens for said in self._answers)
        return spoken, sum(said.thinking_tokens for said in self._answers)

    def _usage(self, spoken: int, thoughts: int) -> dict[str, Any]:
        """What was cached is inside the prompt's count; thoughts stand beside the candidates'."""
        prompt = self._texts + self._images + self._cached
        usage: dict[str, Any] = {
            "promptTokenCount": prompt,
            "totalTokenCount": prompt + spoken + thoughts,
            "promptTokensDetails": _by_modality(self._texts + self._cached, self._images),
            "serviceTier": "standard",
        }
        if self._answers:
            usage["candidatesTokenCount"] = spoken
        if thoughts:
            usage["thoughtsTokenCount"] = thoughts
        if self._cached:
            usage["cachedContentTokenCount"] = self._cached
            usage["cacheTokensDetails"] = _by_modality(self._cached, 0)
        return usage


def _candidate(index: int, parts: Sequence[dict[str, Any]], ended: Answer | None = None) -> dict[str, Any]:
    """parts: none when thinking ate the allowance; then the field is missing, as at Google."""
    content: dict[str, Any] = {"role": "model"} | ({"parts": list(parts)} if parts else {})
    ending = {"finishReason": _FINISH_REASONS[ended.ending]} if ended else {}
    return {"content": content, "index": index} | ending


def _event(body: Mapping[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\r\n\r\n"


def _array(chunks: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    for position, chunk in enumerate(chunks):
        yield (b",\r\n" if position else b"[") + msgspec.json.encode(chunk)
    yield b"\r\n]"
