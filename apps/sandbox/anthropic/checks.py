"""What Anthropic's Messages refuse: unknown fields, wrong types, what a version or a model does not take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from apps.sandbox.anthropic.strict import check_strict
from apps.sandbox.anthropic.turns import check_blocks, check_messages
from apps.sandbox.http import Request, json_object
from apps.sandbox.maker import Fault
from apps.sandbox.schemas import schema_fault

NEW_VERSION = "2026-10-21"
EFFORTS = ("low", "medium", "high", "xhigh", "max")
MIN_BUDGET = 1024

_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "model": (str, "string"),
    "messages": (list, "list"),
    "max_tokens": (int, "integer"),
    "system": ((str, list), "string"),
    "stop_sequences": (list, "list"),
    "stream": (bool, "boolean"),
    "temperature": ((int, float), "number"),
    "top_p": ((int, float), "number"),
    "top_k": (int, "integer"),
    "tools": (list, "list"),
    "tool_choice": (dict, "dictionary"),
    "thinking": (dict, "dictionary"),
    "output_config": (dict, "dictionary"),
    "metadata": (dict, "dictionary"),
    "service_tier": (str, "string"),
    "cache_control": (dict, "dictionary"),
    "container": ((str, dict), "string"),
    "inference_geo": (str, "string"),
    "speed": (str, "string"),
    "diagnostics": (dict, "dictionary"),
}
_COUNT_FIELDS = (
    "max_tokens",
    "metadata",
    "stop_sequences",
    "stream",
    "temperature",
    "top_k",
    "top_p",
    "service_tier",
)
# What a model may write at most; the first pattern that fits.
_OUTPUT_LIMITS = (
    (r"claude-3-(haiku|opus|sonnet)", 4_096),
    (r"claude-3-5", 8_192),
    (r"claude-opus-4(-1|-0|-20|$)", 32_000),
    (r"claude-(3-7|[a-z]+-4)", 64_000),
)
_CURRENT = re.compile(r"claude-(opus-4-[7-9]|[a-z]+-[5-9](\D|$)|mythos-preview)")
_FIFTH = re.compile(r"claude-[a-z]+-[5-9](\D|$)")


def invalid(place: str, fault: str) -> Fault:
    return Fault(400, f"{place}: {fault}")


def is_current(model: str) -> bool:
    """From Opus 4.7 and Sonnet 5 on: no sampling parameters, no thinking budgets, no prefilled answer."""
    return _CURRENT.match(model) is not None


def thinks_by_default(model: str) -> bool:
    return _FIFTH.match(model) is not None


def output_limit(model: str) -> int:
    return next((limit for pattern, limit in _OUTPUT_LIMITS if re.match(pattern, model)), 128_000)


def model_lookup(model: str) -> None:
    if not model.startswith("claude-") or re.search("nonexistent|retired", model):
        raise Fault(404, f"model: {model}")


def messages_body(request: Request, *, is_count: bool = False) -> dict[str, Any]:
    """The request's body, checked. Raises the Fault Anthropic would give. is_count: to count its tokens only."""
    try:
        body = json_object(request)
    except ValueError as exc:
        raise Fault(400, f"The request body is not valid JSON: {exc}") from None
    _check_fields(body, is_count=is_count)
    model_lookup(body["model"])
    is_new_version = request.headers.get("anthropic-version") == NEW_VERSION
    check_messages(body["messages"], is_new_version=is_new_version, may_prefill=not is_current(body["model"]))
    if isinstance(body.get("system"), list):
        check_blocks(body["system"], "system", kinds=("text",))
    _check_tools(body)
    _check_output(body)
    if not is_count:
        _check_thinking(body)
        _check_sampling(body, is_new_version=is_new_version)
        if body["max_tokens"] > output_limit(body["model"]):
            most = output_limit(body["model"])
            text = f"{body['max_tokens']} > {most}, which is the maximum allowed number of output tokens for"
            raise invalid("max_tokens", f"{text} {body['model']}")
    return body


def _check_fields(body: dict[str, Any], *, is_count: bool) -> None:
    for name in ("model", "messages") if is_count else ("model", "max_tokens", "messages"):
        if name not in body:
            raise invalid(name, "Field required")
    for name, value in list(body.items()):
        if name not in _TYPES or (is_count and name in _COUNT_FIELDS):
            raise invalid(name, "Extra inputs are not permitted")
        if value is None and name not in ("model", "messages", "max_tokens"):
            del body[name]
            continue
        expected, word = _TYPES[name]
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise invalid(name, f"Input should be a valid {word}")
    if body.get("max_tokens", 0) < 0:
        raise invalid("max_tokens", "Input should be greater than or equal to 0")
    for stop in body.get("stop_sequences", ()):
        if not isinstance(stop, str):
            raise invalid("stop_sequences.0", "Input should be a valid string")
        if not stop.strip():
            raise invalid("stop_sequences", "each stop sequence must contain non-whitespace")
    if body.get("service_tier", "auto") not in ("auto", "standard_only"):
        raise invalid("service_tier", "Input should be 'auto' or 'standard_only'")
    if extra := [name for name in body.get("metadata", ()) if name != "user_id"]:
        raise invalid(f"metadata.{extra[0]}", "Extra inputs are not permitted")


def _check_sampling(body: Mapping[str, Any], *, is_new_version: bool) -> None:
    is_refusing = is_current(body["model"])
    is_thinking = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    for name in ("temperature", "top_p", "top_k"):
        if name not in body:
            continue
        if is_new_version:
            raise Fault(400, f"`{name}` is not supported with anthropic-version {NEW_VERSION}.")
        if is_refusing and body[name] != 1:
            raise Fault(400, f"`{name}` is deprecated for this model.")
        if is_thinking and name == "temperature" and body[name] != 1:
            text = "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode."
            raise Fault(400, text)
        if body[name] < 0 or (body[name] > 1 and name != "top_k"):
            raise invalid(
                name, "Input should be between 0 and 1" if name != "top_k" else "Input should be at least 0"
            )


def _check_thinking(body: Mapping[str, Any]) -> None:
    thinking = body.get("thinking", {"type": "disabled"})
    kind = thinking.get("type")
    kinds = ("adaptive", "between_tools", "disabled", "enabled")
    if kind not in kinds:
        expected = ", ".join(f"'{one}'" for one in kinds)
        raise invalid("thinking", f"Input tag '{kind}' found using 'type' does not match any of: {expected}")
    if thinking.get("display") not in (None, "summarized", "omitted"):
        raise invalid(f"thinking.{kind}.display", "Input should be 'summarized' or 'omitted'")
    if kind != "enabled":
        return
    if is_current(body["model"]):
        raise Fault(
            400,
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.',
        )
    budget = thinking.get("budget_tokens")
    if budget is None:
        raise invalid("thinking.enabled.budget_tokens", "Field required")
    if not isinstance(budget, int) or budget < MIN_BUDGET:
        raise invalid(
            "thinking.enabled.budget_tokens", f"Input should be greater than or equal to {MIN_BUDGET}"
        )
    if budget >= body["max_tokens"]:
        raise Fault(400, "`max_tokens` must be greater than `thinking.budget_tokens`.")
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        raise Fault(400, "Thinking may not be enabled when tool_choice forces tool use.")


def _check_tools(body: Mapping[str, Any]) -> None:
    names = [_tool_name(tool, f"tools.{index}") for index, tool in enumerate(body.get("tools", ()))]
    if len(set(names)) < len(names):
        raise invalid("tools", "Tool names must be unique.")
    choice = body.get("tool_choice")
    if choice is None:
        return
    kind = choice.get("type")
    if kind not in ("auto", "any", "tool", "none"):
        text = f"Input tag '{kind}' found using 'type' does not match any of: 'any', 'auto', 'none', 'tool'"
        raise invalid("tool_choice", text)
    if not names:
        raise invalid("tool_choice", "tool_choice may only be specified while providing tools.")
    if kind == "tool" and choice.get("name") not in names:
        raise Fault(400, f"Tool '{choice.get('name')}' not found in provided tools")


def _tool_name(tool: Any, place: str) -> str:
    if not isinstance(tool, dict):
        raise invalid(place, "Input should be a valid dictionary")
    kind = tool.get("type") or "custom"
    name = tool.get("name")
    if name is None:
        raise invalid(f"{place}.{kind}.name", "Field required")
    if not isinstance(name, str):
        raise invalid(f"{place}.{kind}.name", "Input should be a valid string")
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", name):
        raise invalid(f"{place}.{kind}.name", "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
    if kind == "custom":
        place = f"{place}.custom.input_schema"
        if "input_schema" not in tool:
            raise invalid(place, "Field required")
        if fault := schema_fault(tool["input_schema"]):
            raise invalid(place, f"JSON schema is invalid: {fault}")
        if isinstance(tool["input_schema"], bool) or tool["input_schema"].get("type") != "object":
            raise invalid(f"{place}.type", "Input should be 'object'")
        if tool.get("strict"):
            check_strict(tool["input_schema"], place)
    return name


def _check_output(body: Mapping[str, Any]) -> None:
    config = body.get("output_config", {})
    if config.get("effort") not in (None, *EFFORTS):
        raise invalid("output_config.effort", f"Input should be one of {', '.join(EFFORTS)}")
    form = config.get("format")
    if form is None:
        return
    if not isinstance(form, dict) or form.get("type") != "json_schema":
        raise invalid("output_config.format.type", "Input should be 'json_schema'")
    if not isinstance(form.get("schema"), dict):
        raise invalid("output_config.format.schema", "Field required")
    if fault := schema_fault(form["schema"]):
        raise invalid("output_config.format.schema", f"JSON schema is invalid: {fault}")
    check_strict(form["schema"], "output_config.format.schema")
