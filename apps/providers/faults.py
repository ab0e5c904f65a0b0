"""A provider's failure as ours: one table of statuses, one sentence per class, and never a key.

The sentence is ours. The provider's own words are quoted only where they help the caller mend the request
(ProviderRejected, ContentRefused); elsewhere they speak of an account that is not the caller's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from apps.core.errors import (
    ContentRefused,
    ProviderError,
    ProviderKeyRefused,
    ProviderModelGone,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from apps.providers.types import ModelSpec, Usage

MAX_QUOTE = 300
# As much of a sentence as is looked at; a body may hold megabytes, and only its first words are passed on.
_MAX_READ = 4000
MAX_RETRY_AFTER_S = 24 * 3600.0

_BY_STATUS: Mapping[int, type[ProviderError]] = {
    400: ProviderRejected,
    401: ProviderKeyRefused,
    402: ProviderQuotaExhausted,
    403: ProviderKeyRefused,
    404: ProviderModelGone,
    408: ProviderTimeout,
    410: ProviderModelGone,
    413: ProviderRejected,
    422: ProviderRejected,
    429: ProviderRateLimited,
    504: ProviderTimeout,
}

_SENTENCES: Mapping[type[ProviderError], str] = {
    ProviderRejected: "{provider} rejected the request",
    ContentRefused: "{provider} refused this content",
    ProviderKeyRefused: "{provider} refused the stored key.",
    ProviderQuotaExhausted: "The account at {provider} has no credit left.",
    ProviderModelGone: "{provider} does not serve the model {model}.",
    ProviderRateLimited: "{provider} is limiting requests; try again later.",
    ProviderTimeout: "{provider} did not answer in time.",
    ProviderError: "{provider} failed.",
}

# Keys by their makers' prefixes, keys in a URL or header, and anything a maker has already starred out. The last
# has a bound: one long word without stars would otherwise take quadratic time.
_KEYLIKE = re.compile(
    r"""\b(?:sk[-_]|AIza)[\w*.…-]{4,}
      | \b(?:gsk_|xai-|hf_|r8_|AQ\.)[\w*.…-]{12,}
      | (?<=[?&]key=)[^&\s"']+
      | (?<=Bearer\s)\S+
      | [\w.-]{0,64}\*{3,}[\w*.-]*
    """,
    re.VERBOSE,
)
# A shorter "key" is a word, such as the sandbox's `invalid`, and hiding it would garble the sentence.
_SHORTEST_SECRET = 8


def quote(text: str, api_key: str) -> str:
    """A provider's words fit to pass on: on one line, short, without the key or anything that looks like one.

    The key goes before anything is cut, or half of it might stay; makers quote half of it themselves.
    """
    said = " ".join(text.split())
    if len(api_key) >= _SHORTEST_SECRET:
        said = said.replace(api_key, "[key]")
    said = _KEYLIKE.sub("[key]", said[:_MAX_READ])
    return said if len(said) <= MAX_QUOTE else said[: MAX_QUOTE - 1].rstrip() + "…"


def class_for_status(status: int | None) -> type[ProviderError]:
    return ProviderError if status is None else _BY_STATUS.get(status, ProviderError)


def provider_fault(
    kind: type[ProviderError],
    spec: ModelSpec,
    *,
    status: int | None = None,
    said: str = "",
    reason: str | None = None,
    retry_after_s: float | None = None,
    usage: Usage | None = None,
) -> ProviderError:
    """kind, worded for the client. said: the provider's own sentence; reason: its own word for a refusal."""
    sentence = _SENTENCES.get(kind, _SENTENCES[ProviderError])
    message = sentence.format(provider=spec.provider, model=spec.model)
    if not message.endswith("."):
        said = quote(said, spec.api_key)
        message = f"{message}: {said}" if said else f"{message}."
    details = {} if reason is None else {"reason": quote(reason, spec.api_key)}
    return kind(
        message,
        provider=spec.provider,
        status=status,
        retry_after_s=retry_after_s,
        details=details,
        usage=usage,
    )


def refusal(spec: ModelSpec, *, reason: str, said: str = "", usage: Usage | None = None) -> ProviderError:
    """A ContentRefused: the provider answered properly, and its answer was no."""
    return provider_fault(ContentRefused, spec, reason=reason, said=said, usage=usage)


def error_object(body: bytes | Any) -> dict[str, Any]:
    """The `error` object of a failure, {} when there is none to be found (a proxy's HTML page, an empty body).

    body: undecoded, or decoded already. Takes the shapes seen at the makers and at servers compatible with them:
    {"error": {…}}, {"error": "text"}, {"message": …}, {"detail": …}, and each of them in a one-element array.
    """
    answer = decoded(body) if isinstance(body, bytes) else body
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        return {"message": answer} if isinstance(answer, str) else {}
    error = answer.get("error", answer)
    if isinstance(error, str):
        return {"message": error}
    if not isinstance(error, dict):
        return {}
    return error if "message" in error else {"message": error.get("detail")} | error


def decoded(body: bytes | str) -> Any:
    """The JSON in body; None when there is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def text_of(value: object) -> str:
    """value if it is text, else nothing: error bodies keep no promises about types."""
    return value if isinstance(value, str) else ""


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after` (seconds, or a date); None when absent or senseless."""
    if (wait_ms := _number(headers.get("retry-after-ms"))) is not None:
        return bounded_wait(wait_ms / 1000)
    value = headers.get("retry-after")
    if value is None:
        return None
    if (wait_s := _number(value)) is not None:
        return bounded_wait(wait_s)
    try:
        return bounded_wait(max(0.0, parsedate_to_datetime(value).timestamp() - time.time()))
    except (ValueError, OverflowError):
        return None


def bounded_wait(seconds: float) -> float | None:
    """seconds, at most a day; None for a negative or absurd figure (NaN included)."""
    return min(seconds, MAX_RETRY_AFTER_S) if seconds >= 0 else None


def _number(value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
