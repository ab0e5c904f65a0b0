"""Secrets at rest: encrypt with the newest key, decrypt with any of them.

DE_ENCRYPTION_KEYS lists Fernet keys, newest first. To rotate: put a new key in front, restart, run
`manage.py rotate_secrets`, then drop the old key.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class SecretUnreadable(Exception):
    """No key in DE_ENCRYPTION_KEYS opens this secret."""


@lru_cache(maxsize=1)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(secret: str) -> str:
    return _fernet(tuple(settings.DE_ENCRYPTION_KEYS)).encrypt(secret.encode()).decode("ascii")


def decrypt(token: str) -> str:
    """Raises SecretUnreadable when the key it was written with is gone."""
    try:
        return _fernet(tuple(settings.DE_ENCRYPTION_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken as exc:
        raise SecretUnreadable(
            "A stored secret can't be read: is a key missing in DE_ENCRYPTION_KEYS?"
        ) from exc


def reencrypt(token: str) -> str:
    """The same secret under the newest key."""
    try:
        return _fernet(tuple(settings.DE_ENCRYPTION_KEYS)).rotate(token.encode()).decode("ascii")
    except InvalidToken as exc:
        raise SecretUnreadable(
            "A stored secret can't be read: is a key missing in DE_ENCRYPTION_KEYS?"
        ) from exc


def mask(secret: str) -> str:
    """Enough to recognise a key by, too little to use it: "sk-…a1b2"."""
    return f"{secret[:3]}…{secret[-4:]}" if len(secret) >= 16 else "…"
