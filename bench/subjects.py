"""What is measured: the mock called directly, the floor, the gateway. Each is one web process on loopback."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import names
from bench.load import LoadSpec
from bench.procs import Fleet, NotReady, Process, free_port, wait_http

ROOT = Path(__file__).resolve().parent.parent
MOCK, FLOOR, GATEWAY = "mock", "floor", "gateway"


@dataclass(kw_only=True)
class Subject:
    """A server under load. watch: its own process under its own name, helpers under theirs."""

    name: str
    port: int
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = field(default_factory=dict)
    watch: dict[str, list[int]] = field(default_factory=dict)
    model_prefix: str = ""  # in front of the mock's model name
    has_own_body: bool = False  # speaks the gateway's own API, not OpenAI's
    database: Path | None = None
    rows_before: int = 0  # in its ledger, when it started
    sent: int = 0  # by us so far

    def load(self, shape: str = "", **options: object) -> LoadSpec:
        """A load of plain calls, or of streams of a shape ("100x20")."""
        options.setdefault("bodies", [self.body(shape)])
        return LoadSpec(
            port=self.port,
            path=f"{self.path}/stream" if shape and self.has_own_body else self.path,
            headers=self.headers,
            stream_events=int(shape.partition("x")[0]) if shape else 0,
            watch=self.watch,
            **options,  # type: ignore[arg-type]
        )

    def body(self, shape: str = "", *, model_id: str = "") -> str:
        if self.has_own_body:
            return json.dumps(
                {"prompt": names.PROMPT, "model_id": model_id or names.model_id(shape or "plain")}
            )
        model = self.model_prefix + (f"mock-{shape}" if shape else "mock-model")
        body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": names.PROMPT}]}
        if shape:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(body)

    def ledger_rows(self) -> int:
        """How many of our calls the gateway has on record."""
        if self.database is None:
            return 0
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            query = "SELECT count(*) FROM usage_ledgerentry WHERE id > ?"
            return int(connection.execute(query, (self.rows_before,)).fetchone()[0])
        finally:
            connection.close()


def start_mock(fleet: Fleet) -> Subject:
    port = free_port()
    process = fleet.start(MOCK, [sys.executable, "-m", "bench.mock_upstream", "--port", str(port)], cwd=ROOT)
    wait_http(process, f"http://127.0.0.1:{port}/health")
    return Subject(name=MOCK, port=port, watch={MOCK: [process.pid]})


def start_floor(fleet: Fleet, mock: Subject) -> Subject:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "bench.floor:application",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    command += ["--backlog", "4096"]
    process = fleet.start(FLOOR, command, env=environment(BENCH_UPSTREAM=origin(mock)), cwd=ROOT)
    wait_http(process, f"http://127.0.0.1:{port}/health")
    return Subject(name=FLOOR, port=port, watch={FLOOR: [process.pid], MOCK: mock.watch[MOCK]})


def gateway_command() -> list[str]:
    """How the gateway's one web process starts; its port is PORT in the environment."""
    return [sys.executable, "-m", "de.server"]


def start_gateway(
    fleet: Fleet,
    mock: Subject,
    *,
    label: str = GATEWAY,
    configs: int = 10,
    keys: int = 10,
    rows: int = 0,
    template: Path | None = None,
) -> Subject:
    """A gateway on a database and a Valkey of its own. template: a migrated database to start from."""
    data_dir = fleet.folder / label
    data_dir.mkdir()
    port = free_port()
    env = gateway_environment(data_dir, port)
    if template is None:
        _manage(env, "migrate", "--verbosity", "0")
        _manage(env, "seed_model_configs", "--verbosity", "0")
    else:
        shutil.copy(template, data_dir / "de.sqlite3")
    sizes = ["--configs", str(configs), "--keys", str(keys), "--rows", str(rows)]
    _run([sys.executable, "-m", "bench.prepare", "--upstream", origin(mock), *sizes], env)
    os.sync()  # or the disk would still be busy with the filling while we measure commits
    valkey = _start_valkey(fleet, data_dir, label)
    process = fleet.start(label, gateway_command(), env=env, cwd=ROOT)
    wait_http(process, f"http://127.0.0.1:{port}/health")
    return Subject(
        name=label,
        port=port,
        path="/text/generate",
        headers={"authorization": f"Bearer {names.api_key(0)}"},
        watch={label: [process.pid], "valkey": [valkey.pid], MOCK: mock.watch[MOCK]},
        has_own_body=True,
        database=data_dir / "de.sqlite3",
        rows_before=rows,
    )


def make_template(fleet: Fleet) -> Path:
    """A migrated and seeded database to copy: quicker than migrating again for each gateway."""
    folder = fleet.folder / "template"
    folder.mkdir()
    env = gateway_environment(folder, free_port())
    _manage(env, "migrate", "--verbosity", "0")
    _manage(env, "seed_model_configs", "--verbosity", "0")
    connection = sqlite3.connect(folder / "de.sqlite3")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return folder / "de.sqlite3"


def gateway_environment(data_dir: Path, port: int) -> dict[str, str]:
    return environment(
        DJANGO_SETTINGS_MODULE="de.settings",
        DE_DATA_DIR=str(data_dir),
        DE_HOST="127.0.0.1",
        PORT=str(port),
        DE_REDIS_URL=f"unix://{data_dir / 'valkey.sock'}",
        DE_ALLOW_PRIVATE_NETWORKS="1",
        DE_KEY_RPM="100000000",
        DE_LOG_LEVEL="WARNING",
    )


def environment(**values: str) -> dict[str, str]:
    """Ours, less what would change what is measured: the platform's own settings and any proxy."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DE_")
        and not name.lower().endswith("_proxy")
        and name not in ("DATABASE_URL", "PORT", "WEB_CONCURRENCY")
    }
    return kept | values


def origin(mock: Subject) -> str:
    return f"http://127.0.0.1:{mock.port}"


def _start_valkey(fleet: Fleet, data_dir: Path, label: str) -> Process:
    from de.valkey import valkey_command

    process = fleet.start(f"{label}-valkey", valkey_command(data_dir))
    give_up_at = time.monotonic() + 15
    while not (data_dir / "valkey.sock").exists():
        if process.popen.poll() is not None or time.monotonic() > give_up_at:
            raise NotReady(f"The embedded Valkey did not start; see {process.log}.")
        time.sleep(0.02)
    return process


def _manage(env: dict[str, str], *arguments: str) -> None:
    _run([sys.executable, "manage.py", *arguments], env)


def _run(command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, timeout=900)
    if done.returncode != 0:
        raise NotReady(f"{' '.join(command[1:4])} failed: {done.stderr.decode(errors='replace')[-1500:]}")
