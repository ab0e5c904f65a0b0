"""The Gemini API's requests as Google reads them: known names only, in either spelling, each of its type.

Source: Google's discovery document (v1beta), as in the house's copy of August 2026. `any` is not looked into.
"""

from __future__ import annotations

import re
from typing import Any

from apps.sandbox.gemini.faults import malformed
from apps.sandbox.http import Request, json_object
from apps.sandbox.maker import Fault

# shape -> its fields; [x] repeats, {x} maps names to x, UPPER|CASE is an enumeration
_SHAPES: dict[str, dict[str, str]] = {
    "GenerateContentRequest": {
        "model": "string",
        "contents": "[Content]",
        "systemInstruction": "Content",
        "generationConfig": "GenerationConfig",
        "tools": "[Tool]",
        "toolConfig": "ToolConfig",
        "safetySettings": "[SafetySetting]",
        "cachedContent": "string",
        "store": "bool",
        "serviceTier": "string",
    },
    "CountTokensRequest": {"contents": "[Content]", "generateContentRequest": "GenerateContentRequest"},
    "Content": {"role": "string", "parts": "[Part]"},
    "Part": {
        "text": "string",
        "inlineData": "Blob",
        "fileData": "FileData",
        "functionCall": "FunctionCall",
        "functionResponse": "FunctionResponse",
        "executableCode": "any",
        "codeExecutionResult": "any",
        "toolCall": "any",
        "toolResponse": "any",
        "thought": "bool",
        "thoughtSignature": "string",
        "videoMetadata": "any",
        "mediaResolution": "any",
        "mediaProcessing": "any",
        "partMetadata": "any",
    },
    "Blob": {"mimeType": "string", "data": "string"},
    "FileData": {"mimeType": "string", "fileUri": "string"},
    "FunctionCall": {"id": "string", "name": "string", "args": "struct"},
    "FunctionResponse": {
        "id": "string",
        "name": "string",
        "response": "struct",
        "scheduling": "string",
        "willContinue": "bool",
        "parts": "any",
    },
    "GenerationConfig": {
        "temperature": "number",
        "topP": "number",
        "topK": "int",
        "maxOutputTokens": "int",
        "candidateCount": "int",
        "stopSequences": "[string]",
        "seed": "int",
        "presencePenalty": "number",
        "frequencyPenalty": "number",
        "responseMimeType": "string",
        "responseSchema": "Schema",
        "responseJsonSchema": "any",
        "responseFormat": "any",
        "responseModalities": "[MODALITY_UNSPECIFIED|TEXT|IMAGE|AUDIO|VIDEO]",
        "responseLogprobs": "bool",
        "logprobs": "int",
        "thinkingConfig": "ThinkingConfig",
        "imageConfig": "any",
        "speechConfig": "any",
        "mediaResolution": "string",
        "translationConfig": "any",
        "audioTranscriptionConfig": "any",
        "enableAffectiveDialog": "bool",
        "enableEnhancedCivicAnswers": "bool",
    },
    "ThinkingConfig": {
        "includeThoughts": "bool",
        "thinkingBudget": "int",
        "thinkingLevel": "THINKING_LEVEL_UNSPECIFIED|MINIMAL|LOW|MEDIUM|HIGH",
    },
    "Tool": {
        "functionDeclarations": "[FunctionDeclaration]",
        "codeExecution": "any",
        "googleSearch": "any",
        "googleSearchRetrieval": "any",
        "googleMaps": "any",
        "urlContext": "any",
        "fileSearch": "any",
        "computerUse": "any",
        "mcpServers": "any",
    },
    "FunctionDeclaration": {
        "name": "string",
        "description": "string",
        "parameters": "Schema",
        "parametersJsonSchema": "any",
        "response": "Schema",
        "responseJsonSchema": "any",
        "behavior": "string",
    },
    "ToolConfig": {
        "functionCallingConfig": "FunctionCallingConfig",
        "retrievalConfig": "any",
        "includeServerSideToolInvocations": "bool",
    },
    "FunctionCallingConfig": {
        "mode": "MODE_UNSPECIFIED|AUTO|ANY|NONE|VALIDATED",
        "allowedFunctionNames": "[string]",
    },
    "SafetySetting": {"category": "string", "threshold": "string"},
    "Schema": {
        "type": "TYPE_UNSPECIFIED|STRING|NUMBER|INTEGER|BOOLEAN|ARRAY|OBJECT|NULL",
        "format": "string",
        "title": "string",
        "description": "string",
        "nullable": "bool",
        "enum": "[string]",
        "items": "Schema",
        "minItems": "int",
        "maxItems": "int",
        "properties": "{Schema}",
        "minProperties": "int",
        "maxProperties": "int",
        "required": "[string]",
        "propertyOrdering": "[string]",
        "minimum": "number",
        "maximum": "number",
        "minLength": "int",
        "maxLength": "int",
        "pattern": "string",
        "anyOf": "[Schema]",
        "example": "any",
        "default": "any",
    },
}
_SCALARS: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "TYPE_STRING"),
    "bool": ((bool,), "TYPE_BOOL"),
    "int": ((int,), "TYPE_INT32"),
    "number": ((int, float), "TYPE_FLOAT"),
    "struct": ((dict,), "type.googleapis.com/google.protobuf.Struct"),
}
_PACKAGE = "type.googleapis.com/google.ai.generativelanguage.v1beta"


def body_read(request: Request, shape: str) -> dict[str, Any]:
    """The request's body with every name in camel case. Raises the Fault that lists all that is wrong."""
    try:
        body = json_object(request)
    except ValueError as exc:
        raise Fault(400, f"Invalid JSON payload received. {exc}") from None
    violations: list[tuple[str, str]] = []
    read: dict[str, Any] = _read(body, shape, "", violations)
    if violations:
        raise malformed(violations)
    return read


def _read(value: Any, shape: str, place: str, violations: list[tuple[str, str]]) -> Any:
    if shape == "any":
        return value
    if shape.startswith("["):
        # Google takes a single thing where many are expected.
        items = value if isinstance(value, list) else [value]
        return [_read(item, shape[1:-1], f"{place}[{index}]", violations) for index, item in enumerate(items)]
    if shape.startswith("{") and isinstance(value, dict):
        return {
            name: _read(item, shape[1:-1], f"{place}[{name}].value", violations)
            for name, item in value.items()
        }
    if shape in _SCALARS:
        return _scalar(value, shape, place, violations)
    if "|" in shape:
        if isinstance(value, str) and value.upper() in shape.split("|"):
            return value.upper()
    elif isinstance(value, dict) and shape in _SHAPES:
        return _message(value, shape, place, violations)
    _wrong(value, f"{_PACKAGE}.{shape.strip('{}').split('|')[0]}", place, violations)
    return value


def _message(
    value: dict[str, Any], shape: str, place: str, violations: list[tuple[str, str]]
) -> dict[str, Any]:
    fields = _SHAPES[shape]
    read = {}
    for name, item in value.items():
        camel = re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
        if camel not in fields:
            where = f" at '{place}'" if place else ""
            text = f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'
            violations.append((place, text))
        elif item is not None:
            snake = re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", camel)
            read[camel] = _read(item, fields[camel], f"{place}.{snake}".lstrip("."), violations)
    return read


def _scalar(value: Any, shape: str, place: str, violations: list[tuple[str, str]]) -> Any:
    kinds, word = _SCALARS[shape]
    if shape == "int" and isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value):
        return int(value)
    if shape == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, kinds) or (isinstance(value, bool) and shape != "bool"):
        _wrong(value, word, place, violations)
    return value


def _wrong(value: Any, word: str, place: str, violations: list[tuple[str, str]]) -> None:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    violations.append((place, f"Invalid value at '{place}' ({word}), {shown[:200]}"))
