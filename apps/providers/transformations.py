"""What may stand after a placeholder's name: `{x|lower}` transforms, `{x:int}` converts.

Each is a plain function of one value that raises ValueError with a sentence saying what the value must be; the
template puts the option's name in front. A transformation that returns None leaves the field out.
`docs/adding-a-provider.md` lists them all and a test holds it to that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

Step = Callable[[Any], Any]


def text_of(value: Any) -> str:
    """A value inside a longer string: true and not True, compact JSON for lists and objects."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _one_of(value: Any, allowed: Sequence[str]) -> ValueError:
    return ValueError(f"must be one of {', '.join(allowed)}, not {_shown(value)}")


# --- conversions: {x:int} -----------------------------------------------------------------------------------

_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")
_TRUE: Final = ("true", "1", "yes", "on")
_FALSE: Final = ("false", "0", "no", "off")


def to_int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    raise ValueError(f"must be a whole number, not {_shown(value)}")


def to_float(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"must be a number, not {_shown(value)}")
    return number


def to_bool(value: Any) -> bool:
    word = text_of(value).strip().lower() if isinstance(value, str | int) else ""
    if word not in _TRUE + _FALSE:
        raise ValueError(f"must be true or false, not {_shown(value)}")
    return word in _TRUE


def to_array(value: Any) -> list[Any]:
    """A list as it is; text as a JSON list, else split at its commas; anything else becomes a list of one."""
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, str):
        return [value]
    if value.lstrip().startswith("["):
        parsed = to_json(value)
        return parsed if isinstance(parsed, list) else [parsed]
    return [item.strip() for item in value.split(",") if item.strip()]


def to_json(value: Any) -> Any:
    """Text parsed as JSON; what is no text is JSON already."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise ValueError(f"must be JSON, not {_shown(value)}") from None


CONVERSIONS: Final[Mapping[str, Step]] = {
    "int": to_int,
    "float": to_float,
    "bool": to_bool,
    "array": to_array,
    "json": to_json,
}

# --- built-in transformations: {x|aspectToSize} -------------------------------------------------------------

# The pixels makers take for a ratio, DALL·E 3's where it has one.
_SIZES: Final = {
    "1:1": "1024x1024",
    "16:9": "1792x1024",
    "9:16": "1024x1792",
    "3:2": "1536x1024",
    "2:3": "1024x1536",
    "4:3": "1152x864",
    "3:4": "864x1152",
    "5:4": "1280x1024",
    "4:5": "1024x1280",
    "21:9": "2016x864",
}
_IDEOGRAM_RATIOS: Final = ("1:1", "10:16", "16:10", "9:16", "16:9", "3:2", "2:3", "4:3", "3:4", "1:3", "3:1")
_SIZE = re.compile(r"([1-9][0-9]{0,4})\s*[xX×]\s*([1-9][0-9]{0,4})")
_RATIO = re.compile(r"([1-9][0-9]{0,4})\s*[:xX/]\s*([1-9][0-9]{0,4})")
_SECONDS = re.compile(r"\s*([0-9]{1,6}(?:\.[0-9]{1,3})?)\s*s?\s*")
_DATA_URL = re.compile(r"data:[^,;]*(?:;[^,;]*)*;base64,", re.IGNORECASE)


def aspect_to_size(value: Any) -> str:
    text = text_of(value).strip()
    if _SIZE.fullmatch(text):
        return text
    if text not in _SIZES:
        raise _one_of(value, list(_SIZES))
    return _SIZES[text]


def size_to_aspect(value: Any) -> str:
    """The nearest common ratio: 1792x1024 is 7:4, and means 16:9."""
    text = text_of(value).strip()
    if text in _SIZES:
        return text
    size = _SIZE.fullmatch(text)
    if size is None:
        raise ValueError(f"must be a size such as 1024x1024, not {_shown(value)}")
    wanted = math.log(int(size[1]) / int(size[2]))
    return min(_SIZES, key=lambda ratio: abs(math.log(_quotient(ratio)) - wanted))


def _quotient(ratio: str) -> float:
    width, height = ratio.split(":")
    return int(width) / int(height)


def aspect_to_ideogram(value: Any) -> str:
    text = text_of(value).strip().removeprefix("ASPECT_").replace("_", ":")
    if text not in _IDEOGRAM_RATIOS:
        raise _one_of(value, _IDEOGRAM_RATIOS)
    return f"ASPECT_{text.replace(':', '_')}"


def aspect_to_x(value: Any) -> str:
    ratio = _RATIO.fullmatch(text_of(value).strip())
    if ratio is None:
        raise ValueError(f"must be a ratio such as 16:9, not {_shown(value)}")
    return f"{ratio[1]}x{ratio[2]}"


def _seconds(value: Any) -> str:
    seconds = None if isinstance(value, bool) else _SECONDS.fullmatch(text_of(value))
    if seconds is None:
        raise ValueError(f"must be a number of seconds, not {_shown(value)}")
    return f"{float(seconds[1]):g}"


def seconds_to_string(value: Any) -> str:
    return f"{_seconds(value)}s"


def seconds_to_number(value: Any) -> int | float:
    seconds = float(_seconds(value))
    return int(seconds) if seconds.is_integer() else seconds


def strip_data_url(value: Any) -> Any:
    return _DATA_URL.sub("", value, count=1) if isinstance(value, str) else value


def join_commas(value: Any) -> str:
    return ", ".join(text_of(item) for item in value) if isinstance(value, list | tuple) else text_of(value)


def messages_to_contents(value: Any) -> list[dict[str, Any]]:
    """OpenAI-style messages as Google's contents; the assistant is its "model"."""
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        raise ValueError("must be a list of messages")
    if not all(isinstance(message.get("content"), str) for message in value):
        raise ValueError("must hold text only: this model does not take pictures")
    return [
        {
            "role": "model" if message.get("role") == "assistant" else "user",
            "parts": [{"text": message["content"]}],
        }
        for message in value
    ]


def _upper(value: Any) -> str:
    return text_of(value).upper()


def _lower(value: Any) -> str:
    return text_of(value).lower()


def _trim(value: Any) -> str:
    return text_of(value).strip()


def _first(value: Any) -> Any:
    return next(iter(value), None) if isinstance(value, list | tuple) else value


BUILT_IN: Final[Mapping[str, Step]] = {
    "aspectToSize": aspect_to_size,
    "sizeToAspect": size_to_aspect,
    "aspectToIdeogram": aspect_to_ideogram,
    "aspectToX": aspect_to_x,
    "secondsToString": seconds_to_string,
    "secondsToNumber": seconds_to_number,
    "lower": _lower,
    "upper": _upper,
    "trim": _trim,
    "toString": text_of,
    "joinCommas": join_commas,
    "first": _first,
    "stripDataUrl": strip_data_url,
    "messagesToContents": messages_to_contents,
}

# Says where a value may go rather than what becomes of it; the endpoint's path reads it, see mapping_request.py.
KEEP_SLASHES: Final = "keepSlashes"


def table_step(table: Mapping[str, Any]) -> Step:
    """A transformation from a table in the mapping; its "*" (or "default") entry answers for the rest."""
    entries = dict(table)
    has_rest = "*" in entries or "default" in entries
    rest = entries.get("*", entries.get("default"))
    allowed = [key for key in entries if key not in ("*", "default")]

    def look_up(value: Any) -> Any:
        key = text_of(value)
        if key in entries:
            return entries[key]
        if not has_rest:
            raise _one_of(value, allowed)
        return rest

    return look_up
