"""Addresses that people type in and we then call: which are acceptable as written.

Only what can be told from the text is judged here. What a name resolves to is checked when we connect, since it may
be another address by then.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

MAX_URL_CHARACTERS = 2_048

_host_name = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?")
_version_path = re.compile(r"/v[0-9]+[a-z0-9]*\Z")


class UrlRefused(ValueError):
    """str(exc) is a sentence for whoever typed the address."""


def public_origin_check(url: str) -> str:
    """The origin in place of a maker's ("http://gpu-box:8000"), less a final slash; raises UrlRefused.

    A path in front of the version ("https://proxy.example/openai") may stay; the version itself is the adapter's.
    """
    parts = _split(url)
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise UrlRefused("Leave out the query and the fragment: this is an origin.")
    cleaned = url.rstrip("/")
    if _version_path.search(urlsplit(cleaned).path):
        raise UrlRefused("Leave out the version at the end (such as /v1): this is the origin it is added to.")
    return cleaned


def public_url_check(url: str) -> str:
    """Any full http(s) URL that names a public host; raises UrlRefused. Placeholders may stand after the host."""
    _split(url)
    return url


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_CHARACTERS:
        raise UrlRefused(f"The address is longer than {MAX_URL_CHARACTERS} characters.")
    # urlsplit drops tabs and line ends without a word, and a backslash is a slash to some clients and not to others.
    if "\\" in url or not all("!" <= character <= "~" for character in url):
        raise UrlRefused("The address may hold visible ASCII characters only, and no backslash.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise UrlRefused("This is not a valid address.") from exc
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise UrlRefused("The address must start with http:// or https:// and name a host.")
    if "@" in parts.netloc:
        raise UrlRefused("Leave user name and password out of the address.")
    if port == 0:
        raise UrlRefused("Port 0 can't be called.")
    _host_check(parts.hostname)
    return parts


def _host_check(host: str) -> None:
    literal = _address(host)
    if literal is None and not _host_name.fullmatch(host):
        raise UrlRefused("The host must be a plain host name or an IP address.")
    if settings.DE_ALLOW_PRIVATE_NETWORKS:
        return
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        raise UrlRefused(_private(host))
    if literal is not None and not is_public_address(literal):
        raise UrlRefused(_private(host))


def _private(host: str) -> str:
    return f"{host} is a private address, which is allowed only with DE_ALLOW_PRIVATE_NETWORKS=1."


def is_public_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Neither loopback, link-local, private, shared, reserved nor multicast; an IPv4 address inside an IPv6 one
    counts as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public_address(inner)
        # NAT64: a gateway turns these into the IPv4 address in the last four bytes.
        if address in ipaddress.ip_network("64:ff9b::/96"):
            return is_public_address(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address.is_global and not address.is_multicast


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address `host` spells, in every spelling the C library takes ("127.1", "0x7f000001", "2130706433")."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except (OSError, ValueError):
        return None
