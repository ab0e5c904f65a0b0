"""Typed readers for environment variables that refuse bad values at start-up, naming the variable."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path


class BadSetting(SystemExit):
    """One clear sentence instead of a traceback: settings are read before logging exists."""

    def __init__(self, name: str, value: str, wants: str) -> None:
        super().__init__(f"{name}={value!r} is not valid: it must be {wants}.")


def text(name: str, default: str) -> str:
    return os.environ.get(name, "") or default


def boolean(name: str, default: bool) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value == "":
        return default
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    raise BadSetting(name, value, "1 or 0")


def integer(name: str, default: int, *, minimum: int = 0) -> int:
    value = os.environ.get(name, "").strip()
    if value == "":
        return default
    if not value.isdigit() or int(value) < minimum:
        raise BadSetting(name, value, f"a whole number of at least {minimum}")
    return int(value)


def seconds(name: str, default: float) -> float:
    value = os.environ.get(name, "").strip()
    if value == "":
        return default
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e6:
        raise BadSetting(name, value, "a positive number of seconds")
    return number


def choice(name: str, default: str, allowed: list[str]) -> str:
    value = text(name, default)
    if value not in allowed:
        raise BadSetting(name, value, "one of " + ", ".join(allowed))
    return value


def items(name: str, default: list[str]) -> list[str]:
    value = os.environ.get(name, "")
    return [item.strip() for item in value.split(",") if item.strip()] if value else default


def secret(name: str, path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(48)) -> str:
    """The variable's value, else the content of the file at `path`, made on first use (mode 600).

    Several processes may start at once: the file appears whole or not at all, and the first one wins.
    """
    if value := os.environ.get(name, ""):
        return value
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
