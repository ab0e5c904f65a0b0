"""Every failure a client can meet: one class per row of the contract's table, one body for all of them.

    GatewayError
    ├── InvalidRequest                400 INVALID_REQUEST
    │   ├── TextTooLong               400 TEXT_TOO_LONG
    │   └── InvalidModelCapability    400 INVALID_MODEL_CAPABILITY
    ├── Unauthenticated               401 UNAUTHENTICATED
    ├── BudgetExceeded                402 BUDGET_EXCEEDED
    ├── PermissionDenied              403 PERMISSION_DENIED
    ├── NotFound                      404 NOT_FOUND
    │   ├── InstanceNotFound          404 INSTANCE_NOT_FOUND
    │   ├── ModelNotFound             404 MODEL_NOT_FOUND
    │   ├── ProjectNotFound           404 PROJECT_NOT_FOUND
    │   ├── JobNotFound               404 JOB_NOT_FOUND
    │   └── RouteNotFound             404 ROUTE_NOT_FOUND
    ├── MethodNotAllowed              405 METHOD_NOT_ALLOWED
    ├── Conflict                      409 CONFLICT
    ├── PayloadTooLarge               413 PAYLOAD_TOO_LARGE
    ├── JsonValidationFailed          422 JSON_VALIDATION_FAILED
    ├── RateLimited                   429 RATE_LIMIT_EXCEEDED
    ├── MissingApiKey                 503 MISSING_API_KEY
    ├── ServiceUnavailable            503 SERVICE_UNAVAILABLE
    ├── AllProvidersFailed            503 ALL_PROVIDERS_FAILED
    ├── InternalError                 500 INTERNAL_ERROR
    └── ProviderError                 502 PROVIDER_ERROR       the provider failed or answered nonsense
        ├── ProviderRejected          400 INVALID_REQUEST      it refused the request's content as malformed
        ├── ProviderKeyRefused        502 INVALID_API_KEY      it refused the stored key
        ├── ProviderQuotaExhausted    502 PROVIDER_ERROR       no money there: retrying cannot help
        ├── ProviderModelGone         502 PROVIDER_ERROR       it does not serve that model, or no longer
        ├── ProviderRateLimited       429 PROVIDER_RATE_LIMIT
        ├── ContentRefused            422 CONTENT_REFUSED      its safety filter said no
        └── ProviderTimeout           504 GATEWAY_TIMEOUT

`retryable` says whether the same request may succeed later without anybody changing anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar


class GatewayError(Exception):
    """Base of every failure we answer with. `message` is a human sentence, safe to show to the client."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    status_code: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    default_message: ClassVar[str] = "Something went wrong on our side."

    def __init__(self, message: str = "", *, details: Mapping[str, Any] | None = None) -> None:
        self.message = message or self.default_message
        self.details: dict[str, Any] = dict(details or {})
        super().__init__(self.message)

    @property
    def headers(self) -> dict[str, str]:
        """Extra response headers this failure carries."""
        return {}


class InvalidRequest(GatewayError):
    code, status_code = "INVALID_REQUEST", 400
    default_message = "The request is not valid."

    @classmethod
    def for_fields(cls, fields: Mapping[str, str | list[str]]) -> InvalidRequest:
        """fields: dotted field name -> what is wrong with it."""
        named = {name: [text] if isinstance(text, str) else text for name, text in fields.items()}
        first, faults = next(iter(named.items()))
        return cls(f"{first}: {faults[0]}", details={"fields": named})


class TextTooLong(InvalidRequest):
    code = "TEXT_TOO_LONG"


class InvalidModelCapability(InvalidRequest):
    code = "INVALID_MODEL_CAPABILITY"


class Unauthenticated(GatewayError):
    code, status_code = "UNAUTHENTICATED", 401
    default_message = "Send a valid API key as `Authorization: Bearer KEY`."

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class BudgetExceeded(GatewayError):
    code, status_code = "BUDGET_EXCEEDED", 402


class PermissionDenied(GatewayError):
    code, status_code = "PERMISSION_DENIED", 403
    default_message = "This key may not do that."


class NotFound(GatewayError):
    code, status_code = "NOT_FOUND", 404
    default_message = "There is no such thing here."


class InstanceNotFound(NotFound):
    code = "INSTANCE_NOT_FOUND"


class ModelNotFound(NotFound):
    code = "MODEL_NOT_FOUND"


class ProjectNotFound(NotFound):
    code = "PROJECT_NOT_FOUND"


class JobNotFound(NotFound):
    code = "JOB_NOT_FOUND"


class RouteNotFound(NotFound):
    code = "ROUTE_NOT_FOUND"


class MethodNotAllowed(GatewayError):
    code, status_code = "METHOD_NOT_ALLOWED", 405

    def __init__(self, method: str, allowed: list[str]) -> None:
        self.allowed = sorted(allowed)
        super().__init__(f"{method} is not allowed here; use {', '.join(self.allowed)}.")

    @property
    def headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allowed)}


class Conflict(GatewayError):
    code, status_code = "CONFLICT", 409


class PayloadTooLarge(GatewayError):
    code, status_code = "PAYLOAD_TOO_LARGE", 413


class JsonValidationFailed(GatewayError):
    code, status_code = "JSON_VALIDATION_FAILED", 422


class RateLimited(GatewayError):
    """This platform's own limit. retry_after_s is rounded up to whole seconds, at least 1."""

    code, status_code, retryable = "RATE_LIMIT_EXCEEDED", 429, True

    def __init__(
        self, message: str = "", *, retry_after_s: float, details: Mapping[str, Any] | None = None
    ) -> None:
        self.retry_after = max(1, math.ceil(retry_after_s))
        super().__init__(
            message or f"Rate limit reached; try again in {self.retry_after} s.", details=details
        )

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class MissingApiKey(GatewayError):
    code, status_code = "MISSING_API_KEY", 503


class ServiceUnavailable(GatewayError):
    code, status_code, retryable = "SERVICE_UNAVAILABLE", 503, True


class AllProvidersFailed(GatewayError):
    code, status_code, retryable = "ALL_PROVIDERS_FAILED", 503, True


class InternalError(GatewayError):
    pass


class ProviderError(GatewayError):
    """provider: its id; status: its HTTP status, or None when there was no answer to read.

    usage: what the provider counted for a call that failed and yet costs money (a refusal, say), as the
    providers library's Usage; None when it said nothing.
    """

    code, status_code, retryable = "PROVIDER_ERROR", 502, True
    default_message = "The provider failed."

    def __init__(
        self,
        message: str = "",
        *,
        provider: str,
        status: int | None = None,
        retry_after_s: float | None = None,
        details: Mapping[str, Any] | None = None,
        usage: Any = None,
    ) -> None:
        named: dict[str, Any] = {"provider": provider} | ({} if status is None else {"status": status})
        super().__init__(message, details=named | dict(details or {}))
        self.provider = provider
        self.status = status
        self.retry_after_s = retry_after_s
        self.usage = usage

    @property
    def headers(self) -> dict[str, str]:
        if self.retry_after_s is None:
            return {}
        return {"Retry-After": str(max(1, math.ceil(self.retry_after_s)))}


class ProviderRejected(ProviderError):
    """The provider read the request and said it is malformed: too long a prompt, an unknown option."""

    code, status_code, retryable = "INVALID_REQUEST", 400, False


class ProviderKeyRefused(ProviderError):
    code, retryable = "INVALID_API_KEY", False


class ProviderQuotaExhausted(ProviderError):
    retryable = False


class ProviderModelGone(ProviderError):
    retryable = False


class ProviderRateLimited(ProviderError):
    code, status_code = "PROVIDER_RATE_LIMIT", 429


class ContentRefused(ProviderError):
    """`details["reason"]` is the provider's own word for why."""

    code, status_code, retryable = "CONTENT_REFUSED", 422, False


class ProviderTimeout(ProviderError):
    code, status_code = "GATEWAY_TIMEOUT", 504


def error_body(exc: GatewayError, *, request_id: str) -> dict[str, Any]:
    """The one shape of a failure: HTTP answer, stream event, job row and webhook alike."""
    body: dict[str, Any] = {"error": exc.message, "error_code": exc.code, "request_id": request_id}
    if isinstance(exc, RateLimited):
        body["retry_after"] = exc.retry_after
    if exc.details:
        body["details"] = exc.details
    return body
