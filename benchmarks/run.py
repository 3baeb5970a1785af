"""Sedano beside Celery and its other peers, interleaved, in one run; prints medians and ratios, keeps the raw figures."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import amqpclients
import budget
import growth
import lifetimes
import schedules
import sleepers
import startup
import table
import workflows

import events
from engines import ENGINES, Engine
from measures import Figures, Measure, measures
from servers import Store, store

RAW = Path(__file__).resolve().parent / "raw"
QUICK = "bare loop,celery,huey"


def about(**more: Any) -> dict[str, Any]:
    """What a figure means nothing without."""
    redis = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": platform.platform(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "redis": redis.partition("v=")[2].partition(" ")[0],
        **more,
    }


def rabbitmq_version() -> str:
    return subprocess.run(["rabbitmqctl", "version"], capture_output=True, text=True, check=True).stdout.strip()


def keep(name: str, figures: Any) -> None:
    RAW.mkdir(exist_ok=True)
    path = RAW / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(figures, indent=1))
    print(f"\nraw figures: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def main(words: list[str]) -> int:
    if words[:1] == ["growth"]:
        return growth.main(words[1:], lambda name, figures: keep(name, {"about": about(), "measures": figures}))
    if words[:1] == ["events"]:
        return events.main(words[1:])
    if words[:1] == ["startup"]:
        return startup.main(words[1:], lambda name, figures: keep(name, {"about": about(), "figures": figures}))
    if words[:1] == ["schedules"]:
        return schedules.main(words[1:], lambda name, figures: keep(name, {"about": about(), "figures": figures}))
    if words[:1] == ["sleepers"]:
        return sleepers.main(words[1:])
    if words[:1] == ["workflows"]:
        return workflows.main(words[1:], lambda name, figures: keep(name, {"about": about(), "measures": figures}))
    if words[:1] == ["amqp"]:
        return amqpclients.main(words[1:], lambda name, figures: keep(name, {"about": about(), "figures": figures}))
    if words[:1] == ["budget"]:
        return budget.main(words[1:])
    if words[:1] == ["table"]:
        table.write(json.loads(Path(words[1]).read_text()))
        return 0
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("names", nargs="*", help="measures whose name or store contains one of these words")
    parser.add_argument("--quick", action="store_true", help="one small round: shows that it works, not how fast")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", help=f"some of: {', '.join(engine.name for engine in ENGINES)} (Sedano is always there)")
    parser.add_argument("--table", action="store_true", help="write the figures into docs/benchmarks.md as well")
    options = parser.parse_args(words)
    rounds, scale = (1, 0.05) if options.quick else (options.rounds, 1.0)
    named = options.engines or (QUICK if options.quick else ",".join(engine.name for engine in ENGINES))
    wanted = {"sedano", *named.split(",")}
    engines = [engine for engine in ENGINES if engine.name in wanted]
    kinds = {measure.kind for measure in measures(scale) if _is_named(measure, options.names)}
    servers = {"rabbitmq": rabbitmq_version()} if any(kind.startswith("rabbitmq") for kind in kinds) else {}
    known = about(**servers, engines={engine.name: engine.versions() for engine in engines}, rounds=rounds, scale=scale)
    print(json.dumps(known))
    started, kept = time.monotonic(), []
    for measure in [*measures(scale), *whole_lives()]:
        if not _is_named(measure, options.names):
            continue
        taken = take(measure, [engine for engine in engines if measure.takes(engine)], rounds)
        kept.append({"measure": measure.name, "store": measure.kind, "figures": taken})
        show(measure, {engine: median_of(figures) for engine, figures in taken.items()})
    print(f"\n{time.monotonic() - started:.0f} s")
    raw = {"about": known, "measures": kept}
    keep("bench", raw)
    if options.table:
        table.write(raw)
        print(f"the table is in {table.PAGE}")
    return 0


def _is_named(measure: Measure, names: list[str]) -> bool:
    return not names or any(word in f"{measure.name} {measure.kind}" for word in names)


def whole_lives() -> list[Measure]:
    """Those of `lifetimes.py`."""

    def delayed(engine: Engine, place: Store, folder: Path) -> Figures:
        # In a quick run, too: of fewer calls nothing but noise would be seen.
        return lifetimes.eta(engine, place, folder, int(100_000 * engine.share))

    def killed(engine: Engine, place: Store, folder: Path) -> Figures:
        return lifetimes.killed(engine, place, folder, 1_000)

    pair = ("sedano", "celery")
    return [
        Measure("startup", "redis", "drain", lifetimes.startup, only=pair),
        Measure("delayed calls", "redis", "drain", delayed, only=pair),
        Measure("fleet killed", "redis", "tasks", killed, only=pair),
    ]


def take(measure: Measure, engines: list[Engine], rounds: int) -> dict[str, list[Figures]]:
    """Each round takes every engine once, so that a bad minute of the machine is everybody's; after the first those only that
    others are compared with most."""
    taken: dict[str, list[Figures]] = {}
    for number in range(rounds if measure.often else 1):
        for engine in engines:
            if number and not engine.often:
                continue
            with (
                tempfile.TemporaryDirectory(prefix="sedano-bench-", ignore_cleanup_errors=True) as folder,
                store(measure.kind, Path(folder)) as place,
            ):
                taken.setdefault(engine.name, []).append(measure.run(engine, place, Path(folder)))
    return taken


def median_of(rounds: list[Figures]) -> Figures:
    return {key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]}


def show(measure: Measure, medians: dict[str, Figures]) -> None:
    """A line per engine; in brackets Sedano's figure divided by the engine's."""
    print(f"\n{measure.name} ({measure.kind})")
    ours = medians.get("sedano", {})
    keys = list(dict.fromkeys(key for figures in medians.values() for key in figures))
    print(" " * 16 + "".join(f"{key:>22}" for key in keys))
    for engine, figures in medians.items():
        cells = []
        for key in keys:
            value = figures.get(key)
            ratio = "" if value is None or not value or not ours.get(key) else f" [{ours[key] / value:.3g}]"
            cells.append("-" if value is None else f"{value:,.2f}{ratio if engine != 'sedano' else ''}")
        print(f"  {engine:<14}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
