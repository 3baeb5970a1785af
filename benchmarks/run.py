"""Sedano beside Celery, interleaved, in one run; prints medians and ratios, keeps the raw figures. See README.md."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from engines import Engine, cpu_seconds, engines, pss_mb, wait_for_marks
from servers import delayed, redis_server

RAW = Path(__file__).resolve().parent / "raw"
Figures = dict[str, float]


@contextlib.contextmanager
def store(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a fresh store of this kind."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/bench-{time.monotonic_ns()}.db"
    else:
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(redis_server(append_only=kind == "redis-aof"))
            yield stack.enter_context(delayed(url, 0.001)) if kind == "redis-1ms" else url


def drain(
    engine: Engine, url: str, folder: Path, count: int, *, results: bool, task: str = "noop", prefetch: str = ""
) -> Figures:
    environment = engine.environment(url, url if results else "", results=results, prefetch=prefetch)
    marks = folder / f"marks-{time.monotonic_ns()}"
    sent = engine.produce(environment, "preload", str(count), str(marks), task)
    with engine.worker(environment, folder / "worker.log") as process:
        wait_for_marks(marks, 1, process, 60)
        before = cpu_seconds(process.pid)
        times = wait_for_marks(marks, 2, process, 600)
        used = cpu_seconds(process.pid) - before
    seconds = max(times) - min(times)
    return {
        "rate": count / seconds,
        "cpu_us": used / count * 1e6,
        "enqueue_rate": sent["rate"],
        "enqueue_cpu_us": sent["cpu_us"],
    }


def round_trip(engine: Engine, url: str, folder: Path, count: int) -> Figures:
    environment = engine.environment(url, url, results=True, prefetch="")
    with engine.worker(environment, folder / "worker.log"):
        return engine.produce(environment, "roundtrip", str(count))


def idle(engine: Engine, url: str, folder: Path) -> Figures:
    environment = engine.environment(url, url, results=True, prefetch="")
    with engine.worker(environment, folder / "worker.log") as process:
        engine.produce(environment, "roundtrip", "20")
        time.sleep(3)
        before, started = cpu_seconds(process.pid), time.monotonic()
        time.sleep(3)
        share = (cpu_seconds(process.pid) - before) / (time.monotonic() - started)
        return {"pss_mb": pss_mb(process.pid), "idle_cpu_percent": share * 100}


Measure = tuple[str, str, Callable[[Engine, str, Path], Figures], bool]


def measures(scale: float) -> list[Measure]:
    """(name, store, what to do, is Celery beside us)."""

    def n(count: int) -> int:
        return max(200, int(count * scale))

    def drained(count: int, **how: Any) -> Callable[[Engine, str, Path], Figures]:
        # Celery gets a tenth of the calls: its rate does not depend on it and nobody waits minutes.
        return lambda e, u, f: drain(e, u, f, n(count if e.name == "sedano" else max(2000, count // 10)), **how)

    def trips(engine: Engine, url: str, folder: Path) -> Figures:
        return round_trip(engine, url, folder, n(1000))

    return [
        ("drain, no results", "redis", drained(100_000, results=False), True),
        ("drain, results", "redis", drained(100_000, results=True), True),
        ("drain, results, unbatched", "redis", drained(20_000, results=True, prefetch="1"), True),
        ("drain, results, AOF", "redis-aof", drained(50_000, results=True), True),
        ("drain, results, 1 ms", "redis-1ms", drained(10_000, results=True), True),
        ("drain, 10 ms task", "redis", drained(2_000, results=True, task="nap"), True),
        ("round trip", "redis", trips, True),
        ("idle", "redis", idle, True),
        ("drain, no results", "sqlite", drained(50_000, results=False), False),
        ("drain, results", "sqlite", drained(50_000, results=True), False),
        ("drain, 10 ms task", "sqlite", drained(2_000, results=True, task="nap"), False),
        ("round trip", "sqlite", trips, False),
        ("idle", "sqlite", idle, False),
    ]


def version(engine: Engine) -> str:
    done = subprocess.run([engine.python, "-m", engine.name, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def median_of(rounds: list[Figures]) -> Figures:
    return {key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("--quick", action="store_true", help="one small round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="measures whose name or store contains this text")
    parser.add_argument("--without-celery", action="store_true")
    options = parser.parse_args()
    rounds, scale = (1, 0.05) if options.quick else (options.rounds, 1.0)
    both = engines()[: 1 if options.without_celery else 2]
    about = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": platform.platform(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "engines": {engine.name: version(engine) for engine in both},
        "rounds": rounds,
        "scale": scale,
    }
    print(json.dumps(about))
    kept: list[dict[str, Any]] = []
    for name, kind, measure, with_celery in measures(scale):
        if options.only and options.only not in f"{name} {kind}":
            continue
        taken: dict[str, list[Figures]] = {}
        for _ in range(rounds):
            for engine in both[: 2 if with_celery else 1]:
                with tempfile.TemporaryDirectory(prefix="sedano-bench-") as folder, store(kind, Path(folder)) as url:
                    taken.setdefault(engine.name, []).append(measure(engine, url, Path(folder)))
        kept.append({"measure": name, "store": kind, "figures": taken})
        show(name, kind, {engine: median_of(figures) for engine, figures in taken.items()})
    RAW.mkdir(exist_ok=True)
    path = RAW / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps({"about": about, "measures": kept}, indent=1))
    print(f"raw figures: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return 0


def show(name: str, kind: str, medians: dict[str, Figures]) -> None:
    ours, theirs = medians["sedano"], medians.get("celery")
    print(f"\n{name} ({kind})")
    for key, value in ours.items():
        line = f"  {key:<18} sedano {value:>12,.2f}"
        if theirs is not None:
            ratio = value / theirs[key] if theirs[key] else float("nan")
            line += f"   celery {theirs[key]:>12,.2f}   ratio {ratio:>8.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
