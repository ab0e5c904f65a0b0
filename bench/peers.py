"""`make bench-peers`: other gateways, as published, against the same mock and in the same table.

python -m bench.peers [--quick] [--only litellm,portkey] [--fresh] [--json PATH]

Each is installed into a folder of its own below bench/peers/ (by pip and npm, with whatever indexes those are set up
to use) and runs as one process on loopback. What can't be installed or started gets a row that says why.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench import report, scenarios
from bench.procs import Fleet, NotReady, free_port, wait_http
from bench.scenarios import FULL, QUICK, Outcome, Row
from bench.subjects import Subject, environment, origin, start_floor, start_gateway, start_mock

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "peers"
INSTALL_TIMEOUT_S = 1200

PORTKEY_PACKAGE = "@portkey-ai/gateway"
# Since 1.14.3 this part of it hands out response headers that can't be written to, and Portkey's gateway then answers
# every stream with a 500 (issue 1389 of Portkey-AI/gateway, open). 1.13.5 is the version that project builds with.
PORTKEY_OVERRIDES = {"@hono/node-server": "1.13.5"}


def litellm_install() -> str:
    folder = FOLDER / "litellm"
    if not (folder / "bin" / "litellm").exists():
        _install([sys.executable, "-m", "venv", str(folder)])
        _install([str(folder / "bin" / "pip"), "install", "--quiet", "litellm[proxy]"])
    code = "from importlib.metadata import version; print(version('litellm'))"
    return subprocess.check_output([str(folder / "bin" / "python"), "-c", code], text=True).strip()


def litellm_start(fleet: Fleet, mock: Subject) -> Subject:
    """One worker, no database: a master key is checked, nothing is recorded."""
    port, key = free_port(), f"sk-{secrets.token_hex(32)}"
    config = fleet.folder / "litellm.json"  # JSON is YAML too
    route = {"model": "openai/*", "api_base": f"{origin(mock)}/v1", "api_key": "sk-bench"}
    config.write_text(json.dumps({"model_list": [{"model_name": "*", "litellm_params": route}]}))
    bin_folder = FOLDER / "litellm" / "bin"
    command = [
        str(bin_folder / "litellm"),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    env = environment(
        LITELLM_MASTER_KEY=key,
        LITELLM_LOCAL_MODEL_COST_MAP="True",  # else it fetches its price list when it starts
        LITELLM_LOG="ERROR",
        PATH=f"{bin_folder}{os.pathsep}{os.environ.get('PATH', '')}",
    )
    process = fleet.start(
        "litellm", [*command, "--num_workers", "1", "--telemetry", "False"], env=env, cwd=FOLDER
    )
    wait_http(process, f"http://127.0.0.1:{port}/health/liveliness", timeout_s=120)
    watch = {"litellm": [process.pid], "mock": mock.watch["mock"]}
    return Subject(name="litellm", port=port, headers={"authorization": f"Bearer {key}"}, watch=watch)


def portkey_install() -> str:
    folder = FOLDER / "portkey"
    installed = folder / "node_modules" / PORTKEY_PACKAGE / "package.json"
    if not installed.exists():
        if shutil.which("npm") is None:
            raise NotReady("npm is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {"name": "peer", "private": True, "overrides": PORTKEY_OVERRIDES}
        (folder / "package.json").write_text(json.dumps(manifest))
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund"]
        _install(["npm", "install", *quiet, PORTKEY_PACKAGE], cwd=folder)
    return str(json.loads(installed.read_text())["version"])


def portkey_start(fleet: Fleet, mock: Subject) -> Subject:
    """No key is checked and nothing is recorded: the open gateway has neither."""
    port = free_port()
    server = FOLDER / "portkey" / "node_modules" / PORTKEY_PACKAGE / "build" / "start-server.js"
    command = ["node", "--require", str(HERE / "loopback.cjs"), str(server), f"--port={port}", "--headless"]
    process = fleet.start("portkey", command, env=environment(NODE_ENV="production"), cwd=FOLDER / "portkey")
    wait_http(process, f"http://127.0.0.1:{port}/", timeout_s=60)
    headers = {
        "authorization": "Bearer sk-bench",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"{origin(mock)}/v1",
    }
    watch = {"portkey": [process.pid], "mock": mock.watch["mock"]}
    return Subject(name="portkey", port=port, headers=headers, watch=watch)


PEERS: dict[str, tuple[Callable[[], str], Callable[[Fleet, Subject], Subject]]] = {
    "litellm": (litellm_install, litellm_start),
    "portkey": (portkey_install, portkey_start),
}


def _install(command: Sequence[str], *, cwd: Path | None = None) -> None:
    scenarios.say(f"installing: {' '.join(command[-2:])}")
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired as exc:
        raise NotReady(f"the installation took longer than {INSTALL_TIMEOUT_S} s") from exc
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise NotReady(f"the installation failed: {lines[-1] if lines else 'no message'}")


def main() -> int:
    options = _options()
    effort = QUICK if options.quick else FULL
    found = report.versions()
    outcome = Outcome([], [])
    with tempfile.TemporaryDirectory(prefix="de-bench-") as folder, Fleet(Path(folder)) as fleet:
        mock = start_mock(fleet)
        subjects = [start_floor(fleet, mock)]
        missing: dict[str, str] = {}
        _try("gateway", missing, lambda: subjects.append(start_gateway(fleet, mock)))
        for name in options.only:
            if options.fresh:
                shutil.rmtree(FOLDER / name, ignore_errors=True)
            _try(name, missing, partial(_bring_up, name, fleet, mock, subjects, found))
        try:
            for measure in (scenarios.plain_turns, scenarios.paced_turns):
                part = measure(subjects, effort)
                test, clients = part.rows[0].test, part.rows[0].clients
                outcome.rows += part.rows + [
                    Row(test, n, clients, None, note=why) for n, why in missing.items()
                ]
                outcome.checks += part.checks
        except KeyboardInterrupt:
            scenarios.say("Stopped; what was measured until now:")
    report.show(outcome)
    path = report.save(outcome, options.json, versions=found, is_quick=options.quick)
    print(f"\n{', '.join(f'{name} {found[name]}' for name in PEERS if name in found)}. Written to {path}")
    return 0


def _bring_up(name: str, fleet: Fleet, mock: Subject, subjects: list[Subject], found: dict[str, str]) -> None:
    install, start = PEERS[name]
    found[name] = install()
    subjects.append(start(fleet, mock))


def _try(name: str, missing: dict[str, str], step: Callable[[], object]) -> None:
    try:
        step()
    except (NotReady, OSError, subprocess.SubprocessError) as exc:
        missing[name] = " ".join(str(exc).split())[:160]
        scenarios.say(f"{name} can't be measured: {exc}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(PEERS), help="which peers")
    parser.add_argument("--fresh", action="store_true", help="install the newest published versions again")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.only = [name for name in options.only.split(",") if name]
    if unknown := set(options.only) - set(PEERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(PEERS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
