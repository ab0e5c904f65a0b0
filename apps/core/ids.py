"""Identifiers we make."""

from __future__ import annotations

import os
import secrets
import time
import uuid


def uuid7() -> uuid.UUID:
    """A time-ordered UUID (RFC 9562, version 7).

    Ordered, so that the ledger's index on request ids grows at its end instead of touching a random page a row.
    """
    value = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return uuid.UUID(int=value)


def prefixed_id(prefix: str) -> str:
    """e.g. "usr_5f0c…": says what it names."""
    return f"{prefix}_{secrets.token_hex(8)}"
