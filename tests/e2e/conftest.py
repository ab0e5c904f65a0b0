"""The whole platform as `make run` starts it, in processes of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

BASE_DIR = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Platform:
    """A running platform. The client sends no key; say who asks with `auth(key)`."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    base_url: str
    credentials: dict[str, str]

    @property
    def live(self) -> dict[str, str]:
        return auth(self.credentials["live_key"])

    @property
    def test(self) -> dict[str, str]:
        return auth(self.credentials["test_key"])

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return httpx.request(method, self.base_url + path, timeout=30, **options)

    def post(self, path: str, body: Any, *, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.request("POST", path, json=body, headers=self.live | (headers or {}))

    def make_instance(self, upstream_url: str, *, provider: str = "openai", **fields: Any) -> str:
        """An instance of its own whose provider is a server of the test's."""
        instance_id = f"inst-{secrets.token_hex(4)}"
        body = {
            "instance_id": instance_id,
            "org_id": "default",
            "name": instance_id,
            "api_keys": {provider: "sk-upstream-key-1234567890"},
            "base_urls": {provider: upstream_url},
        }
        answer = self.post("/config/instance", body | fields)
        assert answer.status_code == 201, answer.text
        return instance_id

    def make_model(self, **fields: Any) -> str:
        model_id = f"model-{secrets.token_hex(4)}"
        body = {
            "model_id": model_id,
            "provider_id": "openai",
            "adapter": "openai",
            "model": "gpt-4o-mini",
            "display_name": model_id,
            "capabilities": {"text": True},
        }
        answer = self.post("/config/model-config", body | fields)
        assert answer.status_code == 201, answer.text
        return model_id

    def ledger(self, **filters: Any) -> list[dict[str, Any]]:
        answer = self.request("GET", "/config/usage", params=filters, headers=self.live)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["data"]["rows"]
        return rows


def auth(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def start_platform(data_dir: Path, **environment: str) -> Platform:
    port, sandbox_port = free_port(), free_port()
    # Not the tests' own settings, which DJANGO_SETTINGS_MODULE names here.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")} | {
        "DE_DATA_DIR": str(data_dir),
        "PORT": str(port),
        "DE_SANDBOX_PORT": str(sandbox_port),
        "DE_ALLOW_PRIVATE_NETWORKS": "1",
        "DE_LOG_LEVEL": "WARNING",
        "DE_SHUTDOWN_GRACE_S": "2",
        **environment,
    }
    # To a file, not a pipe: a pipe nobody reads would fill up and stop whoever logs next.
    output = data_dir.with_name(f"{data_dir.name}.{secrets.token_hex(4)}.log")
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "de.supervisor"],
            cwd=BASE_DIR,
            env=variables,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    wait_until(lambda: process.poll() is not None or "\nTest key:" in output.read_text(), within_s=60)
    assert process.poll() is None, "The platform did not start:\n" + output.read_text()
    credentials = json.loads((data_dir / "credentials.json").read_text())
    return Platform(process, data_dir, f"http://127.0.0.1:{port}", credentials)


def stop_platform(platform: Platform, number: int = signal.SIGTERM) -> None:
    platform.process.send_signal(number)
    platform.process.wait(timeout=60)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("platform"))
    yield running
    stop_platform(running)


def wait_until(condition: Any, *, within_s: float = 5.0) -> None:
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, "It did not happen in time."
        time.sleep(0.02)
