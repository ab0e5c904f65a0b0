"""What OpenAI asks of a schema that is marked `strict`: every object closed, every property required."""

from __future__ import annotations

from typing import Any

from apps.sandbox.maker import Fault


def check_strict(schema: Any, owner: str, param: str, code: str | None, path: tuple[str, ...] = ()) -> None:
    """owner: whose schema it is, as the message says it. path: where we are in it."""
    if not isinstance(schema, dict):
        return
    if fault := _fault(schema):
        message = f"Invalid schema for {owner}: In context={path!r}, {fault}"
        raise Fault(400, message, code=code, param=param)
    for keyword in ("properties", "$defs", "definitions"):
        if isinstance(inners := schema.get(keyword), dict):
            for name, inner in inners.items():
                check_strict(inner, owner, param, code, (*path, keyword, name))
    check_strict(schema.get("items"), owner, param, code, (*path, "items"))
    if isinstance(options := schema.get("anyOf"), list):
        for number, inner in enumerate(options):
            check_strict(inner, owner, param, code, (*path, "anyOf", str(number)))


def _fault(schema: dict[str, Any]) -> str | None:
    if schema.get("type") != "object" and "properties" not in schema:
        return None
    if schema.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    required = schema.get("required") or ()
    for name in schema.get("properties") or ():
        if name not in required:
            text = (
                "'required' is required to be supplied and to be an array including every key in properties."
            )
            return f"{text} Missing '{name}'."
    return None
