"""Dotted names in a body, and one body laid over another: both before any placeholder is looked at."""

from __future__ import annotations

import re
from typing import Any

from apps.providers.mapping_template import MAX_DEPTH, Faults, has_placeholder


def nest(raw: Any, at: str, faults: Faults, *, depth: int = 0) -> Any:
    """`{"config.style": x}` as `{"config": {"style": x}}`, at every level, merged with its siblings."""
    if depth > MAX_DEPTH:
        return raw  # compile_tree says so
    if isinstance(raw, list):
        return [nest(item, f"{at}[{i}]", faults, depth=depth + 1) for i, item in enumerate(raw)]
    if not isinstance(raw, dict):
        return raw
    nested: dict[str, Any] = {}
    for key, value in raw.items():
        first, *rest = _key_parts(key, at, faults)
        inner = nest(value, f"{at}.{key}", faults, depth=depth + 1)
        for part in reversed(rest):
            inner = {part: inner}
        _graft(nested, first, inner, at, faults)
    return nested


def _key_parts(key: str, at: str, faults: Faults) -> list[str]:
    """A dot nests; `\\.` is a dot in the name."""
    parts = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", key)]
    if not all(parts):
        faults.add(f"{at}.{key}", "has an empty name between its dots")
    if has_placeholder(key):
        faults.add(f"{at}.{key}", "placeholders are replaced in values, not in names")
    if len(parts) > MAX_DEPTH:
        faults.add(f"{at}.{key}", f"nests more than {MAX_DEPTH} levels deep")
    return parts[:MAX_DEPTH]


def _graft(into: dict[str, Any], key: str, value: Any, at: str, faults: Faults) -> None:
    if key not in into:
        into[key] = value
    elif isinstance(into[key], dict) and isinstance(value, dict):
        for inner_key, inner in value.items():
            _graft(into[key], inner_key, inner, f"{at}.{key}", faults)
    else:
        faults.add(f"{at}.{key}", "is set twice, once by a dotted name; keep one of the two")


def overlay(base: Any, over: Any, *, depth: int = 0) -> Any:
    """over laid on base: objects merge, anything else replaces."""
    if depth > MAX_DEPTH or not isinstance(base, dict) or not isinstance(over, dict):
        return over
    merged = dict(base)
    for key, value in over.items():
        merged[key] = overlay(base[key], value, depth=depth + 1) if key in base else value
    return merged
