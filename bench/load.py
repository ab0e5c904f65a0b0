"""The load generator: closed-loop clients on keep-alive connections, raw asyncio, in a process of its own.

`run_load(spec)` starts that process, hands it the spec as JSON and returns what it measured. Each client sends its
next request when the last one is answered. Latency runs from the request's first byte to the answer's last; "first"
to the first byte of the body. CPU is read from /proc right before the first measured request and right after the
last, so warm-up, connecting and starting the process are not in it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import uvloop

from bench import procs
from bench.client import Client

GRACE_S = 60.0  # for the requests still going when the time is up


@dataclass(kw_only=True)
class LoadSpec:
    """What to send. Either `seconds` of load, or `per_client` requests by each client."""

    port: int
    path: str
    bodies: list[str]  # taken in turn
    headers: dict[str, str] = field(default_factory=dict)
    keys: list[str] = field(
        default_factory=list
    )  # bearer keys taken in turn, instead of headers' authorization
    clients: int = 16
    seconds: float = 0.0
    per_client: int = 0
    warmup_s: float = 0.0
    warmup_requests: int = 0  # in all; with `keys`, to call each once
    ramp_s: float = 0.0  # clients start spread over this time
    stream_events: int = 0  # a stream must carry at least this many `data:` lines, and an ending
    watch: dict[str, list[int]] = field(default_factory=dict)  # name -> pids whose CPU and memory to report


@dataclass(kw_only=True)
class LoadResult:
    requests: int
    errors: int
    seconds: float
    rps: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    first_p99_ms: float
    cpu_ms: dict[str, float]  # per answered request, by name of LoadSpec.watch
    peak_mb: dict[str, float]
    load_busy: float  # share of one core this generator used: near 1 it would be the bottleneck
    others_busy: float  # cores that processes outside the benchmark used meanwhile: the noise
    error_samples: list[str]
    sent: int  # all of it, warm-up included


def run_load(spec: LoadSpec) -> LoadResult:
    """Measure in a child process. Raises RuntimeError when it fails as a whole."""
    timeout_s = spec.seconds + spec.warmup_s + spec.ramp_s + 3 * GRACE_S
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(spec)).encode(),
        capture_output=True,
        timeout=timeout_s,
    )
    if done.returncode != 0:
        raise RuntimeError(f"The load generator failed: {done.stderr.decode(errors='replace')[-2000:]}")
    return LoadResult(**json.loads(done.stdout))


class Load:
    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        headers = {"host": f"127.0.0.1:{spec.port}", "content-type": "application/json", **spec.headers}
        if spec.keys:
            headers.pop("authorization", None)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._head = f"POST {spec.path} HTTP/1.1\r\n{lines}".encode()
        bodies = [body.encode() for body in spec.bodies]
        self._ends = [b"content-length: %d\r\n\r\n%b" % (len(body), body) for body in bodies]
        self._keys = [f"authorization: Bearer {key}\r\n".encode() for key in spec.keys] or [b""]
        self.stream_events = spec.stream_events
        self.sent = 0
        self.clients = [Client(self) for _ in range(spec.clients)]
        self._begin_phase()

    def _begin_phase(self, *, seconds: float = 0.0, limit: int = 0) -> None:
        self.total_ms: list[float] = []
        self.first_ms: list[float] = []
        self.errors = 0
        self.error_samples: list[str] = []
        self.deadline = time.perf_counter() + seconds if seconds else 0.0
        self.limit = limit  # requests in all; 0: none
        self.started = 0
        self.active = 0
        self.idle = asyncio.Event()

    def next_request(self) -> bytes:
        self.sent += 1
        key = self._keys[self.sent % len(self._keys)]
        return self._head + key + self._ends[self.sent % len(self._ends)]

    async def connect(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: client, "127.0.0.1", self.spec.port)

    async def run(self) -> LoadResult:
        spec = self.spec
        for at in range(0, len(self.clients), 50):
            await asyncio.gather(*(self.connect(client) for client in self.clients[at : at + 50]))
        if spec.warmup_s or spec.warmup_requests:
            await self._phase(seconds=spec.warmup_s, limit=spec.warmup_requests)
        watched = {
            name: [pid for root in pids for pid in procs.tree(root)] for name, pids in spec.watch.items()
        }
        for pids in watched.values():
            procs.peak_reset(pids)
        gc.collect()
        gc.freeze()
        machine_before, own_before = procs.machine_busy_seconds(), time.process_time()
        before = {name: procs.cpu_seconds(pids) for name, pids in watched.items()}
        started = time.perf_counter()
        await self._phase(seconds=spec.seconds, per_client=spec.per_client, ramp_s=spec.ramp_s)
        elapsed = time.perf_counter() - started
        cpu = {name: procs.cpu_seconds(pids) - before[name] for name, pids in watched.items()}
        own = time.process_time() - own_before
        others = procs.machine_busy_seconds() - machine_before - own - sum(cpu.values())
        answered = max(1, len(self.total_ms))
        return LoadResult(
            requests=len(self.total_ms),
            errors=self.errors,
            seconds=round(elapsed, 3),
            rps=round(len(self.total_ms) / elapsed, 1),
            p50_ms=percentile(self.total_ms, 0.50),
            p99_ms=percentile(self.total_ms, 0.99),
            first_p50_ms=percentile(self.first_ms, 0.50),
            first_p99_ms=percentile(self.first_ms, 0.99),
            cpu_ms={name: seconds * 1000 / answered for name, seconds in cpu.items()},
            peak_mb={name: round(procs.peak_mb(pids), 1) for name, pids in watched.items()},
            load_busy=round(own / elapsed, 3),
            others_busy=round(max(0.0, others / elapsed), 2),
            error_samples=self.error_samples,
            sent=self.sent,
        )

    async def _phase(
        self, *, seconds: float = 0.0, limit: int = 0, per_client: int = 0, ramp_s: float = 0.0
    ) -> None:
        self._begin_phase(seconds=seconds, limit=limit)
        pick = random.Random(7)
        self.active = len(self.clients)
        loop = asyncio.get_running_loop()
        for number, client in enumerate(self.clients):
            client.left = per_client
            delay_s = ramp_s * (number + pick.random()) / len(self.clients)
            loop.call_later(delay_s, self._go_on, client) if ramp_s else self._go_on(client)
        longest_s = seconds + ramp_s + GRACE_S
        try:
            await asyncio.wait_for(self.idle.wait(), longest_s)
        except TimeoutError:
            self.errors += self.active
            self.error_samples.append(f"{self.active} requests had no answer after {longest_s:.0f} s")

    def _go_on(self, client: Client) -> None:
        """The client's next request, or its end."""
        self.started += 1
        if (self.deadline and time.perf_counter() >= self.deadline) or (
            self.limit and self.started > self.limit
        ):
            self._retire()
        elif client.transport is None or client.closes:
            task = asyncio.get_running_loop().create_task(self._reconnect(client))
            client.task = task  # type: ignore[attr-defined]  # the loop alone would not keep it
        else:
            client.send()

    async def _reconnect(self, client: Client) -> None:
        if client.transport is not None:
            client.transport.abort()
        client.closes = False
        try:
            await self.connect(client)
        except OSError as exc:
            client.sent_at = time.perf_counter()
            await asyncio.sleep(0.1)
            self.finished(client, f"can't connect: {exc}", time.perf_counter())
        else:
            client.send()

    def finished(self, client: Client, error: str, now: float) -> None:
        if error:
            self.errors += 1
            if len(self.error_samples) < 5:
                self.error_samples.append(error)
        else:
            self.total_ms.append((now - client.sent_at) * 1000)
            self.first_ms.append((client.first_at - client.sent_at) * 1000)
        if client.left:
            client.left -= 1
            if not client.left:
                self._retire()
                return
        self._go_on(client)

    def _retire(self) -> None:
        self.active -= 1
        if self.active == 0:
            self.idle.set()


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; 0 of nothing."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return round(ranked[min(len(ranked) - 1, int(share * len(ranked)))], 3)


def main() -> None:
    spec: dict[str, Any] = json.load(sys.stdin)
    procs.raise_file_limit()

    async def measure() -> LoadResult:
        return await Load(LoadSpec(**spec)).run()

    json.dump(asdict(uvloop.run(measure())), sys.stdout)


if __name__ == "__main__":
    main()
