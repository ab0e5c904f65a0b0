"""The ground rules of every test: data of their own, a real Valkey, an empty memory, no way out of the machine."""

from __future__ import annotations

import ipaddress
import shutil
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from apps.accounts.changes import caches_clear
from de.valkey import valkey_running


@pytest.fixture(scope="session", autouse=True)
def _valkey() -> Iterator[None]:
    with valkey_running(settings.DE_DATA_DIR):
        yield
    shutil.rmtree(settings.DE_DATA_DIR, ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """pytest-django's, letting go of PostgreSQL's pooled connections before the test database is dropped."""
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock():
            connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's wrapper alone has it


@pytest.fixture(autouse=True)
def _empty_memory() -> Iterator[None]:
    """Rows of one test must not be remembered in the next."""
    caches_clear()
    yield
    caches_clear()


@pytest.fixture(autouse=True)
def _no_way_out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves the machine, unless the test is marked `live`."""
    if request.node.get_closest_marker("live"):
        return
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise AssertionError(f"A test tried to reach {address[0]}.")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
