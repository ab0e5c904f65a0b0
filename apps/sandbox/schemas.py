"""Whether a JSON Schema is one, as far as `instances.py` reads it: every maker refuses a broken one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


def schema_fault(schema: Any, *, path: str = "schema") -> str | None:
    """What is wrong and where, or None."""
    return next(_faults(schema, path), None)


def _faults(schema: Any, path: str) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield f"{path} is not an object"
        return
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in _TYPES:
            yield f"{path}.type: {kind!r} is not one of {', '.join(_TYPES)}"
    yield from _value_faults(schema, path)
    for keyword in ("properties", "$defs", "definitions"):
        inners = schema.get(keyword, {})
        if not isinstance(inners, dict):
            yield f"{path}.{keyword} is not an object"
            continue
        for name, inner in inners.items():
            yield from _faults(inner, f"{path}.{keyword}.{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from _faults(schema[keyword], f"{path}.{keyword}")
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        inners = schema.get(keyword, [True])
        if not isinstance(inners, list) or not inners:
            yield f"{path}.{keyword} is not a list of schemas"
            continue
        for number, inner in enumerate(inners):
            yield from _faults(inner, f"{path}.{keyword}[{number}]")


def _value_faults(schema: dict[str, Any], path: str) -> Iterator[str]:
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        yield f"{path}.required is not a list of names"
    if not isinstance(schema.get("enum", [None]), list) or not schema.get("enum", [None]):
        yield f"{path}.enum is not a list of values"
    for keyword in _COUNTS:
        if not _is_number(value := schema.get(keyword, 0)) or value < 0 or value != int(value):
            yield f"{path}.{keyword} is not a count"
    for keyword in _NUMBERS:
        if not _is_number(schema.get(keyword, 1)):
            yield f"{path}.{keyword} is not a number"
    for keyword in ("$ref", "pattern", "format"):
        if not isinstance(schema.get(keyword, ""), str):
            yield f"{path}.{keyword} is not text"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
