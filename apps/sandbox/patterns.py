"""Text that a regular expression accepts, for schemas with a `pattern`."""

from __future__ import annotations

import importlib
import re
from random import Random
from typing import Any

# The standard library's own parser of regular expressions: private, but its tree has been stable for years.
_parser: Any = importlib.import_module("re._parser")

MAX_LENGTH = 10_000

_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-.,:/@+#"
_CLASSES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}


def string_matching(pattern: str, rng: Random) -> str:
    """A text in which the pattern is found, or "" when it is not one we can read."""
    try:
        text = _sequence(_parser.parse(pattern), rng)
        return text if re.search(pattern, text) else ""
    except (re.error, ValueError, IndexError):
        return ""


def _sequence(items: Any, rng: Random) -> str:
    return "".join(_item(str(kind), value, rng) for kind, value in items)


def _item(kind: str, value: Any, rng: Random) -> str:
    match kind:
        case "LITERAL":
            return chr(value)
        case "IN":
            return rng.choice(_members(value))
        case "ANY":
            return rng.choice("abc")
        case "NOT_LITERAL":
            return "a" if chr(value) != "a" else "b"
        case "SUBPATTERN":
            return _sequence(value[-1], rng)
        case "ATOMIC_GROUP":
            return _sequence(value, rng)
        case "BRANCH":
            return _sequence(rng.choice(value[1]), rng)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, inner = value
            times = rng.randint(least, min(int(most), least + 3))
            if times * len(text := _sequence(inner, rng)) > MAX_LENGTH:
                raise ValueError("too long")
            return text + "".join(_sequence(inner, rng) for _ in range(times - 1)) if times else ""
        case "AT" | "ASSERT" | "ASSERT_NOT":  # where it stands, not what it is
            return ""
        case _:
            raise ValueError(kind)


def _members(items: Any) -> list[str]:
    is_negated = str(items[0][0]) == "NEGATE"
    members: set[str] = set()
    for kind, value in items:
        match str(kind):
            case "LITERAL":
                members.add(chr(value))
            case "RANGE":
                members.update(chr(code) for code in range(value[0], min(value[1], value[0] + 200) + 1))
            case "CATEGORY":
                members.update(sign for sign in _ALPHABET if re.match(_CLASSES[str(value)], sign))
    return sorted(set(_ALPHABET) - members if is_negated else members)
