"""The sandbox for real: its own uvicorn process on a free loopback port, and each maker's own SDK pointed at it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import openai
import pytest
from google import genai

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "apps.sandbox.asgi:application", "--port", str(port)]
    quiet = ["--log-level", "critical", "--timeout-graceful-shutdown", "1"]
    process = subprocess.Popen([*command, *quiet], cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                httpx.get(f"{url}/health", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def http(sandbox_url: str) -> Iterator[httpx.Client]:
    """Any maker, any key, without an SDK."""
    headers = {
        "authorization": "Bearer key",
        "x-api-key": "key",
        "anthropic-version": "2023-06-01",
        "x-goog-api-key": "key",
    }
    with httpx.Client(base_url=sandbox_url, headers=headers, timeout=20) as client:
        yield client


@pytest.fixture
def openai_client(sandbox_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{sandbox_url}/openai/v1", api_key="key", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(sandbox_url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=f"{sandbox_url}/anthropic", api_key="key", max_retries=0) as client:
        yield client


@pytest.fixture
def gemini_client(sandbox_url: str) -> Iterator[genai.Client]:
    client = gemini_sdk(sandbox_url, "key")
    yield client
    client.close()


def gemini_sdk(sandbox_url: str, key: str) -> genai.Client:
    return genai.Client(api_key=key, http_options=genai.types.HttpOptions(base_url=f"{sandbox_url}/gemini"))
