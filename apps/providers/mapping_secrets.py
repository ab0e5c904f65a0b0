"""Tells a key written into a mapping from the placeholder that should stand there."""

from __future__ import annotations

import re
from typing import Final

# Headers and query parameters that carry nothing but credentials.
KEY_HEADERS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "api-key",
        "apikey",
        "x-api-key",
        "x-api-token",
        "x-auth-token",
        "x-goog-api-key",
        "xi-api-key",
        "cookie",
    }
)
KEY_PARAMETERS: Final = frozenset(
    {"key", "api_key", "apikey", "api-key", "access_token", "auth_token", "token", "auth", "secret"}
)

_KEY: Final = re.compile(
    r"""
    (?<![A-Za-z0-9])(?:
        (?:sk|pk|rk)[-_](?:[A-Za-z0-9_-]{16,}|(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{8,})   # OpenAI and many after
      | AIza[0-9A-Za-z_-]{20,}                                      # Google
      | (?:xai|gsk|hf|r8|fw|nvapi|pplx|tgp)[-_](?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{16,}
    )
    | \bBearer\s+[^\s{}]{16,}
    | \b(?:Basic|Token|Key)\s+(?=[^\s{}0-9]*[0-9])[^\s{}]{16,}
    """,
    re.VERBOSE | re.IGNORECASE,
)


def looks_like_key(text: str) -> bool:
    """Whether a well-known form of key stands in it. Digits are asked for where prose could look the same."""
    return _KEY.search(text) is not None
