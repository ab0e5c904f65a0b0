"""One aligned table for people, one JSON file for machines."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.scenarios import Check, Outcome, Row
from bench.subjects import FLOOR, MOCK

RESULTS = Path(__file__).resolve().parent / "results"
_HEAD = (
    *("test", "clients", "subject", "req/s", "p50 ms", "p99 ms", "first p50", "first p99"),
    *("CPU ms/req", "ratio", "valkey ms", "peak MB", "errors", "others"),
)


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """Rows measured one after the other get their ratio from the floor's row of the same test."""
    floors = {(row.test, row.clients): row.cpu_ms for row in rows if row.subject == FLOOR}
    done = []
    for row in rows:
        floor = floors.get((row.test, row.clients), 0.0)
        ratio = row.cpu_ms / floor if floor and row.subject != MOCK and row.result else None
        done.append(row if row.ratio is not None else Row(**{**_fields(row), "ratio": ratio}))
    return done


def _fields(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def table(rows: Sequence[Row]) -> str:
    lines = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines if len(line) > 3) for column in range(len(_HEAD))]
    text, last = [], ("", 0)
    for number, cells in enumerate(lines):
        row = rows[number - 1] if number else None
        if row is not None and (row.test, row.clients) != last:
            text.append("")
            last = (row.test, row.clients)
        padded = [
            cell.ljust(width) if column in (0, 2) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        text.append("  ".join(padded).rstrip() + (f"  {row.note}" if row is not None and row.note else ""))
    return "\n".join(text)


def _cells(row: Row) -> tuple[str, ...]:
    result = row.result
    if result is None:
        return (row.test, str(row.clients), row.subject, *["-"] * (len(_HEAD) - 3))
    streamed = result.first_p50_ms and result.p50_ms - result.first_p50_ms > 0.05
    valkey = result.cpu_ms.get("valkey")
    return (
        row.test,
        str(row.clients),
        row.subject,
        f"{result.rps:.0f}" if result.rps >= 100 else f"{result.rps:.1f}",
        _ms(result.p50_ms),
        _ms(result.p99_ms),
        _ms(result.first_p50_ms) if streamed else "",
        _ms(result.first_p99_ms) if streamed else "",
        f"{row.cpu_ms:.3f}",
        f"{row.ratio:.2f}" if row.ratio is not None else "",
        f"{valkey:.3f}" if valkey is not None else "",
        f"{result.peak_mb.get(row.subject, 0):.0f}",
        str(result.errors),
        f"{result.others_busy:.1f}",
    )


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}"


def checks_table(checks: Sequence[Check]) -> str:
    lines = [("target", "value", "wanted", "")]
    lines += [
        (check.name, check.value, check.target, "met" if check.is_met else "MISSED") for check in checks
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def show(outcome: Outcome) -> None:
    print()
    print(table(outcome.rows))
    busiest = max((row.result.load_busy for row in outcome.rows if row.result), default=0.0)
    print(
        f"\nratio: CPU per request to the floor's, unless said otherwise. Load generator: at most {busiest:.0%} busy."
    )
    if outcome.checks:
        print()
        print(checks_table(outcome.checks))


def save(outcome: Outcome, path: Path | None, *, versions: Mapping[str, str], is_quick: bool) -> Path:
    now = datetime.now(UTC)
    path = path or RESULTS / f"{now:%Y-%m-%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {
        "at": now.isoformat(timespec="seconds"),
        "quick": is_quick,
        "machine": {"cpus": os.cpu_count(), "arch": platform.machine(), "kernel": platform.release()},
        "python": platform.python_version(),
        "versions": dict(versions),
        "rows": [asdict(row) | {"cpu_ms": row.cpu_ms} for row in outcome.rows],
        "checks": [asdict(check) for check in outcome.checks],
    }
    path.write_text(json.dumps(body, indent=1) + "\n")
    return path


def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("Django", "uvicorn", "uvloop", "httptools", "aiohttp")}
