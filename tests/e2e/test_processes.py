"""Starting, stopping, killing: what happens to the platform and to what it was doing."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import BASE_DIR, Platform, free_port, start_platform, stop_platform, wait_until
from tests.e2e.test_text import events_of, streaming
from tests.upstream import CHAT_END, Answer, Exchange, Upstream, chat_answer, chat_event


@pytest.fixture
def own_platform(tmp_path: Path) -> Platform:
    """A platform this test may break."""
    return start_platform(tmp_path / "data", DE_KEEPALIVE_S="0.4")


def children_of(platform: Platform) -> dict[str, int]:
    """name -> process id of what the supervisor started."""
    listing = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(platform.process.pid)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = {
        "valkey": "valkey-server",
        "sandbox": "apps.sandbox.asgi",
        "worker": " worker ",
        "beat": " beat ",
        "web": "de.server",
    }
    return {
        name: int(line.split()[0])
        for line in listing.splitlines()
        for name, mark in names.items()
        if mark in line
    }


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def supervise(**environment: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    return subprocess.run(
        [sys.executable, "-m", "de.supervisor"],
        cwd=BASE_DIR,
        env=variables | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- starting and stopping ------------------------------------------------------------------------------------


def test_a_second_start_keeps_data_login_and_keys_and_takes_seconds(tmp_path: Path):
    first = start_platform(tmp_path)
    mode = stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode)
    request_id = first.request("POST", "/text/generate", json={"prompt": "Hi"}, headers=first.test).json()[
        "request_id"
    ]
    stop_platform(first)
    started = time.monotonic()
    second = start_platform(tmp_path)
    took_s = time.monotonic() - started
    try:
        assert mode == 0o600
        assert second.credentials["test_key"] == first.credentials["test_key"]
        assert second.credentials["admin_password"] == first.credentials["admin_password"]
        assert second.credentials["base_url"] == second.base_url
        assert len(second.ledger(request_id=request_id)) == 1
        assert took_s < 15
    finally:
        stop_platform(second)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_ends_everything_that_was_started(own_platform: Platform, number: int):
    pids = children_of(own_platform)
    assert set(pids) == {"valkey", "sandbox", "worker", "beat", "web"}
    stop_platform(own_platform, number)
    assert own_platform.process.returncode == 0
    assert [name for name, pid in pids.items() if is_alive(pid)] == []


def test_killing_the_supervisor_outright_leaves_no_orphan(own_platform: Platform):
    pids = children_of(own_platform)
    own_platform.process.kill()
    own_platform.process.wait()
    wait_until(lambda: not any(map(is_alive, pids.values())), within_s=20)


def test_what_dies_is_started_again(own_platform: Platform):
    try:
        pids = children_of(own_platform)
        for name in ("web", "worker", "sandbox"):
            os.kill(pids[name], signal.SIGKILL)

        def answers() -> bool:
            try:
                answer = own_platform.request(
                    "POST", "/text/generate", json={"prompt": "Hi"}, headers=own_platform.test
                )
            except httpx.TransportError:
                return False
            return answer.status_code == 200 and set(children_of(own_platform)) == set(pids)

        wait_until(answers, within_s=20)
    finally:
        stop_platform(own_platform)


def test_a_port_in_use_is_one_clear_sentence(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = supervise(DE_DATA_DIR=str(tmp_path), PORT=port, DE_SANDBOX_PORT=str(free_port()))
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert port in done.stderr
    assert "PORT=" in done.stderr


def test_a_folder_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    done = supervise(DE_DATA_DIR=str(tmp_path / "file" / "data"), PORT=str(free_port()))
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "DE_DATA_DIR" in done.stderr


def test_a_second_platform_on_the_same_data_is_refused(platform: Platform):
    done = supervise(
        DE_DATA_DIR=str(platform.data_dir), PORT=str(free_port()), DE_SANDBOX_PORT=str(free_port())
    )
    assert done.returncode == 1
    assert "already running" in done.stderr


def test_a_setting_that_makes_no_sense_is_named(tmp_path: Path):
    done = supervise(DE_DATA_DIR=str(tmp_path), PORT="eighty")
    assert done.returncode == 1
    assert done.stderr.strip() == "PORT='eighty' is not valid: it must be a whole number of at least 1."


def test_a_python_that_is_too_old_is_one_clear_sentence(tmp_path: Path):
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "-s", "python-version", f"PYTHON={old}"],
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "Python 3.9.2" in done.stderr


# --- killed in the middle -------------------------------------------------------------------------------------


def test_kill_9_under_load_loses_no_row_of_an_answer(own_platform: Platform):
    answered: list[str] = []
    unsure = 0
    lock = threading.Lock()
    stop = threading.Event()

    async def handler(_exchange: Exchange) -> Answer:
        return chat_answer()

    def ask(path: str, body: dict[str, str]) -> None:
        nonlocal unsure
        with httpx.Client(base_url=own_platform.base_url, headers=own_platform.live, timeout=10) as client:
            while not stop.is_set():
                try:
                    answer = client.post(path, json=body)
                except httpx.TransportError:
                    with lock:
                        unsure += 1
                    time.sleep(0.05)
                    continue
                if answer.status_code == 200 and (path.endswith("generate") or "event: done" in answer.text):
                    with lock:
                        answered.append(answer.headers["X-Request-ID"])

    try:
        with Upstream(handler) as plain, Upstream(_fresh_stream) as streamed:
            bodies = [
                ("/text/generate", own_platform.make_instance(plain.url)),
                ("/text/generate/stream", own_platform.make_instance(streamed.url)),
            ]
            with concurrent.futures.ThreadPoolExecutor(16) as threads:
                for path, instance in bodies * 8:
                    body = {"prompt": "Hi", "model_id": "gpt-4o-mini", "instance_id": instance}
                    threads.submit(ask, path, body)
                try:
                    for _ in range(3):
                        time.sleep(2)
                        os.kill(children_of(own_platform)["web"], signal.SIGKILL)
                        wait_until(lambda: "web" in children_of(own_platform), within_s=10)
                    time.sleep(2)
                finally:
                    stop.set()
    finally:
        stop_platform(own_platform)
    assert unsure > 0
    assert len(answered) > 50
    with sqlite3.connect(own_platform.data_dir / "de.sqlite3") as database:
        recorded = [row[0] for row in database.execute("SELECT request_id FROM usage_ledgerentry")]
    assert set(answered) - set(recorded) == set()
    assert len(recorded) == len(set(recorded))


async def _fresh_stream(exchange: Exchange) -> Answer:
    made: Answer = await streaming(chat_event("a"), chat_event("b"), CHAT_END)(exchange)
    return made


def test_a_stream_still_running_when_the_server_must_stop_ends_with_an_error_event_and_is_charged(
    own_platform: Platform,
):
    with Upstream(streaming(*[chat_event("word ")] * 400, pause_s=0.05)) as upstream:
        instance = own_platform.make_instance(upstream.url)
        body = {"prompt": "Hi", "model_id": "gpt-4o-mini", "instance_id": instance}
        with httpx.stream(
            "POST",
            f"{own_platform.base_url}/text/generate/stream",
            json=body,
            headers=own_platform.live,
            timeout=30,
        ) as answer:
            request_id = answer.headers["X-Request-ID"]
            lines = answer.iter_lines()
            while "word" not in next(lines):
                pass
            stopper = threading.Thread(target=stop_platform, args=(own_platform,))
            stopper.start()
            rest = "\n".join(lines)
        stopper.join()
    name, data = events_of(rest[rest.index("event:") :])[-1]
    assert (name, data["error_code"]) == ("error", "SERVICE_UNAVAILABLE")
    with sqlite3.connect(own_platform.data_dir / "de.sqlite3") as database:
        rows = list(
            database.execute(
                "SELECT status, output_tokens FROM usage_ledgerentry WHERE request_id = ?", [request_id]
            )
        )
    assert [status for status, _ in rows] == ["canceled"]
    assert rows[0][1] > 0


def test_a_silent_stream_is_kept_alive_by_comments_even_before_its_first_token(own_platform: Platform):
    try:
        pieces = [b": thinking\n\n", chat_event("late"), CHAT_END]
        with Upstream(streaming(*pieces, pause_s=1.2)) as upstream:
            instance = own_platform.make_instance(upstream.url)
            answer = own_platform.post(
                "/text/generate/stream",
                {"prompt": "Hi", "model_id": "gpt-4o-mini", "instance_id": instance},
            )
        before, after = answer.text.split("late", 1)
        assert len(re.findall(r"^: keep-alive$", before, re.MULTILINE)) >= 1
        assert len(re.findall(r"^: keep-alive$", after, re.MULTILINE)) >= 1
        assert events_of(answer.text)[-1][0] == "done"
    finally:
        stop_platform(own_platform)


def test_without_redis_requests_are_answered_and_the_platform_says_it_is_degraded(own_platform: Platform):
    try:
        os.kill(children_of(own_platform)["valkey"], signal.SIGKILL)
        answers = [
            own_platform.request("POST", "/text/generate", json={"prompt": "Hi"}, headers=own_platform.test)
            for _ in range(3)
        ]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert answers[-1].headers["X-DE-Degraded"] == "limits"
        ready = own_platform.request("GET", "/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert own_platform.request("POST", "/text/generate", json={}, headers={}).status_code == 401
    finally:
        stop_platform(own_platform)


def test_the_demo_shows_an_answer_of_every_service(platform: Platform):
    variables = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    done = subprocess.run(
        [sys.executable, "scripts/demo.py"],
        cwd=BASE_DIR,
        env=variables | {"DE_DATA_DIR": str(platform.data_dir)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for word in ("config", "text", "stream", "usage"):
        assert word in done.stdout
    assert json.loads((platform.data_dir / "credentials.json").read_text())["live_key"] not in done.stdout
