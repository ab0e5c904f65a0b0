"""`make bench`: the gateway beside the floor and a direct call. See bench/README.md.

python -m bench.run [--quick] [--only matrix,plain,paced,crowd,flat] [--subjects mock,floor,gateway] [--json PATH]
With --peers it is bench.peers instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import report, scenarios
from bench.procs import Fleet, NotReady
from bench.scenarios import FULL, QUICK, Effort, Growth, Outcome
from bench.subjects import (
    FLOOR,
    GATEWAY,
    MOCK,
    Subject,
    make_template,
    start_floor,
    start_gateway,
    start_mock,
)

TESTS = ("matrix", "plain", "paced", "crowd", "flat")
MANY_CONFIGS, MANY_KEYS, MANY_ROWS = 10_000, 100_000, 5_000_000


def main() -> int:
    if "--peers" in sys.argv:
        from bench import peers

        sys.argv.remove("--peers")
        return peers.main()
    options = _options()
    if not Path("/proc/self/stat").exists():
        print("The benchmark reads CPU times from /proc, so it runs on Linux only.", file=sys.stderr)
        return 1
    effort = QUICK if options.quick else FULL
    outcome = Outcome([], [])
    interrupted = False
    with tempfile.TemporaryDirectory(prefix="de-bench-") as folder, Fleet(Path(folder)) as fleet:
        try:
            measure_all(fleet, outcome, effort, tests=options.only, subjects=options.subjects)
        except NotReady as exc:
            print(f"Stopped: {exc}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("Stopped; what was measured until now:", file=sys.stderr)
            interrupted = True
    if not outcome.rows:
        return 130
    outcome.rows = report.with_ratios(outcome.rows)
    report.show(outcome)
    path = report.save(outcome, options.json, versions=report.versions(), is_quick=options.quick)
    print(f"\nWritten to {path}")
    if interrupted:
        return 130
    return 1 if options.check and not all(check.is_met for check in outcome.checks) else 0


def measure_all(
    fleet: Fleet, outcome: Outcome, effort: Effort, *, tests: Sequence[str], subjects: Sequence[str]
) -> None:
    """Add to `outcome` as results come in, so that an interrupted run still has something to show."""
    mock = start_mock(fleet)
    running: list[Subject] = []
    if FLOOR in subjects:
        running.append(start_floor(fleet, mock))
    if GATEWAY in subjects and set(tests) - {"flat"}:
        running.append(start_gateway(fleet, mock))
    everyone = [mock, *running] if MOCK in subjects else running
    steps: dict[str, Callable[[], Outcome]] = {
        "matrix": lambda: scenarios.matrix(everyone, effort),
        "plain": lambda: scenarios.plain_turns(running, effort),
        "paced": lambda: scenarios.paced_turns(running, effort),
        # The quick run leaves the floor's out: it takes 16 s and has no target.
        "crowd": lambda: scenarios.crowd(running[-1:] if effort is QUICK else running, effort),
    }
    for name, step in steps.items():
        if name in tests and running:
            _add(outcome, step())
    outcome.checks += scenarios.recorded(running)
    if "flat" in tests and GATEWAY in subjects:
        measure_flat(fleet, mock, outcome, effort)


def measure_flat(fleet: Fleet, mock: Subject, outcome: Outcome, effort: Effort) -> None:
    """Each grown gateway beside a small one; one at a time, for the sake of memory and disk."""
    template = make_template(fleet)
    small = start_gateway(fleet, mock, label="gateway-small", template=template)
    sizes = (
        ("10,000 model configs", {"configs": MANY_CONFIGS}),
        ("100,000 API keys", {"keys": MANY_KEYS}),
        ("5,000,000 ledger rows", {"rows": MANY_ROWS}),
    )
    for name, more in sizes:
        scenarios.say(f"filling in {name}")
        label = f"gateway-{next(iter(more))}"
        subject = start_gateway(fleet, mock, label=label, template=template, **more)
        growth = Growth(name, subject, models=more.get("configs", 10), keys=more.get("keys", 10))
        _add(outcome, scenarios.flat(small, growth, effort))
        if growth.keys > scenarios.IN_USE:
            _add(outcome, scenarios.cold_keys(growth, effort))
        outcome.checks += scenarios.recorded([subject])


def _add(outcome: Outcome, more: Outcome) -> None:
    outcome.rows += more.rows
    outcome.checks += more.checks


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="shorter measurements, under two minutes")
    parser.add_argument("--only", default="", help=f"some of {','.join(TESTS)}")
    parser.add_argument("--subjects", default=f"{MOCK},{FLOOR},{GATEWAY}", help="some of these")
    parser.add_argument("--json", type=Path, help="where to write the results (bench/results/<date>.json)")
    parser.add_argument("--check", action="store_true", help="end with code 1 when a target is missed")
    options = parser.parse_args()
    options.only = _names(parser, options.only, TESTS) or [
        test for test in TESTS if not (options.quick and test == "flat")
    ]
    options.subjects = _names(parser, options.subjects, (MOCK, FLOOR, GATEWAY))
    return options


def _names(parser: argparse.ArgumentParser, text: str, known: Sequence[str]) -> list[str]:
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := set(chosen) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
