"""The response half of a mapping: where in an answer the text, the usage, the media or the job is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

import msgspec

from apps.providers.jsonpath import Path, compile_path
from apps.providers.mapping_nest import nest, overlay
from apps.providers.mapping_request import RequestTemplate, compile_endpoint, compile_request
from apps.providers.mapping_template import Faults, Scope, compile_tree
from apps.providers.types import Usage

MediaSource = Literal["url", "base64", "bytes"]
StreamFormat = Literal["sse", "ndjson"]
PollState = Literal["running", "succeeded", "failed"]

TEXT_KEYS: Final = ("text", "text_content", "content", "output_text")
FINISH_KEYS: Final = ("finish_reason", "stop_reason")
ERROR_KEYS: Final = ("error", "error_message")
USAGE_KEYS: Final = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "total_tokens",
)
# How the first version's rows said what `media` says: the key tells where the bytes are.
_MEDIA_KEYS: Final[Mapping[str, MediaSource]] = {
    "image_url": "url",
    "video_url": "url",
    "audio_url": "url",
    "media_url": "url",
    "image_base64": "base64",
    "video_base64": "base64",
    "audio_base64": "base64",
    "audio_data": "bytes",
}
_MEDIA_FIELDS: Final = ("from", "path", "media_type", "with_key")
_STREAM_FIELDS: Final = (
    "body",
    "endpoint",
    "text",
    "finish_reason",
    "model",
    "usage",
    "error",
    "done",
    "format",
)
_POLL_FIELDS: Final = (
    *("job_id", "method", "endpoint", "headers", "body", "interval_s"),
    *("status", "succeeded", "failed", "progress", "error"),
)
INTERVAL_S: Final = (0.5, 300.0)
DEFAULT_INTERVAL_S: Final = 5.0

Scalar = str | int | float | bool


# --- what comes out -----------------------------------------------------------------------------------------


class UsageMapping(msgspec.Struct, frozen=True):
    """Where the token counts are. A path that finds several numbers means their sum."""

    paths: tuple[tuple[str, Path], ...]

    def counts(self, doc: Any) -> dict[str, int]:
        """The counts this document gives, by their names in `usage`; a count that is no number is passed over."""
        counts = {}
        for name, path in self.paths:
            numbers = [int(value) for value in path.all(doc) if _is_count(value)]
            if numbers:
                counts[name] = sum(numbers)
        return counts


def usage_of(counts: Mapping[str, int]) -> Usage | None:
    """None when nothing was counted. A total stands in for whichever of input and output is not given."""
    if not counts:
        return None
    parts = dict(counts)
    total = parts.pop("total_tokens", None)
    if total is not None:
        known = parts.get("input_tokens", 0) + parts.get("output_tokens", 0)
        missing = "output_tokens" if "input_tokens" in parts else "input_tokens"
        parts.setdefault(missing, max(0, total - known))
    return Usage(**parts)


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53


class MediaMapping(msgspec.Struct, frozen=True, kw_only=True):
    """Where the files are, in the answer or, with a poll, in the poll's last answer.

    path: None with "bytes", where the whole body is the file. media_type: of base64 data. with_key: the URL
    wants the provider's own headers (send them to the provider's host only).
    """

    source: MediaSource
    path: Path | None = None
    media_type: Path | None = None
    with_key: bool = False


class PollMapping(msgspec.Struct, frozen=True, kw_only=True):
    """How to ask after a job. `request` is filled with the name job_id among its values."""

    job_id: Path
    request: RequestTemplate
    interval_s: float
    status: Path
    succeeded: tuple[Scalar, ...]
    failed: tuple[Scalar, ...]
    progress: Path | None = None
    error: Path | None = None

    def state(self, doc: Any) -> PollState:
        """An error found means failed, whatever the status says: Veo is "done" either way."""
        status = self.status.first(doc)
        if _is_among(status, self.failed) or (self.error and is_error(self.error.first(doc))):
            return "failed"
        return "succeeded" if _is_among(status, self.succeeded) else "running"


class StreamMapping(msgspec.Struct, frozen=True, kw_only=True):
    """How to read a streamed answer, an event at a time.

    done: the literal data (or event name) that ends it. done_path: the same as a path whose value is then true.
    With neither, a finish reason ends it.
    """

    request: RequestTemplate
    format: StreamFormat
    text: Path | None
    finish_reason: Path | None = None
    model: Path | None = None
    usage: UsageMapping | None = None
    error: Path | None = None
    done: str | None = None
    done_path: Path | None = None


class ResponseMapping(msgspec.Struct, frozen=True, kw_only=True):
    """fields: every other key, for whoever knows what it means ("revised_prompt", "resolution")."""

    text: Path | None = None
    finish_reason: Path | None = None
    model: Path | None = None
    usage: UsageMapping | None = None
    error: Path | None = None
    media: MediaMapping | None = None
    fields: Mapping[str, Path] = {}


def is_error(value: Any) -> bool:
    """Whether what stands at an error path is one: null, false, 0, "" and empty objects say all is well."""
    return bool(value)


def _is_among(value: Any, words: Sequence[Scalar]) -> bool:
    """Strings ignore case; true is not 1."""
    if isinstance(value, str):
        return any(isinstance(word, str) and word.lower() == value.lower() for word in words)
    return any(type(word) is type(value) and word == value for word in words)


# --- compiling ----------------------------------------------------------------------------------------------


def compile_response(raw: Mapping[str, Any], scope: Scope) -> ResponseMapping:
    """raw: response_mapping without `stream` and `poll`, which make requests of their own."""
    at, faults = "response_mapping", scope.faults
    rest = {key: value for key, value in raw.items() if key not in ("usage", "media")}
    paths = {key: path for key in rest if (path := optional_path(rest, key, at, faults)) is not None}
    named = {"text": TEXT_KEYS, "finish_reason": FINISH_KEYS, "error": ERROR_KEYS, "model": ("model",)}
    picked = {name: _pick(paths, keys) for name, keys in named.items()}
    known = {key for keys in named.values() for key in keys} | _MEDIA_KEYS.keys()
    return ResponseMapping(
        **picked,
        usage=_usage(raw.get("usage"), f"{at}.usage", faults),
        media=_media(raw.get("media"), f"{at}.media", faults) or _older_media(paths),
        fields={key: path for key, path in paths.items() if key not in known},
    )


def _pick(paths: Mapping[str, Path], keys: Sequence[str]) -> Path | None:
    return next((paths[key] for key in keys if key in paths), None)


def optional_path(raw: Mapping[str, Any], key: str, at: str, faults: Faults) -> Path | None:
    if raw.get(key) is None:
        return None
    try:
        return compile_path(raw[key])
    except ValueError as exc:
        faults.add(f"{at}.{key}", str(exc))
        return None


def _required_path(raw: Mapping[str, Any], key: str, at: str, faults: Faults) -> Path:
    if raw.get(key) is None:
        faults.add(f"{at}.{key}", "is needed: a JSONPath such as $.id")
    return optional_path(raw, key, at, faults) or compile_path("$")


def _usage(raw: Any, at: str, faults: Faults) -> UsageMapping | None:
    if raw is None:
        return None
    if not isinstance(raw, dict):
        faults.add(at, 'must be an object of paths such as {"input_tokens": "$.usage.in"}')
        return None
    faults.unknown_keys(raw, USAGE_KEYS, at)
    if "total_tokens" in raw and not {"input_tokens", "output_tokens"} & raw.keys():
        faults.add(
            f"{at}.total_tokens", "cannot be priced alone: give input_tokens or output_tokens beside it"
        )
    paths = ((key, optional_path(raw, key, at, faults)) for key in USAGE_KEYS)
    return UsageMapping(tuple((key, path) for key, path in paths if path is not None))


def _media(raw: Any, at: str, faults: Faults) -> MediaMapping | None:
    if raw is None or not faults.is_object(raw, at):
        return None
    faults.unknown_keys(raw, _MEDIA_FIELDS, at)
    source = raw.get("from")
    if source not in get_args(MediaSource):
        faults.add(f"{at}.from", f"must be one of {', '.join(get_args(MediaSource))}")
    if source == "bytes" and raw.get("path") not in (None, "$"):
        faults.add(f"{at}.path", 'must be left out: with "bytes" the whole answer is the file')
    if not isinstance(raw.get("with_key", False), bool):
        faults.add(f"{at}.with_key", "must be true or false")
    return MediaMapping(
        source=source,
        path=None if source == "bytes" else _required_path(raw, "path", at, faults),
        media_type=optional_path(raw, "media_type", at, faults),
        with_key=raw.get("with_key") is True,
    )


def _older_media(paths: Mapping[str, Path]) -> MediaMapping | None:
    for key, source in _MEDIA_KEYS.items():
        if key in paths:
            return MediaMapping(source=source, path=None if source == "bytes" else paths[key])
    return None


def compile_stream(
    raw: Any, at: str, scope: Scope, *, main: Mapping[str, Any], request: RequestTemplate
) -> StreamMapping | None:
    """main: the mapping's endpoint, method and (nested) body, which the stream's own are laid over."""
    faults = scope.faults
    if raw is None or not faults.is_object(raw, at):
        return None
    faults.unknown_keys(raw, _STREAM_FIELDS, at)
    over = nest(faults.object(raw.get("body"), f"{at}.body"), f"{at}.body", faults)
    compile_tree(over, f"{at}.body", scope)
    if "endpoint" in raw:
        compile_endpoint(raw["endpoint"], f"{at}.endpoint", scope)
    merged = {
        "endpoint": raw.get("endpoint", main.get("endpoint")),
        "method": main.get("method", "POST"),
        "body": overlay(main.get("body"), over) if over else main.get("body"),
    }
    if raw.get("format", "sse") not in get_args(StreamFormat):
        faults.add(f"{at}.format", f"must be one of {', '.join(get_args(StreamFormat))}")
    done, done_path = _done(raw, at, faults)
    if raw.get("done") is None and raw.get("finish_reason") is None:
        faults.add(
            f"{at}.done", "is needed, or finish_reason: else a broken stream looks like a finished one"
        )
    return StreamMapping(
        request=compile_request(merged, scope.quiet(), at=at, main=request),
        format=raw.get("format", "sse"),
        text=_required_path(raw, "text", at, faults),
        finish_reason=optional_path(raw, "finish_reason", at, faults),
        model=optional_path(raw, "model", at, faults),
        usage=_usage(raw.get("usage"), f"{at}.usage", faults),
        error=optional_path(raw, "error", at, faults),
        done=done,
        done_path=done_path,
    )


def _done(raw: Mapping[str, Any], at: str, faults: Faults) -> tuple[str | None, Path | None]:
    done = raw.get("done")
    if isinstance(done, str) and done.startswith("$"):
        return None, optional_path(raw, "done", at, faults)
    if done is not None and (not isinstance(done, str) or not done.strip()):
        faults.add(f"{at}.done", 'must be the data that ends the stream, such as "[DONE]", or a JSONPath')
        return None, None
    return done, None


def compile_poll(raw: Any, at: str, scope: Scope, *, request: RequestTemplate) -> PollMapping | None:
    faults = scope.faults
    if raw is None or not faults.is_object(raw, at):
        return None
    faults.unknown_keys(raw, _POLL_FIELDS, at)
    if "{job_id" not in f"{raw.get('endpoint')}{raw.get('body')}":
        faults.add(f"{at}.endpoint", "must hold {job_id}, or nothing says which job is asked after")
    nested = {**raw, "body": nest(raw.get("body"), f"{at}.body", faults)}
    return PollMapping(
        job_id=_required_path(raw, "job_id", at, faults),
        request=compile_request(nested, scope, at=at, default_method="GET", main=request),
        interval_s=_interval(raw.get("interval_s", DEFAULT_INTERVAL_S), f"{at}.interval_s", faults),
        status=_required_path(raw, "status", at, faults),
        succeeded=_words(raw.get("succeeded"), f"{at}.succeeded", faults, is_needed=True),
        failed=_words(raw.get("failed"), f"{at}.failed", faults, is_needed="error" not in raw),
        progress=optional_path(raw, "progress", at, faults),
        error=optional_path(raw, "error", at, faults),
    )


def _interval(raw: Any, at: str, faults: Faults) -> float:
    shortest, longest = INTERVAL_S
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not shortest <= raw <= longest:
        faults.add(at, f"must be a number of seconds between {shortest:g} and {longest:g}")
        return DEFAULT_INTERVAL_S
    return float(raw)


def _words(raw: Any, at: str, faults: Faults, *, is_needed: bool) -> tuple[Scalar, ...]:
    if raw is None and not is_needed:
        return ()
    if not isinstance(raw, list) or not raw or not all(isinstance(word, Scalar) for word in raw):
        faults.add(at, 'must be a list of the status values that mean it, such as ["done"]')
        return ()
    return tuple(raw)
