"""What workflows cost, and whether that grows with their size only: `./dev bench workflows [chord] [chain] [group] [nested]`.

chord     1,000, 10,000, 100,000 header tasks and a body, its client waiting
chain     10, 100, 1,000 steps
group     1,000, 10,000, 100,000 members, whose results the client reads
nested    chords in headers of chords, 10, 25, 50 deep

`--table` writes the figures into docs/benchmarks.md as well, `--raw RAW.json` those of an earlier run instead of measuring.
`--scale 0.1` takes a tenth of each, `--stores redis,sqlite` other stores, `--engines sedano` Sedano alone. Each stands beside
Celery in the same run; an engine that takes longer than `--cap` seconds for a size is stopped, and gets no bigger one.

`seconds` is from before the signatures are made until the client has the result, `send_s` the sending among it, `us_per_call`
the same for each call, `…_cpu_us` what a call takes of the processors. `client_mb` is the biggest resident size of the client's
process, `server_mb` that of Redis, `worker_mb` the biggest PSS of the worker's process tree (two pool processes).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from table import PAGE

from engines import APPS, ENGINES, Engine
from measures import Figures, worker_log
from processes import cpu_seconds, pss_mb, tree
from servers import Store, store

LOOK_S = 0.1
SIZES = {
    "chord": (1_000, 10_000, 100_000),
    "chain": (10, 100, 1_000),
    "group": (1_000, 10_000, 100_000),
    "nested": (10, 25, 50),
}
CALLS = {"chord": lambda size: size + 1, "nested": lambda size: 2 * size + 1}
CAP_S = 60.0


def flow(engine: Engine, place: Store, folder: Path, name: str, size: int, cap_s: float) -> Figures | None:
    """One workflow through a fresh worker; None when it took longer than `cap_s`."""
    variables = engine.variables("drain", place.url, folder, results=True)
    with engine.worker("drain", variables, folder) as worker:
        peaks, over = [0.0], threading.Event()

        def look() -> None:
            while not over.wait(LOOK_S):
                peaks.append(pss_mb(*tree(worker.pid)))

        watcher = threading.Thread(target=look)
        _client(engine, variables, folder, "chord", 10, cap_s)  # both processes of the worker have started, and run a chord
        pids = tree(worker.pid)
        before, served = cpu_seconds(*pids), _server_seconds(place)
        watcher.start()
        try:
            figures = _client(engine, variables, folder, name, size, cap_s)
        finally:
            over.set()
            watcher.join()
        if figures is None:
            return None
        calls = CALLS.get(name, lambda size: size)(size)
        return {
            **figures,
            "us_per_call": figures["seconds"] / calls * 1e6,
            "client_cpu_us": figures["client_cpu_s"] / calls * 1e6,
            "worker_cpu_us": (cpu_seconds(*pids) - before) / calls * 1e6,
            "server_cpu_us": (_server_seconds(place) - served) / calls * 1e6,
            "worker_mb": max(peaks),
            "server_mb": _server_mb(place),
        }


def _client(engine: Engine, variables: dict[str, str], folder: Path, name: str, size: int, cap_s: float) -> Figures | None:
    command = [str(engine.python), str(APPS / "flow.py"), name, str(size), str(cap_s)]
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=cap_s)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        if "TimeoutError" in done.stderr:
            return None
        raise SystemExit(f"{name} of {size} with {engine.name}: {done.stderr[-3000:]}\nworker: {worker_log(folder)}")
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def _server_seconds(place: Store) -> float:
    return 0.0 if place.pid is None else cpu_seconds(place.pid)


def _server_mb(place: Store) -> float:
    """The biggest resident size that the server has had."""
    if place.pid is None:
        return 0.0
    lines = Path(f"/proc/{place.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def main(words: list[str], keep: Callable[[str, object], None]) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench workflows")
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(SIZES)}")
    parser.add_argument("--stores", default="redis")
    parser.add_argument("--engines", default="sedano,celery")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--cap", type=float, default=CAP_S, help="seconds after which a client is stopped")
    parser.add_argument("--table", action="store_true", help="write the figures into docs/benchmarks.md as well")
    parser.add_argument("--raw", type=Path, help="the raw figures of an earlier run, for the table")
    options = parser.parse_args(words)
    if options.raw:
        raw = json.loads(options.raw.read_text())
        write_table(raw["measures"], raw["about"]["load"])
        return 0
    load = os.getloadavg()[0]
    if unknown := set(options.names) - set(SIZES):
        raise SystemExit(f"there is no workflow {', '.join(sorted(unknown))}; there are: {', '.join(SIZES)}")
    kept: list[dict[str, object]] = []
    for kind in options.stores.split(","):
        for name, sizes in SIZES.items():
            if options.names and name not in options.names:
                continue
            engines = [each for each in ENGINES if each.name in options.engines.split(",") and kind in each.stores]
            kept += _compared(engines, kind, name, [max(2, int(size * options.scale)) for size in sizes], options.cap)
    keep("workflows", kept)
    if options.table:
        write_table(kept, load)
    return 0


def _compared(engines: list[Engine], kind: str, name: str, sizes: list[int], cap_s: float) -> list[dict[str, object]]:
    kept: list[dict[str, object]] = []
    slow: set[str] = set()
    for size in sizes:
        for engine in engines:
            if engine.name in slow:
                continue
            with (
                tempfile.TemporaryDirectory(prefix="sedano-bench-", ignore_cleanup_errors=True) as folder,
                store(kind, Path(folder)) as place,
            ):
                figures = flow(engine, place, Path(folder), name, size, cap_s)
            shown = f"over {cap_s:.0f} s"
            if figures is None:
                slow.add(engine.name)
            else:
                shown = "  ".join(f"{key} {value:,.2f}" for key, value in figures.items())
            print(f"{kind:<7} {name} of {size:>7,}  {engine.name:<8} {shown}", flush=True)
            kept.append(
                {"store": kind, "workflow": name, "size": size, "engine": engine.name, **(figures or {"over_s": cap_s})}
            )
    return kept


START, END = "<!-- workflows: written by ./dev bench workflows --table -->", "<!-- end of workflows -->"
HEAD = """| workflow | Sedano | for each call | CPU: client, worker, server | memory: client, worker | Celery | for each call |
|---|---:|---:|---:|---:|---:|---:|"""


def write_table(kept: list[dict[str, Any]], load: float) -> None:
    """Replace what stands between the two marks of the page."""
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for each in kept:
        name = f"{each['workflow']} of {each['size']:,}" + ("" if each["store"] == "redis" else f", {each['store']}")
        rows.setdefault(name, {})[each["engine"]] = each
    lines = [_row(name, engines.get("sedano"), engines.get("celery")) for name, engines in rows.items()]
    about = f"Load of the machine (2 processors) when the run began: {load:.1f}."
    page = PAGE.read_text()
    before, rest = page.split(START)
    PAGE.write_text("\n".join([before + START, "", HEAD, *lines, "", about, "", END]) + rest.split(END)[1])


def _row(name: str, ours: dict[str, Any] | None, theirs: dict[str, Any] | None) -> str:
    cells = [name, *_times(ours)]
    if ours and "seconds" in ours:
        cells.append(" + ".join(f"{ours[f'{part}_cpu_us']:,.0f}" for part in ("client", "worker", "server")) + " us")
        cells.append(f"{ours['client_mb']:.0f}, {ours['worker_mb']:.0f} MB")
    else:
        cells += ["", ""]
    return "| " + " | ".join([*cells, *_times(theirs)]) + " |"


def _times(figures: dict[str, Any] | None) -> tuple[str, str]:
    if figures is None:
        return "-", ""
    if "seconds" not in figures:
        return f"over {figures['over_s']:.0f} s", ""
    return f"{figures['seconds']:,.2f} s", f"{figures['us_per_call']:,.0f} us"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], lambda _, figures: print(json.dumps(figures))))
