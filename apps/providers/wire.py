"""What the built-in adapters share on the way out and in: the request's unchanging head, pictures, JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import httpx
import msgspec

from apps.core.errors import InvalidRequest, ProviderError, ProviderKeyRefused
from apps.providers.types import ImagePart, ModelSpec

T = TypeVar("T")

# Specs are rebuilt whenever configuration changes, so heads are remembered by value. Bounded: keys rotate.
HEADS_KEPT = 1024


class Head(NamedTuple):
    """What all requests of one model with one key have in common. headers: ready for httpx, less the length."""

    url: httpx.URL
    headers: list[tuple[bytes, bytes]]


def json_head(
    url: str, headers: Mapping[str, str], extra: tuple[tuple[str, str], ...], *, provider: str
) -> Head:
    """A POST's address and headers. extra: replaces headers of the same name.

    headers with an empty value are left out: a server without a key takes none. Raises ProviderKeyRefused when
    one can't be a header: a key pasted with a stray character.
    """
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise ProviderError(
            f"The address configured for {provider} is not a URL.", provider=provider
        ) from exc
    named = {b"host": address.netloc, b"content-type": b"application/json"}
    for name, value in headers.items():
        if not value.isascii() or not value.isprintable():
            raise ProviderKeyRefused(
                f"The key stored for {provider} has a character no key can have.", provider=provider
            )
        if value:
            named[name.encode()] = value.encode()
    for name, value in extra:
        if not value.isprintable():
            raise InvalidRequest(f"The header {name} has a character no header can have.")
        named[name.lower().encode()] = value.encode()
    return Head(address, list(named.items()))


def json_request(head: Head, body: object) -> httpx.Request:
    """A third of the cost of httpx.Request(content=…), which looks for all we already know."""
    try:
        content = msgspec.json.encode(body)
    except UnicodeEncodeError as exc:
        raise InvalidRequest("The request has half a surrogate pair in it, which no JSON can carry.") from exc
    headers = [*head.headers, (b"content-length", b"%d" % len(content))]
    request = httpx.Request("POST", head.url, headers=headers, stream=httpx.ByteStream(content))
    request.read()
    return request


def add_extra(body: dict[str, Any], extra: Mapping[str, Any], *, fixed: frozenset[str]) -> None:
    """Merges the caller's own options into the body's top level; fixed: names they can't have."""
    for name, value in extra.items():
        if name not in fixed:
            body[name] = value


def said_only(**fields: Any) -> dict[str, Any]:
    """The fields that have a value: None means not said, so not sent."""
    return {name: value for name, value in fields.items() if value is not None}


def inline_image(part: ImagePart) -> tuple[str, str] | None:
    """(media type, base64) of a picture that came with the request; None for one to be fetched from its URL."""
    if part.data is not None:
        if part.url is not None or not part.media_type:
            raise InvalidRequest("An image needs either a url, or data with its media_type.")
        return part.media_type, part.data
    if not part.url:
        raise InvalidRequest("An image needs either a url, or data with its media_type.")
    if not part.url.startswith("data:"):
        return None
    head, _, data = part.url[len("data:") :].partition(",")
    media_type, *parameters = head.split(";")
    if "base64" not in parameters or not media_type:
        raise InvalidRequest("An image's data: URL must have a media type and be base64.")
    return media_type, data


def json_object(text: str) -> dict[str, Any] | None:
    """The object in a tool call's arguments; empty text means {}, None that it is not an object."""
    if not text.strip():
        return {}
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def tool_input(arguments: str) -> dict[str, Any]:
    """A tool call's arguments for makers who want an object.

    A model's own broken JSON is wrapped, not refused: the conversation that must tell it so has to go on.
    """
    value = json_object(arguments)
    return {"invalid_json": arguments} if value is None else value


def answer_of(decoder: msgspec.json.Decoder[T], data: bytes | str, spec: ModelSpec) -> T:
    """data as the provider's own type. Raises ProviderError when it is something else."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise nonsense(spec) from exc


def nonsense(spec: ModelSpec) -> ProviderError:
    return ProviderError(f"{spec.provider} answered with something unreadable.", provider=spec.provider)
