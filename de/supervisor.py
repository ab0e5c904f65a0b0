"""`make run`: the whole platform in the foreground, set up, started, watched and stopped by one process.

    python -m de.supervisor

It starts Valkey (unless DE_REDIS_URL names a server), web, worker, beat and sandbox, restarts what dies, and on
Ctrl-C or SIGTERM stops all of it, the web process first so that streams can end well.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from de.children import BASE_DIR, Child

READY_TIMEOUT_S = 60.0


def fail(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr, flush=True)
    raise SystemExit(1)


# --- before anything starts ----------------------------------------------------------------------------------


def check_folder(data_dir: Path) -> IO[str]:
    """The data folder's lock, held as long as it is open: two platforms on one database would fight over it."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("a")
    except OSError as exc:
        fail(
            f"The data folder {data_dir} can't be written ({exc.strerror}); choose another with DE_DATA_DIR=/path."
        )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fail(
            f"Another platform is already running on the data folder {data_dir}; stop it, or set DE_DATA_DIR."
        )
    return lock


def check_port(host: str, port: int, *, setting: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            fail(
                f"Port {port} can't be used ({exc.strerror}); choose another, for example {setting}={port + 10}."
            )


# --- what runs -----------------------------------------------------------------------------------------------


def children(environment: dict[str, str], *, data_dir: Path, sandbox_port: int) -> list[Child]:
    """In the order they start; they stop the other way round, but for web, which is the first to stop."""
    python = sys.executable
    quiet = ["--loglevel", "WARNING"]
    # As root, as in a container, Celery warns at length; its messages are JSON here, which is what that is about.
    celery = [
        python,
        "-W",
        "ignore:You're running the worker",
        "-m",
        "celery",
        "--app",
        "de.celery",
        "--quiet",
    ]
    worker = [*celery, "worker", *quiet, "--pool", "threads", "--concurrency", "16", "--without-mingle"]
    beat = [*celery, "beat", *quiet, "--pidfile", "", "--schedule", str(data_dir / "celerybeat")]
    sandbox = [
        python,
        "-m",
        "uvicorn",
        "apps.sandbox.asgi:application",
        "--loop",
        "uvloop",
        "--no-access-log",
    ]
    sandbox += ["--host", "127.0.0.1", "--port", str(sandbox_port), "--log-level", "warning"]
    # A call that was told to hang would otherwise hold up stopping.
    sandbox += ["--timeout-graceful-shutdown", "1"]
    return [
        Child("sandbox", sandbox, environment),
        Child("worker", worker, environment),
        Child("beat", beat, environment),
        Child("web", [python, "-m", "de.server"], environment),
    ]


def wait_for(url: str, child: Child) -> None:
    give_up_at = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < give_up_at:
        if child.process is not None and child.process.poll() is not None:
            fail(
                f"{child.name} could not start (it ended with code {child.process.returncode}); see the lines above."
            )
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(url, timeout=2) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.05)
    fail(f"{child.name} did not answer at {url} within {READY_TIMEOUT_S:.0f} s.")


def wait_for_worker(file: Path, worker: Child) -> None:
    give_up_at = time.monotonic() + READY_TIMEOUT_S
    while not file.exists():
        if worker.process is not None and worker.process.poll() is not None:
            fail(
                f"worker could not start (it ended with code {worker.process.returncode}); see the lines above."
            )
        if time.monotonic() > give_up_at:
            fail(f"worker was not ready within {READY_TIMEOUT_S:.0f} s.")
        time.sleep(0.05)


# --- the run --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM has come."""
    came = False

    def note(_signal: int, _frame: Any) -> None:
        nonlocal came
        came = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, note)
    yield lambda: came


def main() -> None:
    # Settings make files in the data folder, so the folder is looked at before they are read.
    lock = check_folder(Path(os.environ.get("DE_DATA_DIR") or BASE_DIR / "var").resolve())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "de.settings")
    import django
    from django.conf import settings

    from de.celery import ready_file

    django.setup()
    check_port(settings.DE_HOST, settings.PORT, setting="PORT")
    check_port("127.0.0.1", settings.DE_SANDBOX_PORT, setting="DE_SANDBOX_PORT")
    with stop_requested() as is_stopping, contextlib.ExitStack() as stack:
        stack.enter_context(lock)
        environment = dict(os.environ) | {"PYTHONUNBUFFERED": "1"}
        stack.enter_context(_redis(settings, environment))
        _set_up(settings, is_stopping)
        running = children(environment, data_dir=settings.DE_DATA_DIR, sandbox_port=settings.DE_SANDBOX_PORT)
        ready_file(settings.DE_DATA_DIR).unlink(missing_ok=True)
        for child in running:
            stack.callback(child.stop)
            child.start()
        sandbox, worker, web = running[0], running[1], running[-1]
        base_url = f"http://{_reachable(settings.DE_HOST)}:{settings.PORT}"
        wait_for(f"http://127.0.0.1:{settings.DE_SANDBOX_PORT}/health", sandbox)
        wait_for(f"{base_url}/health", web)
        wait_for_worker(ready_file(settings.DE_DATA_DIR), worker)
        _announce(base_url)
        while not is_stopping():
            time.sleep(0.2)
            for child in running:
                child.watch()
        print("Stopping.", flush=True)


@contextlib.contextmanager
def _redis(settings: Any, environment: dict[str, str]) -> Iterator[None]:
    from de.valkey import valkey_running, valkey_wait

    if os.environ.get("DE_REDIS_URL"):
        try:
            valkey_wait(settings.DE_REDIS_URL)
        except RuntimeError as exc:
            fail(f"{exc} Check DE_REDIS_URL, or unset it to use the embedded server.")
        yield
        return
    with valkey_running(settings.DE_DATA_DIR):
        yield


def _set_up(settings: Any, is_stopping: Callable[[], bool]) -> None:
    """Migrations, seeds, static files, the first user and keys. Quick when there is nothing to do."""
    from django.core.management import call_command
    from django.db import DatabaseError, connection

    try:
        call_command("migrate", verbosity=0, interactive=False)
        call_command("seed_model_configs", verbosity=0, stdout=io.StringIO())
    except DatabaseError as exc:
        fail(f"The database can't be used: {str(exc).strip()}. Check DATABASE_URL.")
    _collect_static(settings)
    connection.close()
    if is_stopping():
        raise SystemExit(0)


def _collect_static(settings: Any) -> None:
    """Only when something changed: compressing all of it takes seconds."""
    from django.core.management import call_command

    stamp = settings.DE_DATA_DIR / "static.stamp"
    newest = max((entry.stat().st_mtime for entry in (BASE_DIR / "static").rglob("*")), default=0.0)
    state = f"{newest} {(BASE_DIR / 'requirements.txt').read_text()}"
    if stamp.exists() and stamp.read_text() == state and settings.STATIC_ROOT.exists():
        return
    call_command("collectstatic", verbosity=0, interactive=False)
    stamp.write_text(state)


def _announce(base_url: str) -> None:
    from django.db import connection

    from apps.accounts.first_run import credentials_ensure

    credentials = credentials_ensure(base_url=base_url)
    connection.close()
    lines = [f"Ready: {base_url}"]
    if credentials.is_password_current:
        lines.append(f"Admin:    {base_url}/admin/  {credentials.admin_user}  {credentials.admin_password}")
    else:
        lines.append(f"Admin:    {base_url}/admin/  {credentials.admin_user}  (the password you set)")
    lines += [f"Live key: {credentials.live_key}", f"Test key: {credentials.test_key}"]
    print("\n".join(lines), flush=True)


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host


if __name__ == "__main__":
    main()
