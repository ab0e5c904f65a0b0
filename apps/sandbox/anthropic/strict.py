"""What Anthropic refuses in a schema it has to keep to: open objects, and limits it cannot enforce.

Source: what its Python SDK (2.12.0) takes out of a schema before it sends it.
"""

from __future__ import annotations

from typing import Any

from apps.sandbox.maker import Fault

_REFUSED = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
}


def check_strict(schema: Any, place: str) -> None:
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if fault := _fault(schema, kind if isinstance(kind, str) else ""):
        raise Fault(400, f"{place}: {fault}")
    for keyword in ("properties", "$defs", "definitions"):
        if isinstance(inners := schema.get(keyword), dict):
            for inner in inners.values():
                check_strict(inner, place)
    check_strict(schema.get("items"), place)
    for keyword in ("anyOf", "allOf"):
        if isinstance(options := schema.get(keyword), list):
            for inner in options:
                check_strict(inner, place)


def _fault(schema: dict[str, Any], kind: str) -> str | None:
    if kind == "object" and schema.get("additionalProperties") is not False:
        return "For 'object' type, 'additionalProperties' must be explicitly set to false"
    if refused := [name for name in _REFUSED.get(kind, ()) if name in schema]:
        return f"For '{kind}' type, properties {', '.join(refused)} are not supported"
    if kind == "array" and schema.get("minItems", 0) not in (0, 1):
        return "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    return None
