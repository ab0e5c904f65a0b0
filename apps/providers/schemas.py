"""Any JSON Schema as one that a maker with constrained decoding accepts, when there is one.

Such makers (Anthropic) want every object closed and refuse limits they can't enforce while decoding. The result asks
for no less than the original but for those limits, which move into the description; whoever wants them kept checks
the answer against the original.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_LIMITS = frozenset(
    (
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    )
)
_KEPT = frozenset(("type", "title", "enum", "const", "default", "format", "required", "$ref", "description"))
_MAPS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "allOf")
_DROPPED = frozenset(("$schema", "$id", "$comment", "examples"))


class _NotExpressible(Exception):
    pass


def schema_closed(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema with closed objects and without limits; None when that would change what it asks for: an object
    open on purpose, or a keyword with no place in such schemas."""
    try:
        return _closed(schema)
    except _NotExpressible:
        return None


def _closed(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise _NotExpressible
    made: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _KEPT:
            made[name] = value
        elif name in _MAPS and isinstance(value, Mapping):
            made[name] = {key: _closed(inner) for key, inner in value.items()}
        elif name in _LISTS and isinstance(value, list):
            made[name] = [_closed(inner) for inner in value]
        elif name == "items":
            made[name] = _closed(value)
        elif name in _LIMITS or (name == "minItems" and value not in (0, 1)):
            limits[name] = value
        elif name == "minItems":
            made[name] = value
        elif name not in _DROPPED and (name, value) != ("additionalProperties", False):
            raise _NotExpressible
    if _is_object(schema):
        if not schema.get("properties"):
            raise _NotExpressible
        made["additionalProperties"] = False
    if limits:
        said = msgspec.json.encode(limits).decode()
        made["description"] = f"{made['description']} {said}" if made.get("description") else said
    return made


def _is_object(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema
