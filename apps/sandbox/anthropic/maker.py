"""Anthropic: the key and the version, the headers, the errors, the models. Messages are in `messages.py`.

Source: the house's page on Anthropic and the types of its Python SDK (2.12.0), read November 2026.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from apps.sandbox.anthropic.checks import invalid, model_lookup, output_limit
from apps.sandbox.anthropic.messages import count_tokens, messages_create
from apps.sandbox.http import Reply, Request, json_reply
from apps.sandbox.maker import Fault, Maker, bearer_token, route

VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
# What is limited -> how much of it a minute
_LIMITS = {"requests": 4_000, "tokens": 2_400_000, "input-tokens": 2_000_000, "output-tokens": 400_000}

# id -> display name, release, what has become of it
_MODELS = {
    "claude-fable-5-2": ("Claude Fable 5.2", "2026-11-10", "active"),
    "claude-haiku-5-5": ("Claude Haiku 5.5", "2026-10-21", "active"),
    "claude-sonnet-5-5": ("Claude Sonnet 5.5", "2026-10-21", "active"),
    "claude-opus-5-5": ("Claude Opus 5.5", "2026-09-29", "active"),
    "claude-fable-5-1": ("Claude Fable 5.1", "2026-08-18", "active"),
    "claude-opus-4-8": ("Claude Opus 4.8", "2026-05-27", "active"),
    "claude-opus-4-7": ("Claude Opus 4.7", "2026-04-16", "active"),
    "claude-sonnet-4-6": ("Claude Sonnet 4.6", "2026-02-17", "active"),
    "claude-haiku-4-5": ("Claude Haiku 4.5", "2025-10-15", "active"),
    "claude-sonnet-4-5": ("Claude Sonnet 4.5", "2025-09-29", "deprecated"),
    "claude-3-5-sonnet-20241022": ("Claude Sonnet 3.5", "2024-10-22", "retired"),
    "claude-3-5-haiku-20241022": ("Claude Haiku 3.5", "2024-10-22", "retired"),
}

# status -> error type, message
_FAILURES = {
    400: ("invalid_request_error", "The request was rejected."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "There is a problem with your billing or payment information."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "The requested resource could not be found."),
    409: ("conflict_error", "The resource was changed by another request."),
    413: ("request_too_large", "Request exceeds the maximum allowed number of bytes."),
    429: (
        "rate_limit_error",
        "This request would exceed your organization's rate limit of requests per minute.",
    ),
    504: ("timeout_error", "The request timed out while processing."),
    529: ("overloaded_error", "Overloaded"),
}
_BROKEN = ("api_error", "Internal server error")
_RETRYABLE = (408, 409, 429)


def _gate(request: Request) -> None:
    key = request.headers.get("x-api-key") or bearer_token(request)
    if not key:
        raise Fault(401, "x-api-key header is required")
    if key == "invalid":
        is_header = "x-api-key" in request.headers
        raise Fault(401, "invalid x-api-key" if is_header else "Invalid bearer token")
    version = request.headers.get("anthropic-version")
    if version is None:
        raise Fault(400, "anthropic-version: header is required")
    if version not in VERSIONS:
        raise Fault(400, f'anthropic-version: "{version}" is not a valid version')


def _headers(request: Request) -> dict[str, str]:
    tokens = len(request.body) // 4
    headers = {
        "request-id": f"req_{request.id}",
        "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
    }
    for what, limit in _LIMITS.items():
        used = 1 if what == "requests" else 0 if what == "output-tokens" else tokens
        reset = datetime.now(UTC) + timedelta(seconds=math.ceil(used * 60 / limit))
        headers[f"anthropic-ratelimit-{what}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{what}-remaining"] = str(max(0, limit - used))
        headers[f"anthropic-ratelimit-{what}-reset"] = reset.strftime("%Y-%m-%dT%H:%M:%SZ")
    return headers


def _fault_reply(request: Request, fault: Fault) -> Reply:
    kind = fault.kind or _FAILURES.get(fault.status, _BROKEN)[0]
    error: dict[str, Any] = {"type": kind, "message": fault.message}
    if fault.code:
        error["details"] = {"error_code": fault.code}
    is_retryable = fault.status in _RETRYABLE or fault.status >= 500
    headers = {"x-should-retry": "true" if is_retryable else "false"}
    if fault.status == 429:
        headers["anthropic-ratelimit-requests-remaining"] = "0"
    if fault.retry_after_s is not None:
        headers["retry-after"] = str(math.ceil(fault.retry_after_s))
    body = {"type": "error", "error": error, "request_id": f"req_{request.id}"}
    return json_reply(body, status=fault.status, headers=headers)


def _rehearsed(status: int, retry_after_s: float | None) -> Fault:
    kind, message = _FAILURES.get(status, _BROKEN if status >= 500 else _FAILURES[400])
    return Fault(status, message, kind=kind, retry_after_s=retry_after_s)


def _unpaid() -> Fault:
    return Fault(402, "Your credit balance is too low to access the Anthropic API.", kind="billing_error")


def _no_route(request: Request) -> Fault:
    return Fault(404, "Not Found", kind="not_found_error")


def _wrong_method(request: Request) -> Fault:
    return Fault(405, "Method Not Allowed", kind="invalid_request_error")


def _models(request: Request) -> Reply:
    try:
        limit = int(request.query.get("limit", "20"))
    except ValueError:
        raise invalid("limit", "Input should be a valid integer") from None
    if not 1 <= limit <= 1000:
        raise invalid("limit", "Input should be between 1 and 1000")
    models = list(_MODELS)
    after, before = request.query.get("after_id"), request.query.get("before_id")
    if after in models:
        models = models[models.index(after) + 1 :]
    if before in models:
        models = models[: models.index(before)][-limit:]
    page = models[:limit]
    return json_reply(
        {
            "data": [_model_body(model) for model in page],
            "has_more": len(models) > limit,
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }
    )


def _model(request: Request, model: str) -> Reply:
    model_lookup(model)
    return json_reply(_model_body(model))


def _model_body(model: str) -> dict[str, Any]:
    name, released, lifecycle = _MODELS.get(model, (model, "1970-01-01", "active"))
    line = re.search("haiku|sonnet|opus|fable|mythos", model)
    is_ending = lifecycle != "active"
    return {
        "type": "model",
        "id": model,
        "display_name": name,
        "created_at": f"{released}T00:00:00Z",
        "lifecycle": lifecycle,
        "line": line[0] if line else None,
        "max_input_tokens": 1_000_000 if output_limit(model) == 128_000 else 200_000,
        "max_tokens": output_limit(model),
        "deprecated_at": "2026-06-01T00:00:00Z" if is_ending else None,
        "retires_at": "2026-11-30T00:00:00Z" if is_ending else None,
        "capabilities": None,
    }


ANTHROPIC = Maker(
    name="anthropic",
    routes=(
        route("POST", "/v1/messages/?", messages_create),
        route("POST", "/v1/messages/count_tokens/?", count_tokens),
        route("GET", "/v1/models/?", _models),
        route("GET", "/v1/models/(?P<model>[^/]+)", _model),
    ),
    gate=_gate,
    headers=_headers,
    fault_reply=_fault_reply,
    rehearsed=_rehearsed,
    unpaid=_unpaid,
    no_route=_no_route,
    wrong_method=_wrong_method,
)
