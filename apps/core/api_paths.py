"""Which paths are the API's: they answer in JSON, whatever happens, and with or without a trailing slash."""

from __future__ import annotations

API_PREFIXES = frozenset(
    ("config", "image", "text", "audio", "media", "render", "jobs", "v1", "schema", "health")
)


def is_api_path(path: str) -> bool:
    return path.startswith("/") and path.split("/", 2)[1] in API_PREFIXES
