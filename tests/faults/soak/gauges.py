"""What must not grow, as numbers; and the verdict over their series."""

from __future__ import annotations

import os
import sqlite3
import statistics
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.servers import RedisServer

MOST_KEYS_AT_REST = 150
"""What two nodes, their queue and the dead letters of the last seconds need."""

WARM_UP = 0.25  # the share of the series that is left out
SHOWN = 12


@dataclass(frozen=True)
class Gauge:
    """How much the end may lie above the beginning: a share of it, and so much more, which is for noise."""

    share: float
    more: float
    unit: str = ""


GAUGES = {
    "supervisor memory": Gauge(0.10, 3000, "KiB"),
    "supervisor descriptors": Gauge(0, 3),
    "client memory": Gauge(0.10, 4000, "KiB"),
    "client descriptors": Gauge(0, 3),
    "store memory": Gauge(0.25, 4000, "KiB"),
    "store log": Gauge(0, 150_000, "KiB"),  # of SQLite: written back when it has 32,000 pages at the latest
    "store keys": Gauge(0.10, 800),  # a few hundred calls are under way; what stays is measured at rest
    "store connections": Gauge(0, 8),
    "sockets in the runtime folder": Gauge(0, 12),
}
Sample = Mapping[str, float]


def of_process(pid: int) -> tuple[float, float]:
    """Resident memory in KiB, and open descriptors."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1]), float(len(os.listdir(f"/proc/{pid}/fd")))
    raise ProcessLookupError(pid)


def of_redis(server: RedisServer) -> dict[str, float]:
    told = dict(
        line.split(":", 1)
        for part in ("memory", "clients")
        for line in server.command("INFO", part).decode().split()
        if ":" in line
    )
    return {
        "store memory": int(told["used_memory"]) / 1024,
        "store keys": float(server.command("DBSIZE")),
        "store connections": float(told["connected_clients"]),
    }


def rows_of(file: Path) -> dict[str, int]:
    """How many rows each table has."""
    with closing(sqlite3.connect(file, timeout=60)) as store:
        names = [
            name for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        ]
        return {name: int(store.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]) for name in names}


def of_sqlite(file: Path) -> dict[str, float]:
    log = Path(f"{file}-wal")
    sizes = [path.stat().st_size / 1024 if path.exists() else 0.0 for path in (file, log)]
    return {"store memory": sizes[0], "store log": sizes[1], "store keys": float(sum(rows_of(file).values()))}


def growth(series: Sequence[Sample]) -> list[str]:
    """What has grown: the median of the last fifth lies above that of the fifth that follows the warm-up."""
    if len(series) < 8:
        return []
    fifth = max(2, len(series) // 5)
    start = round(len(series) * WARM_UP)
    grown: list[str] = []
    for name, gauge in GAUGES.items():
        if name in series[-1]:
            before = statistics.median(sample[name] for sample in series[start : start + fifth])
            after = statistics.median(sample[name] for sample in series[-fifth:])
            if after > before * (1 + gauge.share) + gauge.more:
                grown.append(f"{name} has grown from {before:,.0f} to {after:,.0f} {gauge.unit}".rstrip())
    return grown


def too_much_at_rest(sample: Sample) -> list[str]:
    """What should be gone when every call is done and its result was forgotten."""
    keys = sample["store keys"]
    return [f"{keys:,.0f} keys or rows are left when all is done"] if keys > MOST_KEYS_AT_REST else []


def shown(series: Sequence[Sample]) -> str:
    """The series as a table of a dozen columns."""
    step = max(1, len(series) // SHOWN)
    picked = [*series[:-1:step], series[-1]]
    lines = [f"{'minute':<32}" + "".join(f"{sample['minute']:>9.1f}" for sample in picked)]
    for name, gauge in GAUGES.items():
        if name in series[-1]:
            title = f"{name}, {gauge.unit}" if gauge.unit else name
            lines.append(f"{title:<32}" + "".join(f"{sample[name]:>9,.0f}" for sample in picked))
    return "\n".join(lines)
