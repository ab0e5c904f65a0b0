"""Payload mappings: a provider described as data, so that one is added in the admin, without code.

The language is documented for its writers in `docs/adding-a-provider.md`. A mapping is compiled once, when it is
saved and when a process loads it; filling and reading are then walks over what was compiled.

    mapping_template.py   {placeholders} in strings and JSON     transformations.py   {x|lower}, {x:int}
    mapping_request.py    endpoint, headers, body                mapping_response.py  paths, media, stream, poll
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import httpx
import msgspec

from apps.core.errors import InvalidRequest
from apps.providers.jsonpath import Path
from apps.providers.mapping_nest import nest
from apps.providers.mapping_request import RequestTemplate, compile_request
from apps.providers.mapping_response import (
    MediaMapping,
    PollMapping,
    ResponseMapping,
    StreamMapping,
    compile_poll,
    compile_response,
    compile_stream,
)
from apps.providers.mapping_template import API_KEY, Fault, Faults, Scope

__all__ = [
    "CompiledMapping",
    "Fault",
    "MappingInvalid",
    "mapping_compile",
    "mapping_fill",
    "mapping_validate",
]

_KEYS: Final = (
    *("endpoint", "method", "headers", "body", "response_mapping", "defaults", "transformations"),
    *("media", "stream", "poll"),
)
_PROMPTS: Final = frozenset({"prompt", "user_prompt", "messages"})
_MEDIA_CAPABILITIES: Final = frozenset({"image", "video", "audio", "text_to_speech", "image_to_video"})


class MappingInvalid(ValueError):
    """A mapping that cannot be used; every fault in it, in the order they were met."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.path}: {fault.message}" for fault in self.faults))


class CompiledMapping(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """names: every placeholder in it but {api_key} and a poll's {job_id}: the values a caller has to gather.

    uses_api_key: whether it sends a key at all; a server of one's own may want none. raw: what it was compiled
    from; two mappings are equal when they are written alike.
    """

    raw: Mapping[str, Any]
    request: RequestTemplate
    response: ResponseMapping
    stream: StreamMapping | None
    poll: PollMapping | None
    names: frozenset[str]
    uses_api_key: bool

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, CompiledMapping) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.origin, self.names))

    def __repr__(self) -> str:
        return f"CompiledMapping({self.raw.get('endpoint')!r})"

    @property
    def origin(self) -> str | None:
        """Scheme and host of a full-URL endpoint; None when the endpoint is a path below the base_url."""
        return self.request.endpoint.origin

    @property
    def origins(self) -> frozenset[str]:
        """Every host it names, a stream's and a poll's own too."""
        requests = (self.request, self.stream and self.stream.request, self.poll and self.poll.request)
        return frozenset(
            request.endpoint.origin for request in requests if request and request.endpoint.origin
        )

    @property
    def media(self) -> MediaMapping | None:
        return self.response.media

    @property
    def fields(self) -> Mapping[str, Path]:
        return self.response.fields


def mapping_validate(raw: Any, *, capabilities: Collection[str] = ()) -> list[Fault]:
    """All that is wrong with a mapping; empty when it can be used.

    capabilities: of the model it is for; a text model must then say where the text is, and so on.
    """
    return _compile(raw, capabilities)[1]


def mapping_compile(raw: Any) -> CompiledMapping:
    """Raises MappingInvalid."""
    compiled, faults = _compile(raw, ())
    if faults or compiled is None:
        raise MappingInvalid(faults)
    return compiled


def mapping_fill(
    compiled: CompiledMapping,
    values: Mapping[str, Any],
    *,
    api_key: str,
    base_url: str,
    stream: bool = False,
    headers: Sequence[tuple[str, str]] = (),
) -> httpx.Request:
    """The provider's request. values: by placeholder name; None and absent are the same.

    base_url: origin (and prefix) the endpoint's path is joined to. Given, it takes the place of a full-URL
    endpoint's own origin too, so that an instance's base_urls and the sandbox reach every model; "" leaves the
    origin the mapping names. Raises InvalidRequest naming each option whose value cannot be sent.
    """
    template = compiled.request
    if stream:
        if compiled.stream is None:
            raise InvalidRequest.for_fields({"options.stream": "this model does not stream; leave it out"})
        template = compiled.stream.request
    return template.fill(values, api_key=api_key, base_url=base_url, headers=headers)


def _compile(raw: Any, capabilities: Collection[str]) -> tuple[CompiledMapping | None, list[Fault]]:
    faults = Faults()
    if not isinstance(raw, dict):
        faults.add("", "a payload mapping must be a JSON object")
        return None, faults.found
    faults.unknown_keys(raw, _KEYS)
    scope = Scope(faults, raw.get("transformations"), raw.get("defaults"))
    main = {**raw, "body": nest(raw.get("body"), "body", faults)}
    request = compile_request(main, scope)
    answers, places = _answers(raw, faults)
    response = compile_response({k: v for k, v in answers.items() if k not in ("stream", "poll")}, scope)
    compiled = CompiledMapping(
        raw=raw,
        request=request,
        response=response,
        stream=compile_stream(answers.get("stream"), places["stream"], scope, main=main, request=request),
        poll=compile_poll(answers.get("poll"), places["poll"], scope, request=request),
        names=frozenset(scope.names - {API_KEY, "job_id"}),
        uses_api_key=API_KEY in scope.names,
    )
    if not answers and not raw.get("response_mapping"):
        faults.add("response_mapping", 'is needed: say where the answer is, as in {"text": "$.answer"}')
    _check_capabilities(compiled, capabilities, faults)
    return compiled, faults.found


def _answers(raw: Mapping[str, Any], faults: Faults) -> tuple[dict[str, Any], dict[str, str]]:
    """response_mapping with media, stream and poll in it, and where each of the three was written.

    They belong inside; beside response_mapping they are taken as well, since they read as naturally there.
    """
    answers = dict(faults.object(raw.get("response_mapping"), "response_mapping"))
    places = {}
    for key in ("media", "stream", "poll"):
        places[key] = f"response_mapping.{key}"
        if raw.get(key) is None:
            continue
        if key in answers:
            faults.add(key, "is given twice; keep the one in response_mapping")
        answers[key], places[key] = raw[key], key
    return answers, places


def _check_capabilities(compiled: CompiledMapping, capabilities: Collection[str], faults: Faults) -> None:
    if "text" in capabilities:
        if compiled.response.text is None:
            faults.add("response_mapping.text", "is needed: the JSONPath of a text model's answer")
        if _PROMPTS.isdisjoint(compiled.names):
            faults.add("body", "never says what was asked: put {user_prompt} or {messages} into it")
    if not _MEDIA_CAPABILITIES.isdisjoint(capabilities) and compiled.media is None:
        example = '{"from": "url", "path": "$.data[*].url"}'
        faults.add("response_mapping.media", f"is needed: where the file is, as in {example}")
