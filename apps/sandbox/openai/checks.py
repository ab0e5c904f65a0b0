"""What OpenAI's chat completions refuse: unknown names, wrong types, bad ranges, what a model lacks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from apps.sandbox.http import Request, json_object
from apps.sandbox.maker import Fault
from apps.sandbox.openai.faults import missing, unsupported, wrong_type, wrong_value
from apps.sandbox.openai.strict import check_strict
from apps.sandbox.openai.turns import check_messages
from apps.sandbox.schemas import schema_fault

_NUMBERS: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
_INTEGERS: dict[str, tuple[float, float]] = {
    "max_tokens": (1, float("inf")),
    "max_completion_tokens": (1, float("inf")),
    "n": (1, 128),
    "top_logprobs": (0, 20),
    "seed": (float("-inf"), float("inf")),
}
_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "model": (str, "a string"),
    "messages": (list, "an array of objects"),
    "stream": (bool, "a boolean"),
    "logprobs": (bool, "a boolean"),
    "store": (bool, "a boolean"),
    "parallel_tool_calls": (bool, "a boolean"),
    "user": (str, "a string"),
    "safety_identifier": (str, "a string"),
    "prompt_cache_key": (str, "a string"),
    "stream_options": (dict, "an object"),
    "response_format": (dict, "an object"),
    "metadata": (dict, "an object"),
    "logit_bias": (dict, "an object"),
    "tools": (list, "an array of objects"),
    "stop": ((str, list), "one of a string or array of strings"),
    "tool_choice": ((str, dict), "one of a string or object"),
    "audio": (dict, "an object"),
    "moderation": (dict, "an object"),
    "prediction": (dict, "an object"),
    "web_search_options": (dict, "an object"),
    "prompt_cache_options": (dict, "an object"),
}
_CHOICES = {
    "reasoning_effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "verbosity": ("low", "medium", "high"),
    "service_tier": ("auto", "default", "flex", "scale", "priority", "fast"),
    "prompt_cache_retention": ("in_memory", "24h"),
}
_NOT_REHEARSED = ("functions", "function_call", "modalities")
# With the above, every name the specification has (2.3.0, August 2026); any other is refused.
_KNOWN = {*_NUMBERS, *_INTEGERS, *_TYPES, *_CHOICES, *_NOT_REHEARSED}
_REASONING_LACKS = ("presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias", "stop")
_CHAT_MODEL = re.compile(r"(ft:)?(gpt-\d|o\d|chatgpt-|codex-)")
_OTHER_KIND = re.compile(r"gpt-image|dall-e|(^|-)tts|whisper|embedding|realtime|transcribe|^babbage|^davinci")
_REASONING = re.compile(r"(ft:)?(gpt-[5-9](?!.*chat)|o\d)")


def is_reasoning(model: str) -> bool:
    return _REASONING.match(model) is not None


def chat_body(request: Request) -> dict[str, Any]:
    """The request's body, checked. Raises the Fault OpenAI would give."""
    try:
        body = json_object(request)
    except ValueError as exc:
        raise Fault(400, f"We could not parse the JSON body of your request: {exc}.") from None
    body = {name: value for name, value in body.items() if value is not None or name in ("model", "messages")}
    _check_model(body)
    _check_fields(body)
    check_messages(body.get("messages"))
    _check_format(body)
    _check_tools(body)
    _check_abilities(body, body["model"])
    return body


def _check_model(body: Mapping[str, Any]) -> None:
    model = body.get("model")
    if not model:
        raise Fault(400, "you must provide a model parameter")
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    is_other_kind = _OTHER_KIND.search(model) is not None
    if re.search("nonexistent|retired", model) or not (is_other_kind or _CHAT_MODEL.match(model)):
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Fault(404, message, code="model_not_found")
    if is_other_kind:
        message = "This is not a chat model and thus not supported in the v1/chat/completions endpoint."
        raise Fault(404, message, param="model")


def _check_fields(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        if name not in _KNOWN:
            raise Fault(400, f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
        if name in _NOT_REHEARSED and value != ["text"]:
            text = f"The sandbox has no '{name}' beyond plain text."
            raise Fault(400, text, code="unsupported_value", param=name)
        if name in _NUMBERS:
            _check_number(name, value, _NUMBERS[name], "decimal")
        elif name in _INTEGERS:
            _check_number(name, value, _INTEGERS[name], "integer")
        elif name in _TYPES and not isinstance(value, _TYPES[name][0]):
            raise wrong_type(name, _TYPES[name][1], value)
        elif name in _CHOICES and value not in _CHOICES[name]:
            raise wrong_value(name, value, _CHOICES[name])
    if "max_tokens" in body and "max_completion_tokens" in body:
        raise Fault(
            400, "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        )
    if isinstance(stop := body.get("stop"), list):
        if not all(isinstance(one, str) for one in stop):
            raise wrong_type("stop", "an array of strings", stop)
        if len(stop) > 4:
            message = "Invalid 'stop': array too long. Expected an array with maximum length 4."
            raise Fault(400, message, code="array_above_max_length", param="stop")
    if "stream_options" in body and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise Fault(400, message, param="stream_options")


def _check_number(name: str, value: Any, bounds: tuple[float, float], kind: str) -> None:
    allowed = (int, float) if kind == "decimal" else (int,)
    if not isinstance(value, allowed) or isinstance(value, bool):
        raise wrong_type(name, f"{'a' if kind == 'decimal' else 'an'} {kind}", value)
    low, high = bounds
    if low <= value <= high:
        return
    bound, sign, limit = ("below minimum", ">=", low) if value < low else ("above maximum", "<=", high)
    message = f"Invalid '{name}': {kind} {bound} value. Expected a value {sign} {limit:g}, but got {value}."
    code = f"{kind}_{'below_min' if value < low else 'above_max'}_value"
    raise Fault(400, message, code=code, param=name)


def _check_format(body: Mapping[str, Any]) -> None:
    form = body.get("response_format", {"type": "text"})
    kinds = ("text", "json_object", "json_schema")
    if form.get("type") not in kinds:
        raise wrong_value("response_format.type", form.get("type"), kinds)
    if form["type"] == "json_object" and "json" not in msgspec.json.encode(body["messages"]).decode().lower():
        text = "'messages' must contain the word 'json' in some form, to use 'response_format' of type"
        raise Fault(400, f"{text} 'json_object'.", param="messages")
    if form["type"] == "json_schema":
        wanted = form.get("json_schema")
        if not isinstance(wanted, dict):
            raise missing("response_format.json_schema")
        if not isinstance(wanted.get("name"), str):
            raise missing("response_format.json_schema.name")
        _check_schema(wanted.get("schema"), wanted, f"response_format '{wanted['name']}'", "response_format")


def _check_tools(body: Mapping[str, Any]) -> None:
    tools = body.get("tools", [])
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in body and not tools:
            message = f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."
            raise Fault(400, message, param=name)
    names = {_tool_name(tool, f"tools[{index}]") for index, tool in enumerate(tools)}
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            raise wrong_value("tool_choice", choice, ("none", "auto", "required"))
        return
    kind = choice.get("type")
    if kind not in ("function", "custom", "allowed_tools"):
        raise wrong_value("tool_choice.type", kind, ("function", "custom", "allowed_tools"))
    inner = choice.get(kind)
    if not isinstance(inner, dict):
        raise missing(f"tool_choice.{kind}")
    wanted: list[Any]
    if kind == "allowed_tools":
        if not isinstance(inner.get("tools"), list):
            raise missing("tool_choice.allowed_tools.tools")
        wanted = [_tool_name(tool, "tool_choice.allowed_tools.tools") for tool in inner["tools"]]
    else:
        wanted = [inner.get("name")]
    for name in wanted:
        if str(name) not in names:
            message = f"Invalid value for 'tool_choice': no tool named '{name}' is among the 'tools'."
            raise Fault(400, message, param="tool_choice")


def _tool_name(tool: Any, place: str) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind not in ("function", "custom"):
        raise wrong_value(f"{place}.type", kind, ("function", "custom"))
    inner, place = tool.get(kind), f"{place}.{kind}"
    if not isinstance(inner, dict):
        raise missing(place)
    name = inner.get("name")
    if name is None:
        raise missing(f"{place}.name")
    if not isinstance(name, str):
        raise wrong_type(f"{place}.name", "a string", name)
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
        text = f"Invalid '{place}.name': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'."
        raise Fault(400, text, code="invalid_value", param=f"{place}.name")
    code = "invalid_function_parameters"
    _check_schema(inner.get("parameters"), inner, f"function '{name}'", f"{place}.parameters", code)
    return name


def _check_schema(
    schema: Any, holder: Mapping[str, Any], owner: str, param: str, code: str | None = None
) -> None:
    """holder: the object the schema came in, which may call it strict."""
    if schema is None:
        return
    if fault := schema_fault(schema):
        raise Fault(400, f"Invalid schema for {owner}: {fault}.", code=code, param=param)
    if holder.get("strict"):
        check_strict(schema, owner, param, code)


def _check_abilities(body: Mapping[str, Any], model: str) -> None:
    if not is_reasoning(model):
        if "reasoning_effort" in body:
            raise unsupported("reasoning_effort")
        if body.get("top_logprobs") and not body.get("logprobs"):
            message = "Invalid value for 'top_logprobs': 'logprobs' must be true to use it."
            raise Fault(400, message, param="top_logprobs")
        return
    if "max_tokens" in body:
        raise unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
    for name in _REASONING_LACKS:
        if body.get(name):
            raise unsupported(name)
    for name in ("temperature", "top_p"):
        if body.get(name, 1) != 1 and body.get("reasoning_effort") != "none":
            text = f"Unsupported value: '{name}' does not support {body[name]} with this model."
            text += " Only the default (1) value is supported."
            raise Fault(400, text, code="unsupported_value", param=name)
