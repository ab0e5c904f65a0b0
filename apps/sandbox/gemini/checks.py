"""What the Gemini API refuses in a request it could read: turns out of order, empty parts, odd settings."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from apps.sandbox.gemini.faults import invalid
from apps.sandbox.maker import Fault
from apps.sandbox.schemas import schema_fault

OUTPUT_LIMIT = 65_536
MIME_TYPES = ("text/plain", "application/json", "text/x.enum")

# What a part may hold, one of them.
_DATA = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
)
_RANGES: dict[str, tuple[str, float, float]] = {
    "temperature": ("temperature", 0, 2),
    "topP": ("top_p", 0, 1),
    "topK": ("top_k", 1, 1_000),
    "maxOutputTokens": ("max_output_tokens", 1, OUTPUT_LIMIT),
    "candidateCount": ("candidate_count", 1, 8),
    "presencePenalty": ("presence_penalty", -2, 2),
    "frequencyPenalty": ("frequency_penalty", -2, 2),
}


def thinks(model: str) -> bool:
    return re.match(r"gemini-(2\.5|[3-9])", model) is not None and "image" not in model


def check_request(body: Mapping[str, Any], model: str) -> None:
    _check_contents(body.get("contents") or [])
    if "systemInstruction" in body:
        _check_parts(body["systemInstruction"], "system_instruction")
    _check_config(body.get("generationConfig", {}), model)
    _check_tools(body)


def _check_contents(contents: list[dict[str, Any]]) -> None:
    if not contents:
        raise invalid("contents", "contents is not specified")
    called = 0
    for index, content in enumerate(contents):
        if content.get("role", "user") not in ("user", "model", "function"):
            raise Fault(400, "Please use a valid role: user, model.")
        _check_parts(content, f"contents[{index}]")
        answered = sum("functionResponse" in part for part in content["parts"])
        if answered and not called:
            text = "Please ensure that function response turn comes immediately after a function call turn."
            raise Fault(400, text)
        if called and answered != called:
            raise Fault(
                400,
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn.",
            )
        called = sum("functionCall" in part for part in content["parts"])
        if called and index == 0:
            text = "Please ensure that function call turn comes immediately after a user turn or after a function"
            raise Fault(400, f"{text} response turn.")


def _check_parts(content: Mapping[str, Any], place: str) -> None:
    if not content.get("parts"):
        raise invalid(f"{place}.parts", "contents.parts must not be empty.")
    for number, part in enumerate(content["parts"]):
        where = f"{place}.parts[{number}]"
        kinds = [name for name in _DATA if name in part]
        if not kinds and "thoughtSignature" not in part:
            raise invalid(f"{where}.data", "required oneof field 'data' must have one initialized field")
        if len(kinds) > 1:
            raise invalid(f"{where}.data", f"oneof field 'data' is already set: {', '.join(kinds)}")
        if "functionResponse" in part and "response" not in part["functionResponse"]:
            raise invalid(f"{where}.function_response.response", "[FIELD_INVALID] must be specified")
        for name in ("functionCall", "functionResponse"):
            if name in part and not part[name].get("name"):
                raise invalid(f"{where}.{name}.name", "[REQUIRED_FIELD_MISSING] Name cannot be empty.")
        if "inlineData" in part:
            _check_blob(part["inlineData"], f"{where}.inline_data")


def _check_blob(blob: Mapping[str, Any], place: str) -> None:
    if not blob.get("mimeType"):
        raise invalid(f"{place}.mime_type", "[REQUIRED_FIELD_MISSING] mime_type cannot be empty.")
    try:
        # Google reads both alphabets.
        base64.b64decode(blob.get("data", "").replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        raise Fault(400, f"Invalid value at '{place}.data' (TYPE_BYTES), Base64 decoding failed") from None


def _check_config(config: Mapping[str, Any], model: str) -> None:
    for name, (snake, low, high) in _RANGES.items():
        if name in config and not low <= config[name] <= high:
            raise invalid(f"generation_config.{snake}", f"{snake} must be in the range [{low:g}, {high:g}].")
    if len(config.get("stopSequences", ())) > 5:
        raise invalid("generation_config.stop_sequences", "at most 5 stop sequences are allowed.")
    others = [
        mode for mode in config.get("responseModalities", ()) if mode not in ("TEXT", "MODALITY_UNSPECIFIED")
    ]
    if others:
        text = f"The requested combination of response modalities ({', '.join(others)}) is not supported by the model."
        raise Fault(400, text)
    _check_format(config)
    thinking = config.get("thinkingConfig", {})
    if thinking and not thinks(model):
        raise Fault(400, f"Thinking is not supported for models/{model}.")
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        raise Fault(400, "You can only set one of thinking budget and thinking level.")


def _check_format(config: Mapping[str, Any]) -> None:
    mime_type = config.get("responseMimeType", "text/plain")
    if mime_type not in MIME_TYPES:
        text = f"allowed mimetypes are {', '.join(f'`{one}`' for one in MIME_TYPES)}."
        raise invalid("generation_config.response_mime_type", text)
    schemas = [name for name in ("responseSchema", "responseJsonSchema") if name in config]
    if len(schemas) > 1:
        text = "only one of response_schema and response_json_schema may be set."
        raise invalid("generation_config.response_json_schema", text)
    if fault := schema_fault(config.get("responseJsonSchema", {})):
        raise invalid("generation_config.response_json_schema", fault)
    if schemas and mime_type == "text/plain":
        text = "a response schema needs a response_mime_type of `application/json` or `text/x.enum`."
        raise invalid("generation_config.response_schema", text)


def _check_tools(body: Mapping[str, Any]) -> None:
    names = []
    for index, tool in enumerate(body.get("tools", ())):
        for number, function in enumerate(tool.get("functionDeclarations", ())):
            place = f"tools[{index}].function_declarations[{number}]"
            name = function.get("name", "")
            if not re.fullmatch(r"[a-zA-Z_][\w.:-]{0,127}", name):
                text = "[FIELD_INVALID] Invalid function name. Must start with a letter or an underscore."
                raise invalid(f"{place}.name", text)
            if name in names:
                raise invalid(f"{place}.name", f"Duplicate function declaration found: {name}")
            if "parameters" in function and "parametersJsonSchema" in function:
                text = "parameters and parameters_json_schema must not be set both."
                raise invalid(f"{place}.parameters_json_schema", text)
            if fault := schema_fault(function.get("parametersJsonSchema", {})):
                raise invalid(f"{place}.parameters_json_schema", fault)
            names.append(name)
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    for name in calling.get("allowedFunctionNames", ()):
        place = "tool_config.function_calling_config.allowed_function_names"
        if calling.get("mode") not in ("ANY", "VALIDATED"):
            raise invalid(place, "may be set only when the mode is ANY or VALIDATED.")
        if name not in names:
            raise invalid(place, f"{name} is not among the function declarations.")
    if calling.get("mode") == "ANY" and not names:
        raise Fault(400, "Function calling config is set without function_declarations.")
