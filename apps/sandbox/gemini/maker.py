"""Google's Gemini API: the key, the errors, the models. Content generation is in `content.py`.

Source: the house's page on Gemini (text part) and Google's discovery document, read November 2026.
"""

from __future__ import annotations

import re
from typing import Any

from apps.sandbox.gemini.checks import OUTPUT_LIMIT, thinks
from apps.sandbox.gemini.content import count_tokens, generate_content, stream_generate_content
from apps.sandbox.gemini.faults import detail, error_body, invalid, model_lookup, reply
from apps.sandbox.http import Reply, Request
from apps.sandbox.maker import Fault, Maker, route

_SERVICE = "generativelanguage.googleapis.com"
_MODELS = (
    "gemini-3.8-flash",
    "gemini-3.7-flash",
    "gemini-3.6-flash",
    "gemini-3.5-flash",
    "gemini-3.5-flash-lite",
    "gemini-3.1-pro-preview",
    "gemini-3.1-flash-lite",
    "gemini-2.5-flash",
    "gemini-2.5-pro",
)
_MESSAGES = {
    400: "Request contains an invalid argument.",
    401: "Request is missing required authentication credential.",
    402: "Billing is not enabled for this project.",
    403: "The caller does not have permission",
    404: "Requested entity was not found.",
    413: "Request payload size exceeds the limit: 33554432 bytes.",
    429: "You exceeded your current quota, please check your plan and billing details.",
    500: "An internal error has occurred. Please retry.",
    503: "The model is overloaded. Please try again later.",
    504: "The request timed out. Please try again.",
}


def _gate(request: Request) -> None:
    """The key is in a header or in the query; a key sent as a bearer token is no key."""
    key = request.headers.get("x-goog-api-key") or request.query.get("key")
    if not key and "authorization" in request.headers:
        text = "Request had invalid authentication credentials. Expected OAuth 2 access token."
        reason = detail("ErrorInfo", reason="ACCESS_TOKEN_TYPE_UNSUPPORTED", metadata={"service": _SERVICE})
        raise Fault(401, text, details=(reason,))
    if not key:
        raise Fault(
            403,
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key "
            "or other form of API consumer identity to call this API.",
        )
    if key == "invalid":
        text = "API key not valid. Please pass a valid API key."
        reason = detail(
            "ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com", metadata={"service": _SERVICE}
        )
        raise Fault(400, text, details=(reason, detail("LocalizedMessage", locale="en-US", message=text)))


def _headers(request: Request) -> dict[str, str]:
    """No request id and no limits: Google sends neither here."""
    return {
        "server-timing": "gfet4t7; dur=20",
        "x-content-type-options": "nosniff",
        "vary": "Origin, X-Origin, Referer",
    }


def _fault_reply(request: Request, fault: Fault) -> Reply:
    body: Any = error_body(fault)
    if request.path.endswith(":streamGenerateContent") and request.query.get("alt") != "sse":
        body = [body]  # the stream is an array, and so is its failure
    return reply(body, status=fault.status)


def _rehearsed(status: int, retry_after_s: float | None) -> Fault:
    details = []
    if status == 429:
        violation = {
            "quotaMetric": f"{_SERVICE}/generate_content_requests",
            "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
            "quotaValue": "1000",
        }
        details.append(detail("QuotaFailure", violations=[violation]))
    if retry_after_s is not None:
        details.append(detail("RetryInfo", retryDelay=f"{retry_after_s:g}s"))
    default = _MESSAGES[500] if status >= 500 else _MESSAGES[400]
    return Fault(status, _MESSAGES.get(status, default), details=tuple(details), retry_after_s=retry_after_s)


def _unpaid() -> Fault:
    text = (
        "This API method requires billing to be enabled. Please enable billing on the project and then retry."
    )
    return Fault(400, text, kind="FAILED_PRECONDITION")


def _no_route(request: Request) -> Fault:
    return Fault(404, f"Method not found: {request.path}")


def _wrong_method(request: Request) -> Fault:
    return Fault(405, f"{request.method} is not supported for {request.path}.")


def _models(request: Request, *, version: str) -> Reply:
    try:
        size, start = int(request.query.get("pageSize", "50")), int(request.query.get("pageToken") or "0")
    except ValueError:
        raise invalid("page_size", "must be a number.") from None
    if not 1 <= size <= 1000 or start < 0:
        raise invalid("page_size", "must be in the range [1, 1000].")
    more = {"nextPageToken": str(start + size)} if start + size < len(_MODELS) else {}
    return reply({"models": [_model_body(model) for model in _MODELS[start : start + size]]} | more)


def _model(request: Request, *, version: str, model: str) -> Reply:
    model_lookup(model, version, "getModel")
    return reply(_model_body(model))


def _model_body(model: str) -> dict[str, Any]:
    number = re.search(r"\d+(\.\d+)?", model)
    return {
        "name": f"models/{model}",
        "version": number[0] if number else "001",
        "displayName": model.replace("-", " ").title(),
        "description": "A text model of the sandbox.",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": OUTPUT_LIMIT,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
        "maxTemperature": 2,
        "thinking": thinks(model),
    }


_MODEL = r"/(?P<version>v1|v1beta|v1alpha)/models/(?P<model>[^/:]+)"

GEMINI = Maker(
    name="gemini",
    routes=(
        route("POST", f"{_MODEL}:generateContent", generate_content),
        route("POST", f"{_MODEL}:streamGenerateContent", stream_generate_content),
        route("POST", f"{_MODEL}:countTokens", count_tokens),
        route("GET", "/(?P<version>v1|v1beta|v1alpha)/models/?", _models),
        route("GET", _MODEL, _model),
    ),
    gate=_gate,
    headers=_headers,
    fault_reply=_fault_reply,
    rehearsed=_rehearsed,
    unpaid=_unpaid,
    no_route=_no_route,
    wrong_method=_wrong_method,
)
