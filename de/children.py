"""Processes of ours: started so that they can't outlive us, watched, started again, stopped."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

BASE_DIR = Path(__file__).resolve().parent.parent
STOP_TIMEOUT_S = 25.0
MAX_RESTART_PAUSE_S = 30.0
# A process that lived this long did not die of its start: the next pause is short again.
SETTLED_S = 60.0
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """For `preexec_fn`. On Linux: should the parent be killed outright, the kernel stops the child."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    """One process, kept running until told to stop."""

    name: str
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started_at: float = 0.0
    restart_at: float = 0.0

    def start(self) -> None:
        self.started_at = time.monotonic()
        self.restart_at = 0.0
        self.process = subprocess.Popen(
            self.command,
            cwd=BASE_DIR,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            # A session of its own, so that Ctrl-C reaches us alone and we decide the order of stopping.
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    def watch(self) -> None:
        """Start it again if it has died, waiting longer each time it dies young."""
        if self.process is None or self.process.poll() is None:
            return
        now = time.monotonic()
        if not self.restart_at:
            self.failures = 1 if now - self.started_at > SETTLED_S else self.failures + 1
            pause_s = min(MAX_RESTART_PAUSE_S, 0.25 * 2 ** (self.failures - 1))
            self.restart_at = now + pause_s
            code = self.process.returncode
            log.warning("process_died", name=self.name, code=code)
        if now >= self.restart_at:
            self.start()

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
