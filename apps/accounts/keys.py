"""What an API key looks like: sk_live_ or sk_test_ and 64 hex digits, of which we keep only the SHA-256."""

from __future__ import annotations

import hashlib
import secrets

import msgspec

LIVE_PREFIX = "sk_live_"
TEST_PREFIX = "sk_test_"


class NewKey(msgspec.Struct, frozen=True):
    """A key just made: `raw` is shown to its owner once and kept nowhere."""

    raw: str
    key_hash: str
    hint: str

    def __repr__(self) -> str:
        return f"NewKey({self.hint!r})"


def key_hash(raw: str) -> str:
    return hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest()


def key_generate(*, is_test: bool) -> NewKey:
    raw = (TEST_PREFIX if is_test else LIVE_PREFIX) + secrets.token_hex(32)
    return NewKey(raw=raw, key_hash=key_hash(raw), hint=f"{raw[:8]}…{raw[-4:]}")
