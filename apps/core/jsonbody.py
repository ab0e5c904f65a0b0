"""Request bodies: bytes from anybody in, plain JSON values out."""

from __future__ import annotations

from typing import Any

import msgspec

from apps.core.errors import InvalidRequest

MAX_DEPTH = 64

_decoder = msgspec.json.Decoder()


def json_object_read(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; an empty body is an empty object.

    Raises InvalidRequest for broken JSON, anything but an object, nesting deeper than MAX_DEPTH, and NUL characters
    (PostgreSQL can't store them). Lone surrogates and invalid UTF-8 are broken JSON to the decoder.
    """
    if not body.strip():
        return {}
    try:
        value = _decoder.decode(body)
    except RecursionError as exc:
        raise InvalidRequest(f"The JSON body is nested deeper than {MAX_DEPTH} levels.") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidRequest(f"The body is not valid JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    json_value_check(value)
    return value


def json_value_check(value: Any) -> None:
    """Raises InvalidRequest on NUL characters and on nesting deeper than MAX_DEPTH."""
    layer: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in layer:
            if isinstance(item, str):
                _text_check(item)
            elif isinstance(item, dict):
                for key in item:
                    _text_check(key)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return
        layer = below
    raise InvalidRequest(f"The JSON body is nested deeper than {MAX_DEPTH} levels.")


def _text_check(text: str) -> None:
    if "\x00" in text:
        raise InvalidRequest("The body contains a NUL character, which is not allowed in text.")
