"""The measurements themselves. Each returns rows for the table and the checks against the targets."""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench import names
from bench.load import LoadResult, run_load
from bench.subjects import Subject

PLAIN, STREAM = "plain call", "stream 100 chunks"
PACED = "stream 100 x 20 ms"
CROWD, CROWD_BURST = "1,000 streams of 10 s", "1,000 streams, one instant"


@dataclass(frozen=True)
class Effort:
    """How long to measure. The targets are judged on rounds in which the subjects take turns."""

    matrix_s: float
    plain_rounds: int
    plain_s: float
    paced_rounds: int
    paced_per_client: int
    crowd_bursts: bool
    flat_rounds: int
    flat_s: float


QUICK = Effort(
    matrix_s=1.0,
    plain_rounds=3,
    plain_s=2.0,
    paced_rounds=2,
    paced_per_client=2,
    crowd_bursts=False,
    flat_rounds=3,
    flat_s=2.0,
)
FULL = Effort(
    matrix_s=3.0,
    plain_rounds=9,
    plain_s=3.0,
    paced_rounds=5,
    paced_per_client=3,
    crowd_bursts=True,
    flat_rounds=15,
    flat_s=1.5,
)


@dataclass(frozen=True)
class Row:
    test: str
    subject: str
    clients: int
    result: LoadResult | None  # None: it could not be measured, see note
    ratio: float | None = None  # CPU per request to that of the floor (or of `to`)
    note: str = ""

    @property
    def cpu_ms(self) -> float:
        return self.result.cpu_ms.get(self.subject, 0.0) if self.result else 0.0


@dataclass(frozen=True)
class Check:
    name: str
    value: str
    target: str
    is_met: bool


@dataclass
class Outcome:
    rows: list[Row]
    checks: list[Check]


def measure(subject: Subject, shape: str = "", **options: Any) -> LoadResult:
    result = run_load(subject.load(shape, **options))
    subject.sent += result.sent
    print(
        f"  {subject.name}: {result.rps:.0f} req/s, {result.cpu_ms.get(subject.name, 0):.3f} ms CPU/request,"
        f" {result.errors} errors",
        file=sys.stderr,
        flush=True,
    )
    for sample in result.error_samples[:2]:
        print(f"    {sample}", file=sys.stderr)
    return result


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def matrix(subjects: Sequence[Subject], effort: Effort) -> Outcome:
    """Plain and streamed at 1, 16 and 64 clients: throughput and latency."""
    rows = []
    for test, shape in ((PLAIN, ""), (STREAM, names.FAST_STREAM)):
        for clients in (1, 16, 64):
            say(f"{test}, {clients} clients")
            for subject in subjects:
                result = measure(subject, shape, clients=clients, seconds=effort.matrix_s, warmup_s=0.3)
                rows.append(Row(test, subject.name, clients, result))
    return Outcome(rows, [])


def turns(
    test: str, subjects: Sequence[Subject], *, rounds: int, clients: int, shape: str = "", **options: Any
) -> list[Row]:
    """Measure the subjects in turn, round after round; ratios are taken within a round and their median counts.

    The first subject is what the others are compared with. Whatever else the machine does at the time hits both, and
    every second round runs backwards, so that a steady drift cancels too.
    """
    say(f"{test}, {clients} clients, {rounds} rounds")
    results: dict[str, list[LoadResult]] = {subject.name: [] for subject in subjects}
    for number in range(rounds):
        for subject in subjects if number % 2 == 0 else reversed(subjects):
            results[subject.name].append(measure(subject, shape, clients=clients, **options))
    base = subjects[0].name
    rows = []
    for subject in subjects:
        if not any(result.requests for result in results[subject.name]):
            why = next(
                (sample for result in results[subject.name] for sample in result.error_samples), "no answer"
            )
            rows.append(Row(test, subject.name, clients, None, note=why[:160]))
            continue
        own = [result.cpu_ms[subject.name] for result in results[subject.name]]
        reference = [result.cpu_ms[base] for result in results[base]]
        ratio = statistics.median(mine / other for mine, other in zip(own, reference, strict=True) if other)
        rows.append(Row(test, subject.name, clients, typical(results[subject.name], subject.name), ratio))
    return rows


def typical(results: Sequence[LoadResult], name: str) -> LoadResult:
    """The round whose CPU is the median one, with the errors of all rounds and the highest peak."""
    ranked = sorted(results, key=lambda result: result.cpu_ms[name])
    chosen = ranked[(len(ranked) - 1) // 2]
    peaks = {key: max(result.peak_mb[key] for result in results) for key in chosen.peak_mb}
    samples = [sample for result in results for sample in result.error_samples][:5]
    errors = sum(result.errors for result in results)
    return replace(chosen, errors=errors, error_samples=samples, peak_mb=peaks)


def plain_turns(subjects: Sequence[Subject], effort: Effort) -> Outcome:
    """Plain calls at 16 clients: gateway CPU at most 4 x F."""
    rows = turns(
        f"{PLAIN}, in turns",
        subjects,
        rounds=effort.plain_rounds,
        clients=16,
        seconds=effort.plain_s,
        warmup_s=0.5,
    )
    return Outcome(rows, ratio_checks("plain call, 16 clients: CPU / F", rows, target=4.0))


def paced_turns(subjects: Sequence[Subject], effort: Effort) -> Outcome:
    """Streams of 100 chunks paced 20 ms, 32 clients: gateway CPU at most 1.8 x F."""
    rows = turns(
        f"{PACED}, in turns",
        subjects,
        rounds=effort.paced_rounds,
        clients=32,
        shape=names.PACED_STREAM,
        per_client=effort.paced_per_client,
        # Clients start at odd moments: in step, their chunks would arrive, and be handled, all together.
        ramp_s=1.0,
        warmup_requests=32,
    )
    return Outcome(rows, ratio_checks("stream 100 x 20 ms, 32 clients: CPU / F", rows, target=1.8))


def ratio_checks(name: str, rows: Sequence[Row], *, target: float) -> list[Check]:
    return [
        Check(name, f"{row.ratio:.2f}", f"<= {target}", row.ratio <= target and not row.result.errors)
        for row in rows
        if row.subject.startswith("gateway") and row.ratio is not None and row.result is not None
    ]


def crowd(subjects: Sequence[Subject], effort: Effort) -> Outcome:
    """1,000 streams of 10 s at once through one process.

    Judged with clients arriving over 5 s (all of them together for the next 5). All in one instant is a row of its
    own: then the first byte of the last one waits for 999 openings on one core, which the floor shows as well.
    """
    arrivals = [(CROWD, 5.0)] + ([(CROWD_BURST, 0.0)] if effort.crowd_bursts else [])
    rows = []
    for test, ramp_s in arrivals:
        say(test)
        for subject in subjects:
            result = measure(
                subject, names.LONG_STREAM, clients=1000, per_client=1, ramp_s=ramp_s, warmup_requests=200
            )
            rows.append(Row(test, subject.name, 1000, result))
    checks = []
    for row in rows:
        if not row.subject.startswith("gateway") or row.result is None or row.test != CROWD:
            continue
        peak, first = row.result.peak_mb[row.subject], row.result.first_p99_ms
        checks += [
            Check(f"{CROWD}: errors", str(row.result.errors), "0", row.result.errors == 0),
            Check(f"{CROWD}: peak MB", f"{peak:.0f}", "<= 160", peak <= 160),
            Check(f"{CROWD}: first byte p99 ms", f"{first:.0f}", "< 500", first < 500),
        ]
    return Outcome(rows, checks)


@dataclass(frozen=True)
class Growth:
    """A gateway that holds more of one thing, and how requests are spread over it."""

    name: str
    subject: Subject
    models: int = 10
    keys: int = 10


# How many of the keys and models are in use at a time.
IN_USE = 1000


def flat(small: Subject, growth: Growth, effort: Effort) -> Outcome:
    """CPU per plain call with much in the database to that with little: within 10 %.

    Both sides are asked the same way: spread over every model and key there is, up to 1,000 of them.
    """
    sides = (Growth("", small), growth)
    results: dict[str, list[LoadResult]] = {side.subject.name: [] for side in sides}
    say(f"{growth.name}, {effort.flat_rounds} rounds")
    for number in range(effort.flat_rounds):
        for side in sides if number % 2 == 0 else sides[::-1]:
            # The first time, as often as needed to have met everything once.
            warmup = min(max(side.models, side.keys, 200), IN_USE) if number == 0 else 200
            result = measure(side.subject, warmup_requests=warmup, **_spread(side), seconds=effort.flat_s)
            results[side.subject.name].append(result)
    pairs = zip(results[growth.subject.name], results[small.name], strict=True)
    ratio = statistics.median(
        grown.cpu_ms[growth.subject.name] / plain.cpu_ms[small.name] for grown, plain in pairs
    )
    rows = [
        Row(
            growth.name,
            side.subject.name,
            16,
            typical(results[side.subject.name], side.subject.name),
            ratio=ratio if side is growth else 1.0,
            note="ratio to small",
        )
        for side in sides
    ]
    return Outcome(rows, [Check(f"{growth.name}: CPU / small", f"{ratio:.2f}", "<= 1.10", ratio <= 1.10)])


def cold_keys(growth: Growth, effort: Effort) -> Outcome:
    """Every request with a key this process has not seen: what reading a key from the database costs."""
    say("keys never seen before")
    pick = random.Random(7)
    numbers = pick.sample(range(IN_USE, growth.keys), growth.keys - IN_USE)
    result = measure(
        growth.subject, clients=16, seconds=min(2.0, effort.flat_s), keys=[names.api_key(n) for n in numbers]
    )
    return Outcome([Row("each key for the first time", growth.subject.name, 16, result)], [])


def _spread(side: Growth) -> dict[str, Any]:
    models, keys = min(side.models, IN_USE), min(side.keys, IN_USE)
    bodies = [side.subject.body(model_id=names.fill_model_id(number)) for number in range(models)]
    return {"clients": 16, "bodies": bodies, "keys": [names.api_key(number) for number in range(keys)]}


def recorded(subjects: Sequence[Subject]) -> list[Check]:
    """Answered means recorded: each call we made is a row in the ledger."""
    return [
        Check(
            f"{subject.name}: ledger rows of calls",
            f"{subject.ledger_rows()} of {subject.sent}",
            "all",
            subject.ledger_rows() == subject.sent,
        )
        for subject in subjects
        if subject.database is not None and subject.sent
    ]
