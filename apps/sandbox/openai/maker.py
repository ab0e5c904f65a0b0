"""OpenAI: the key, the headers, the errors, the models. Chat itself is in `chat.py`.

Source: the house's page on OpenAI (chat part) and `openai/openai-openapi`, read November 2026.
"""

from __future__ import annotations

import math
import re
from typing import Any

from apps.sandbox.http import Reply, Request, json_reply
from apps.sandbox.maker import Fault, Maker, bearer_token, route
from apps.sandbox.openai.chat import chat_completions

REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE = 10_000, 2_000_000

# id -> when it was made, the day it ends
_MODELS: dict[str, tuple[int, str | None]] = {
    "gpt-6.2-astra": (1793000000, None),
    "gpt-6.1-sol": (1789000000, None),
    "gpt-6.1-terra": (1789000000, None),
    "gpt-6-luna": (1785000000, None),
    "gpt-5.6-terra": (1780000000, None),
    "gpt-5.4-mini": (1773000000, None),
    "gpt-5": (1754425777, "2026-12-11"),
    "o3": (1744225308, "2026-12-11"),
    "gpt-4o": (1715367049, "2027-01-14"),
    "gpt-4o-mini": (1721172741, "2027-01-14"),
    "gpt-image-2.6-sunburst": (1792000000, None),
    "tts-1": (1681940951, "2027-01-06"),
}

# status -> error type, code, message
_FAILURES: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request was rejected."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("insufficient_quota", "insufficient_quota", "Payment is required."),
    403: (
        "request_forbidden",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model does not exist or you do not have access to it.",
    ),
    408: ("timeout", None, "The request timed out."),
    409: ("conflict", None, "The resource was changed by another request."),
    413: ("invalid_request_error", "request_too_large", "The request body is too large."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached on requests per min (RPM)."),
    503: (
        "server_error",
        None,
        "That model is currently overloaded with other requests. Please retry later.",
    ),
}
_BROKEN = ("server_error", None, "The server had an error while processing your request. Sorry about that!")


def _gate(request: Request) -> None:
    key = bearer_token(request)
    if key is None:
        raise Fault(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
            "auth (i.e. Authorization: Bearer YOUR_KEY).",
            kind="invalid_request_error",
        )
    if key == "invalid":
        raise Fault(
            401,
            "Incorrect API key provided: invalid. You can find your API key in your account settings.",
            kind="invalid_request_error",
            code="invalid_api_key",
        )


def _headers(request: Request) -> dict[str, str]:
    tokens = len(request.body) // 4
    return {
        "x-request-id": f"req_{request.id}",
        "openai-version": "2020-10-01",
        "openai-organization": "org-sandbox",
        "openai-processing-ms": str(20 + tokens % 400),
        "x-ratelimit-limit-requests": str(REQUESTS_PER_MINUTE),
        "x-ratelimit-remaining-requests": str(REQUESTS_PER_MINUTE - 1),
        "x-ratelimit-reset-requests": duration(60 / REQUESTS_PER_MINUTE),
        "x-ratelimit-limit-tokens": str(TOKENS_PER_MINUTE),
        "x-ratelimit-remaining-tokens": str(max(0, TOKENS_PER_MINUTE - tokens)),
        "x-ratelimit-reset-tokens": duration(tokens * 60 / TOKENS_PER_MINUTE),
    }


def duration(seconds: float) -> str:
    """As OpenAI writes them: `12ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:g}s"
    return f"{int(seconds // 60)}m{seconds % 60:g}s"


def _fault_reply(request: Request, fault: Fault) -> Reply:
    headers = {}
    if fault.retry_after_s is not None:
        headers = {
            "retry-after": str(math.ceil(fault.retry_after_s)),
            "retry-after-ms": str(round(fault.retry_after_s * 1000)),
        }
    if fault.code == "rate_limit_exceeded":
        headers |= {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": duration(fault.retry_after_s or 1.0),
        }
    return json_reply(_error_body(fault), status=fault.status, headers=headers)


def _error_body(fault: Fault) -> dict[str, Any]:
    kind = fault.kind or "invalid_request_error"
    return {"error": {"message": fault.message, "type": kind, "param": fault.param, "code": fault.code}}


def _rehearsed(status: int, retry_after_s: float | None) -> Fault:
    kind, code, message = _FAILURES.get(status, _BROKEN)
    if retry_after_s is not None:
        message += f" Please try again in {duration(retry_after_s)}."
    return Fault(status, message, kind=kind, code=code, retry_after_s=retry_after_s)


def _unpaid() -> Fault:
    message = "You exceeded your current quota, please check your plan and billing details."
    return Fault(429, message, kind="insufficient_quota", code="insufficient_quota")


def _no_route(request: Request) -> Fault:
    return Fault(404, f"Invalid URL ({request.method} {request.path})")


def _wrong_method(request: Request) -> Fault:
    message = f"Not allowed to {request.method} on {request.path}."
    return Fault(405, message, code="method_not_supported")


def _models(request: Request) -> Reply:
    return json_reply({"object": "list", "data": [_model_body(model) for model in _MODELS]})


def _model(request: Request, model: str) -> Reply:
    if re.search("nonexistent|retired", model):
        raise Fault(404, f"The model '{model}' does not exist", code="model_not_found", param="model")
    return json_reply(_model_body(model))


def _model_body(model: str) -> dict[str, Any]:
    created, shutdown_date = _MODELS.get(model, (1700000000, None))
    body: dict[str, Any] = {"id": model, "object": "model", "created": created, "owned_by": "system"}
    return body | ({"shutdown_date": shutdown_date} if shutdown_date else {})


OPENAI = Maker(
    name="openai",
    routes=(
        route("POST", "/v1/chat/completions/?", chat_completions),
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
