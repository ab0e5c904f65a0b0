"""Processes we start and watch: start, wait until ready, read their cost from /proc, and end each by its id."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
_CPUCLOCK_SCHED = 2
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback, whatever proxy is set


class NotReady(RuntimeError):
    """A process ended, or stayed silent, before it could be measured."""


@dataclass(frozen=True)
class Process:
    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid


class Fleet:
    """Every process of one run, ended in reverse order when the block is left: normally, by an error or by Ctrl-C."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[Process] = []

    def __enter__(self) -> Fleet:
        raise_file_limit()
        # All end like Ctrl-C does, with the same clean-up. A shell ignores Ctrl-C itself in its background jobs.
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sign, signal.default_int_handler)
        return self

    def __exit__(self, *_: object) -> None:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sign, signal.SIG_IGN)  # a second Ctrl-C must not leave some behind
        for process in reversed(self._running):
            stop(process)
        self._running.clear()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                command,
                env=dict(os.environ if env is None else env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C reaches us alone, and we end them in order
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        process = Process(name, popen, log)
        self._running.append(process)
        return process

    def stop(self, process: Process) -> None:
        stop(process)
        self._running.remove(process)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def stop(process: Process, *, grace_s: float = 5.0) -> None:
    """End the process and whatever it started: its session is ours alone, and so is its process group."""
    for sign, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.popen.wait(timeout=wait_s)
            if sign == signal.SIGTERM:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)  # children that outlived it
            return


def wait_http(process: Process, url: str, *, timeout_s: float = 30.0) -> None:
    """Return when `url` gives any HTTP answer. Raises NotReady with the end of the process's log."""
    give_up_at = time.monotonic() + timeout_s
    while time.monotonic() < give_up_at:
        try:
            _direct.open(url, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            pass
        if process.popen.poll() is not None:
            raise NotReady(f"{process.name} ended with code {process.popen.returncode}: {log_tail(process)}")
        time.sleep(0.05)
    raise NotReady(f"{process.name} gave no answer within {timeout_s:.0f} s: {log_tail(process)}")


def log_tail(process: Process, *, lines: int = 15) -> str:
    return "\n".join(process.log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def raise_file_limit(wanted: int = 16_384) -> None:
    """1,000 streams hold 2,000 sockets; children inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


# --- What a process costs, from /proc ---


def tree(pid: int) -> Iterator[int]:
    """The process and all below it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            below = children.read_text().split()
        except OSError:
            continue
        for child in below:
            yield from tree(int(child))


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time used so far by the processes and all their threads, ended ones too."""
    return sum(_cpu_seconds(pid) for pid in pids)


def _cpu_seconds(pid: int) -> float:
    try:
        # The sum of utime and stime of /proc/PID/stat, in nanoseconds instead of ticks of 10 ms: another process's
        # clock, whose id the C library makes of its pid like this.
        return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        pass
    with contextlib.suppress(OSError):
        # Fields after the name, which may hold spaces: state is the first, utime and stime are these.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return 0.0


def machine_busy_seconds() -> float:
    """CPU time the whole machine has spent on anything since it started."""
    user, nice, system, _idle, _iowait, *more = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(int(ticks) for ticks in (user, nice, system, *more)) / _TICKS_PER_S


def peak_reset(pids: Iterable[int]) -> None:
    """Let the peak start again from what is held now; where the kernel refuses, it stays the peak since the start."""
    for pid in pids:
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mb(pids: Iterable[int]) -> float:
    """The sum of the processes' peak resident sizes (VmHWM)."""
    total_kb = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total_kb += int(line.split()[1])
    return total_kb / 1024
