from __future__ import annotations

import subprocess
import sys
import time

import httpx
import pytest

from apps.sandbox.http import MAX_BODY_BYTES
from tests.sandbox.conftest import ROOT
from tests.sandbox.samples import SAMPLES, error_of


def test_the_sandbox_says_it_is_healthy(http):
    assert http.get("/health").json() == {"status": "healthy", "service": "sandbox"}


def test_a_prefix_nobody_lives_at_is_a_404(http):
    answer = http.get("/nobody/v1/models")
    assert answer.status_code == 404
    assert answer.json()["makers"] == ["anthropic", "gemini", "openai"]


@pytest.mark.parametrize("maker", SAMPLES)
def test_an_unknown_path_and_a_wrong_method_are_refused_in_the_makers_shape(http, maker):
    answer = http.get(f"/{maker}/v1/nothing/here")
    assert answer.status_code == 404
    error_of(maker, answer.json())
    answer = http.put(SAMPLES[maker].path)
    assert answer.status_code == 405
    error_of(maker, answer.json())


@pytest.mark.parametrize("maker", SAMPLES)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 200 + b"1" + b"}" * 200]
)
def test_a_body_that_is_no_json_object_is_a_400(http, maker, body):
    answer = http.post(SAMPLES[maker].path, content=body)
    assert answer.status_code == 400
    error_of(maker, answer.json())


@pytest.mark.parametrize("maker", SAMPLES)
def test_a_body_over_32_mb_is_a_413(http, maker):
    answer = http.post(SAMPLES[maker].path, content=b" " * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    error_of(maker, answer.json())


@pytest.mark.parametrize("rehearse", ["pace=30", "hang", "slow=30"])
def test_a_client_that_leaves_ends_its_call_at_once(http, sandbox_url, rehearse):
    sample = SAMPLES["anthropic"]
    headers = {"x-de-rehearse": rehearse}
    with pytest.raises(httpx.ReadTimeout):
        http.post(sample.stream_path, json=sample.stream_body, headers=headers, timeout=0.3)
    deadline = time.monotonic() + 2
    while (calls := http.get("/calls").json()["in_flight"]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert calls == 0


def test_the_sandbox_knows_no_django():
    code = (
        "import sys, apps.sandbox.asgi; sys.exit('django' in sys.modules or 'apps.providers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


async def test_start_and_shutdown_are_acknowledged():
    from apps.sandbox.asgi import application

    asked = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    answered = []

    async def receive():
        return asked.pop(0)

    async def send(message):
        answered.append(message["type"])

    await application({"type": "lifespan"}, receive, send)
    assert answered == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
