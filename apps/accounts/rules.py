"""What an instance's and a key's JSON fields may hold: pure checks, {dotted name: what is wrong}."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from typing import Any

from apps.core.fields import MAX_WHOLE_NUMBER, PROVIDER_SHAPE, SHOWN_NAME_CHARACTERS, is_provider_id, shown
from apps.core.urls_guard import UrlRefused, public_origin_check

LIMIT_NAMES = ("rpm", "rph", "rpd", "tpm", "concurrent_requests")
# The services of the platform, as a key's allowed_services names them.
SERVICES = ("config", "text", "image", "audio", "media", "render")
WEBHOOK_SECRET_PREFIX = "whsec_"
WEBHOOK_SECRET_BYTES = (24, 64)  # the Standard Webhooks specification's range


def rate_limits_faults(value: Any) -> dict[str, str]:
    """value: {"rpm": 500, …}."""
    if not isinstance(value, Mapping):
        return {"": "Must be a JSON object."}
    faults = {}
    for name, limit in value.items():
        if name not in LIMIT_NAMES:
            faults[cut(name)] = f"There is no such limit; use {', '.join(LIMIT_NAMES)}."
        elif not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_WHOLE_NUMBER:
            faults[name] = f"Must be a whole number from 1 to {MAX_WHOLE_NUMBER}."
    return faults


def provider_rate_limits_faults(value: Any) -> dict[str, str]:
    """value: {provider: {"rpm": 500, …}}."""
    faults = {}
    for provider, limits in value.items():
        if not is_provider_id(provider):
            faults[cut(provider)] = PROVIDER_SHAPE
            continue
        for name, text in rate_limits_faults(limits).items():
            faults[f"{provider}.{name}" if name else provider] = text
    return faults


def base_urls_faults(value: Any) -> dict[str, str]:
    """value: {provider: origin}."""
    faults = {}
    for provider, url in value.items():
        if not is_provider_id(provider):
            faults[cut(provider)] = PROVIDER_SHAPE
        elif not isinstance(url, str):
            faults[provider] = "Must be text: an address such as https://gpu.example:8000."
        else:
            try:
                public_origin_check(url)
            except UrlRefused as exc:
                faults[provider] = str(exc)
    return faults


def provider_keys_faults(value: Any) -> dict[str, str]:
    """value: {provider: key, or None to remove it}."""
    faults = {}
    for provider, api_key in value.items():
        if not is_provider_id(provider):
            faults[cut(provider)] = PROVIDER_SHAPE
        elif api_key is not None and (fault := provider_key_fault(api_key)):
            faults[provider] = fault
    return faults


def provider_key_fault(value: Any) -> str:
    """A masked key as we show it ("sk-…a1b2") passes: whether it is this one's is known only beside the row."""
    if not isinstance(value, str) or not 1 <= len(value) <= 4096:
        return "Must be text of 1 to 4096 characters."
    # It is sent in a header: a line end in it would be another header.
    if not all("!" <= character <= "~" or character == "…" for character in value):
        return "May hold visible ASCII characters only."
    return ""


def networks_read(value: list[str]) -> tuple[list[str], dict[str, str]]:
    """CIDR ranges in their normal form, and what is wrong by index."""
    networks, faults = [], {}
    for index, text in enumerate(value):
        try:
            networks.append(str(ipaddress.ip_network(text, strict=False)))
        except ValueError:
            faults[str(index)] = f"{shown(text)} is not an IP address or a CIDR range such as 203.0.113.0/24."
    return networks, faults


def webhook_secret_fault(value: str) -> str:
    """Standard Webhooks: "whsec_" and base64 of 24 to 64 bytes."""
    low, high = WEBHOOK_SECRET_BYTES
    wanted = f"Must be {WEBHOOK_SECRET_PREFIX} and base64 of {low} to {high} random bytes."
    if not value.startswith(WEBHOOK_SECRET_PREFIX):
        return wanted
    try:
        size = len(base64.b64decode(value[len(WEBHOOK_SECRET_PREFIX) :], validate=True))
    except (binascii.Error, ValueError):
        return wanted
    return "" if low <= size <= high else wanted


def cut(name: str) -> str:
    """A client's own name fit to be a key of our answer."""
    return name[:SHOWN_NAME_CHARACTERS]
