"""Addresses: which path a host label stands for.

`text.<DE_DOMAIN>/generate` is `/text/generate`. With DE_DOMAIN unset only paths are served.
"""

from __future__ import annotations

# Every path below such a host belongs to the app.
_SERVICE_LABELS = {
    "api": "/config",
    "images": "/image",
    "text": "/text",
    "text-gen": "/text",
    "audio": "/audio",
    "audio-gen": "/audio",
    "media": "/media",
    "stock-media": "/media",
    "render": "/render",
    "render-service": "/render",
}

# Pages: their links already carry the prefix, so it is put only where it is missing.
_PAGE_LABELS = {
    "admin": "/admin",
    "monitoring": "/monitoring",
    "testing": "/testing/image",
    "text-testing": "/testing/text",
}

# Stand at the root of every host.
_EVERYWHERE = ("/jobs", "/static/", "/schema", "/docs", "/health/ready")
# Browser pages and their log-in lead from one to another.
_EVERYWHERE_FOR_PAGES = (
    *_EVERYWHERE,
    "/admin",
    "/monitoring",
    "/testing",
    *(f"{prefix}/" for prefix in sorted(set(_SERVICE_LABELS.values()))),
)


def path_for(host: str, path: str, *, domain: str) -> str:
    """The path on one origin. host: as sent, with or without a port."""
    name = host.rsplit(":", 1)[0].lower() if ":" in host and not host.endswith("]") else host.lower()
    if not domain or not name.endswith("." + domain.lower()):
        return path
    label = name[: -len(domain) - 1]
    if (prefix := _SERVICE_LABELS.get(label)) is not None:
        keep = _is_below(path, _EVERYWHERE) or (label == "api" and _is_below(path, ("/v1",)))
        return path if keep else prefix + path
    if (prefix := _PAGE_LABELS.get(label)) is not None:
        return path if _is_below(path, _EVERYWHERE_FOR_PAGES) else prefix + path
    return path


def _is_below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root if root.endswith("/") else root + "/") for root in roots)
