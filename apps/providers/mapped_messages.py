"""A conversation as a mapping can place it: OpenAI's list of messages, or one text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from apps.core.errors import InvalidRequest
from apps.providers import wire
from apps.providers.types import ImagePart, Message, Part, TextPart

_SPEAKERS = {"user": "User", "assistant": "Assistant"}


def openai_messages(messages: Sequence[Message], system: str | None) -> list[dict[str, Any]]:
    """`[{"role", "content"}]`; content is text, or OpenAI's parts where there is a picture."""
    first = [{"role": "system", "content": system}] if system else []
    return first + [{"role": message.role, "content": _content(message.parts)} for message in messages]


def transcript(messages: Sequence[Message], system: str | None, *, is_alone: bool) -> str:
    """The conversation as one text.

    is_alone: there is no list of messages beside it; else it is the last user message only. A single user
    message is passed on as it is; a longer conversation is written out speaker by speaker, and ends where the
    model is to go on.
    """
    if not is_alone:
        last = next((message for message in reversed(messages) if message.role == "user"), None)
        return _plain(last.parts, pictures_elsewhere=True) if last else ""
    texts = [f"{_SPEAKERS[message.role]}: {_plain(message.parts)}" for message in messages]
    if len(messages) == 1 and messages[0].role == "user":
        texts = [_plain(messages[0].parts)]
    elif messages and messages[-1].role == "user":
        texts.append("Assistant:")
    return "\n\n".join([system, *texts] if system else texts)


def _content(parts: Sequence[Part]) -> str | list[dict[str, Any]]:
    if not any(isinstance(part, ImagePart) for part in parts):
        return _plain(parts)
    return list(_openai_parts(parts))


def _openai_parts(parts: Sequence[Part]) -> Iterable[dict[str, Any]]:
    for part in parts:
        if isinstance(part, TextPart):
            yield {"type": "text", "text": part.text}
        elif isinstance(part, ImagePart):
            inline = wire.inline_image(part)
            url = part.url if inline is None else f"data:{inline[0]};base64,{inline[1]}"
            yield {"type": "image_url", "image_url": {"url": url}}


def _plain(parts: Sequence[Part], *, pictures_elsewhere: bool = False) -> str:
    """The text parts, joined. Thinking stays out: no mapped provider wants another model's thoughts back."""
    if not pictures_elsewhere and any(isinstance(part, ImagePart) for part in parts):
        raise InvalidRequest.for_fields({"messages": "this model does not take pictures"})
    return "".join(part.text for part in parts if isinstance(part, TextPart))
