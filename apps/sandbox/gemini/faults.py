"""The Gemini API's errors, in the shape Google gives all its APIs (`google.rpc.Status`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from apps.sandbox.http import Reply, json_reply
from apps.sandbox.maker import Fault

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def detail(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}


def error_body(fault: Fault) -> dict[str, Any]:
    status = fault.kind or STATUSES.get(
        fault.status, "UNKNOWN" if fault.status >= 500 else "INVALID_ARGUMENT"
    )
    error: dict[str, Any] = {"code": fault.status, "message": fault.message, "status": status}
    if fault.details:
        error["details"] = list(fault.details)
    return {"error": error}


def reply(body: Any, *, status: int = 200) -> Reply:
    answer = json_reply(body, status=status)
    answer.content_type = "application/json; charset=UTF-8"
    return answer


def model_lookup(model: str, version: str, method: str) -> None:
    """Raises the 404 for a model that is not there, or cannot do that."""
    is_text_model = re.match(r"(gemini|gemma|learnlm)-", model) and not re.search(
        "omni|embedding|-live|-tts", model
    )
    if not is_text_model or re.search("nonexistent|retired", model):
        raise Fault(
            404,
            f"models/{model} is not found for API version {version}, or is not supported for {method}. "
            "Call ListModels to see the list of available models and their supported methods.",
        )


def malformed(violations: Sequence[tuple[str, str]]) -> Fault:
    """violations: where, in snake case, and what is wrong there."""
    listed = [{"description": text} | ({"field": place} if place else {}) for place, text in violations]
    message = "\n".join(text for _, text in violations)
    return Fault(400, message, details=(detail("BadRequest", fieldViolations=listed),))


def invalid(place: str, text: str) -> Fault:
    """A request that can be read but not granted."""
    return Fault(400, f"* GenerateContentRequest.{place}: {text}\n")
