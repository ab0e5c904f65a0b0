"""`expect_json`: asking for JSON, checking the answer, and saying what was wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import msgspec

from apps.providers.types import Message, TextPart, TextRequest

MAX_SCHEMA_BYTES = 256 * 1024

_FENCE = re.compile(r"\A\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


class JsonFault(Exception):
    """Why an answer is not what was asked for, said so that a model can mend it."""


def _validator(schema: Mapping[str, Any]) -> Any:
    # The schema comes from outside: references may not fetch anything, and patterns run in linear time.
    return jsonschema_rs.validator_for(
        dict(schema), offline=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def schema_check(schema: Mapping[str, Any]) -> str | None:
    """What is wrong with a JSON Schema; None when it can be used."""
    if len(msgspec.json.encode(schema)) > MAX_SCHEMA_BYTES:
        return f"It must be at most {MAX_SCHEMA_BYTES} bytes."
    try:
        _validator(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as exc:
        return f"It is not a JSON Schema that can be used: {str(exc).splitlines()[0]}"
    return None


def answer_parse(text: str, schema: Mapping[str, Any] | None) -> Any:
    """The JSON value in an answer, code fence or not. Raises JsonFault."""
    fenced = _FENCE.match(text)
    try:
        value = msgspec.json.decode((fenced[1] if fenced else text).strip())
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise JsonFault(f"it is not valid JSON ({exc})") from exc
    if schema is not None:
        errors = [f"at {_place(error)}: {error.message}" for error in _validator(schema).iter_errors(value)]
        if errors:
            raise JsonFault("it does not match the schema: " + "; ".join(errors[:5]))
    return value


def _place(error: Any) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)


def request_for_json(request: TextRequest, schema: Mapping[str, Any] | None) -> TextRequest:
    """The request with the wish in words. Makers with a JSON mode get that too, but not all have one, and OpenAI's
    refuses to run unless the word JSON is said."""
    wish = "Answer with a single valid JSON value and nothing else: no explanation, no code fence."
    if schema is not None:
        wish += f" It must match this JSON Schema: {json.dumps(schema, ensure_ascii=False)}"
    system = f"{request.system}\n\n{wish}" if request.system else wish
    return msgspec.structs.replace(request, system=system)


def request_for_repair(request: TextRequest, answer: str, fault: JsonFault) -> TextRequest:
    """Ask again, with the bad answer and its fault in the conversation."""
    complaint = (
        f"That answer can't be used: {fault}. Answer again with the corrected JSON value and nothing else."
    )
    # An empty assistant turn is refused by some makers.
    bad = (Message("assistant", (TextPart(answer),)),) if answer.strip() else ()
    return msgspec.structs.replace(request, messages=(*request.messages, *bad, Message.user(complaint)))
