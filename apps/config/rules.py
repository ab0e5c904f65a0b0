"""What a model config's JSON fields may hold: pure checks, {dotted name: what is wrong}, "" for the field itself."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from apps.accounts.rules import cut
from apps.config.prices import PRICING_KEYS
from apps.core.urls_guard import UrlRefused, public_origin_check
from apps.providers.mapping import mapping_compile, mapping_validate

KNOWN_CAPABILITIES = (
    *("text", "image", "video", "audio", "stock", "render"),
    *("text_to_speech", "image_to_video", "inpainting"),
)
# What a model is for, in the list's `?type=`.
MODEL_TYPES = KNOWN_CAPABILITIES[:6]
MAPPED = "mapped"
ADAPTERS = ("openai", "anthropic", "gemini", MAPPED)
TIMEOUT_NAMES = ("connect_s", "first_token_s", "idle_s", "total_s")
MAX_TIMEOUT_S = 86_400
MAX_PRICE_USD = 1_000_000
MODEL_ID_PATTERN = r"[a-z0-9.-]{1,100}"
MODEL_ID_SHAPE = "Use 1 to 100 lower-case letters, digits, dots and dashes."
CONFIG_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,159}"
CONFIG_ID_SHAPE = (
    "Use 1 to 160 letters, digits, dots, dashes and underscores, starting with a letter or a digit."
)

_model_id = re.compile(MODEL_ID_PATTERN)
_config_id = re.compile(CONFIG_ID_PATTERN)
_snake_case = re.compile(r"[a-z][a-z0-9_]{0,63}")


def is_model_id(text: str) -> bool:
    return _model_id.fullmatch(text) is not None


def is_config_id(text: str) -> bool:
    return _config_id.fullmatch(text) is not None


def capabilities_faults(value: Any) -> dict[str, str]:
    """value: {"text": true, …}; names we don't know may stand for what only the operator's clients look at."""
    faults = {}
    for name, has in value.items():
        if not _snake_case.fullmatch(name):
            faults[cut(name)] = "A capability is named in lower-case letters, digits and underscores."
        elif not isinstance(has, bool):
            faults[name] = "Must be true or false."
    if not faults and True not in value.values():
        faults[""] = f"At least one capability must be true, such as {', '.join(KNOWN_CAPABILITIES)}."
    return faults


def timeouts_faults(value: Any) -> dict[str, str]:
    """value: {"idle_s": 30, …}."""
    faults = {}
    for name, seconds in value.items():
        if name not in TIMEOUT_NAMES:
            faults[cut(name)] = f"There is no such time-out; use {', '.join(TIMEOUT_NAMES)}."
        elif not _is_number(seconds) or not 0 < seconds <= MAX_TIMEOUT_S:
            faults[name] = f"Must be a number of seconds above 0, at most {MAX_TIMEOUT_S}."
    return faults


def pricing_faults(value: Any) -> dict[str, str]:
    """value: {"input_per_million": 2.5, …} in USD."""
    faults = {}
    for name, price in value.items():
        if name not in PRICING_KEYS:
            faults[cut(name)] = f"There is no such price; use {', '.join(PRICING_KEYS)}."
        elif not _is_number(price) or not 0 <= price <= MAX_PRICE_USD:
            faults[name] = f"Must be a number of US dollars from 0 to {MAX_PRICE_USD}."
    return faults


def payload_mapping_faults(value: Any, *, capabilities: Mapping[str, Any]) -> dict[str, str]:
    """What the mapping's own compiler says, and whether the address it names may be called."""
    has = [name for name, is_true in capabilities.items() if is_true is True]
    faults = {fault.path: fault.message for fault in mapping_validate(value, capabilities=has)}
    if faults:
        return faults
    for origin in sorted(mapping_compile(value).origins):  # a stream's and a poll's own too
        try:
            public_origin_check(origin)
        except UrlRefused as exc:
            faults["endpoint"] = f"{origin}: {exc}"
    return faults


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
