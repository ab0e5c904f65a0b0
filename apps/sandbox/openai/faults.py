"""The few sentences in which OpenAI says what is wrong with a field."""

from __future__ import annotations

from typing import Any

from apps.sandbox.maker import Fault

_WORDS = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
}


def unsupported(name: str, hint: str = "") -> Fault:
    message = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
    return Fault(400, message, code="unsupported_parameter", param=name)


def missing(name: str) -> Fault:
    return Fault(400, f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)


def wrong_type(name: str, expected: str, value: Any) -> Fault:
    found = _WORDS.get(type(value), "an object")
    message = f"Invalid type for '{name}': expected {expected}, but got {found} instead."
    return Fault(400, message, code="invalid_type", param=name)


def wrong_value(name: str, value: Any, allowed: tuple[str, ...]) -> Fault:
    listed = ", ".join(f"'{one}'" for one in allowed)
    message = f"Invalid value: '{value}'. Supported values are: {listed}."
    return Fault(400, message, code="invalid_value", param=name)
