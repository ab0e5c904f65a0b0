"""Instances of a JSON Schema: what a model in JSON mode, or a tool call's arguments, would hold.

Understands JSON Schema and Gemini's dialect of it (types in capitals, counts as text, `propertyOrdering`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from typing import Any

from apps.sandbox.patterns import string_matching

Schema = Mapping[str, Any]

MAX_VALUES = 20_000  # in one instance; a schema that wants more does not get them
MAX_TEXT = 100_000
# Below it only what is required is filled in, so that a schema that holds itself comes to an end.
MAX_DEPTH = 5

_ADJECTIVES = ("quiet", "amber", "northern", "simple", "bright", "early", "gentle", "copper")
_FORMATS = {
    "date-time": "2026-11-23T09:30:00Z",
    "date": "2026-11-23",
    "time": "09:30:00Z",
    "duration": "PT15M",
    "email": "alice@example.com",
    "idn-email": "alice@example.com",
    "hostname": "www.example.com",
    "uri": "https://www.example.com/path",
    "url": "https://www.example.com/path",
    "uri-reference": "/path",
    "iri": "https://www.example.com/path",
    "uuid": "6f1c2d3e-4a5b-4c6d-8e7f-9a0b1c2d3e4f",
    "ipv4": "192.0.2.10",
    "ipv6": "2001:db8::10",
    "json-pointer": "/path",
    "regex": "^[a-z]+$",
    "byte": "c2FuZGJveA==",
}


def instance(schema: Any, rng: Random) -> Any:
    """A value the schema accepts. Left out of account: `not`, `if`, `contains`, `patternProperties`."""
    return _Maker(schema, rng).make(schema, "value", 0)


class _Maker:
    def __init__(self, root: Any, rng: Random) -> None:
        self._root = root
        self._rng = rng
        self._left = MAX_VALUES

    def make(self, schema: Any, name: str, depth: int) -> Any:
        """name: of the property it is for, since text is made from it."""
        self._left -= 1
        if not isinstance(schema, Mapping):
            return self._text({}, name)
        schema = self._resolve(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._rng.choice(schema["enum"])
        match _type(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer":
                return int(self._number(schema, whole=True))
            case "number":
                return self._number(schema, whole=False)
            case "boolean":
                return self._rng.random() < 0.5
            case "null":
                return None
            case _:
                return self._text(schema, name)

    def _resolve(self, schema: Schema, depth: int) -> Schema:
        """The schema with its references followed, its first alternative chosen and its `allOf` folded in."""
        for _ in range(100):
            rest = dict(schema)
            if isinstance(reference := rest.pop("$ref", None), str):
                schema = dict(self._referenced(reference)) | rest
            elif options := rest.pop("anyOf", None) or rest.pop("oneOf", None):
                schema = _merged(rest, self._option(options, depth))
            elif isinstance(rest.get("allOf"), list):
                schema = rest
                for part in rest.pop("allOf"):
                    schema = _merged(schema, part)
            else:
                return rest
        return {}

    def _option(self, options: list[Any], depth: int) -> Any:
        if depth >= MAX_DEPTH:
            for option in options:
                if (
                    isinstance(option, Mapping)
                    and _type(option) not in ("object", "array")
                    and "$ref" not in option
                ):
                    return option
        return options[0]

    def _referenced(self, reference: str) -> Schema:
        found = self._root
        for step in reference.lstrip("#").strip("/").split("/"):
            if step:
                step = step.replace("~1", "/").replace("~0", "~")
                found = found.get(step, {}) if isinstance(found, Mapping) else {}
        return found if isinstance(found, Mapping) else {}

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = list(schema.get("required") or ())
        names = list(schema.get("propertyOrdering") or properties)
        names += [name for name in required if name not in names]
        most = _count(schema, "maxProperties", math.inf)
        if depth >= MAX_DEPTH or len(names) > most:
            names = [name for name in names if name in required]
        others = schema.get("additionalProperties", True)
        made = {name: self.make(properties.get(name, others), name, depth + 1) for name in names}
        number = 1
        while len(made) < _count(schema, "minProperties", 0) and self._left > 0:
            made.setdefault(f"key{number}", self.make(others, f"key{number}", depth + 1))
            number += 1
        return made

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        least = int(_count(schema, "minItems", 0))
        length = least if depth >= MAX_DEPTH else max(least, 2)
        first = list(schema.get("prefixItems") or ())
        others = schema.get("items", {} if not first else False)
        if others is False:
            length = max(least, len(first))
        length = int(min(length, _count(schema, "maxItems", math.inf), MAX_VALUES))
        made = [self.make(item, name, depth + 1) for item in first[:length]]
        is_unique = bool(schema.get("uniqueItems"))
        for draw in range(length + 200):
            if len(made) >= length or self._left <= 0:
                break
            item = self.make(others, name, depth + 1)
            if is_unique and item in made and isinstance(item, str) and draw > 20:
                item = f"{item} {draw}"  # there are only so many words
            if not (is_unique and item in made):
                made.append(item)
        return made

    def _number(self, schema: Schema, *, whole: bool) -> float:
        least = _count(schema, "minimum", -math.inf)
        most = _count(schema, "maximum", math.inf)
        step = _count(schema, "multipleOf", 0) or (1 if whole else 0)
        nudge = step or 1e-3
        if (above := _count(schema, "exclusiveMinimum", -math.inf)) >= least:
            least = above + nudge
        if (below := _count(schema, "exclusiveMaximum", math.inf)) <= most:
            most = below - nudge
        if least > most:
            return (least + most) / 2
        low = least if least > -math.inf else min(1.0, most - 100) if most < math.inf else 1.0
        high = min(most, low + 99)
        if not step:
            return round(low + (high - low) * self._rng.randint(0, 20) / 20, 6)
        lowest, highest = math.ceil(low / step), math.floor(high / step)
        value = self._rng.randint(lowest, max(lowest, highest)) * step
        return value if whole or value != int(value) else float(value)

    def _text(self, schema: Schema, name: str) -> str:
        if isinstance(pattern := schema.get("pattern"), str):
            return string_matching(pattern, self._rng)
        text = _FORMATS.get(str(schema.get("format", "")), "")
        text = text or f"{self._rng.choice(_ADJECTIVES)} {name.replace('_', ' ')}"
        while len(text) < min(_count(schema, "minLength", 0), MAX_TEXT):
            text += f" {text}"
        return text[: int(min(_count(schema, "maxLength", len(text)), len(text)))]


def _type(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str) and kind != "TYPE_UNSPECIFIED":
        return kind.lower()
    if "properties" in schema or "additionalProperties" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if "minimum" in schema or "maximum" in schema or "multipleOf" in schema:
        return "number"
    return "string"


def _count(schema: Schema, name: str, default: float) -> float:
    value = schema.get(name)
    if isinstance(value, str):  # Gemini's 64-bit integers
        value = float(value) if value.lstrip("-").isdigit() else None
    return default if value is None or isinstance(value, bool) else value


def _merged(base: Schema, other: Any) -> dict[str, Any]:
    if not isinstance(other, Mapping):
        return dict(base)
    merged = dict(base) | dict(other)
    merged["properties"] = dict(base.get("properties") or {}) | dict(other.get("properties") or {})
    merged["required"] = [*(base.get("required") or ()), *(other.get("required") or ())]
    return {name: value for name, value in merged.items() if value or name not in ("properties", "required")}
