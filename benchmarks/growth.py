"""What grows with the load: `./dev bench growth [waiting] [delayed] [eta] [memory] [--stores redis,sqlite] [--scale S]`.

waiting   the rate and the CPU time per call with a thousand, a hundred thousand, a million calls waiting, and of a sending
delayed   a million delayed calls: the worker's memory, and how late calls begin of which a thousand are due each second
eta       a hundred thousand calls of `apply_async(countdown=…)`, one by one: the worker's memory while it moves them
memory    the worker's memory at the start, in the middle and at the end of a million calls

`--scale 0.01` takes a hundredth of each. Memory is the PSS of the worker's process tree; its peak is that of one look a second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sedano import Sedano
from sedano.contracts import Depth

from engines import ENGINES, Engine
from measures import Figures, Tally
from processes import cpu_seconds, pss_mb, tree
from servers import Store, store

WARM = 4_000
TAKEN = 20_000
RATE = 1_000
LOOK_S = 1.0


def waiting(engine: Engine, place: Store, folder: Path, scale: float) -> Iterator[Figures]:
    """As many calls are taken at each level while so many more wait behind them."""
    for level in (1_000, 100_000, 1_000_000):
        count = max(1_000, int(level * scale))
        variables = engine.variables("drain", place.url, folder, results=True)
        filled = engine.produce(variables, "fill", "noop", 0, count + WARM + TAKEN)["bulk"]
        sent = engine.produce(variables, "fill", "noop", 1_000, 0)["one"]
        tally = Tally(folder)
        before = tally.total()
        with engine.worker("drain", variables, folder) as worker:
            started, early = tally.wait_for(before + WARM, worker)
            pids = tree(worker.pid)
            used, served = cpu_seconds(*pids), _server(place)
            ended, late = tally.wait_for(early + TAKEN, worker)
            used, served = cpu_seconds(*pids) - used, _server(place) - served
        taken = late - early
        yield {
            "waiting": float(count),
            "rate": taken / (ended - started),
            "worker_cpu_us": used / taken * 1e6,
            "server_cpu_us": served / taken * 1e6,
            "enqueue_cpu_us": sent["cpu_us"],
            "enqueue_rate": sent["rate"],
            "bulk_cpu_us": filled["cpu_us"],
        }
        _purge(place)


def delayed(engine: Engine, place: Store, folder: Path, scale: float) -> Iterator[Figures]:
    """Memory while and after the worker moves a million delayed calls; then how late calls begin beside them."""
    count, due = int(1_000_000 * scale), max(1_000, int(20_000 * min(1.0, scale * 10)))
    with _warm_worker(engine, place, folder) as (worker, tally, variables):
        figures = _moved(engine, place, worker, variables, ("later", "noop", count, 50_000), count)
        before = tally.total()
        lead_s = 5 + due / 5_000
        engine.produce(variables, "due", due, RATE, lead_s)
        tally.wait_for(before + due, worker, patience_s=lead_s + 60)
        waits = tally.waits()
        yield figures | {
            "delayed_beside": float(_depth(place).delayed),
            "late_p50_ms": waits[len(waits) // 2] * 1e3,
            "late_p99_ms": waits[int(len(waits) * 0.99)] * 1e3,
            "late_max_ms": waits[-1] * 1e3,
            "pss_end_mb": pss_mb(*tree(worker.pid)),
        }


def eta(engine: Engine, place: Store, folder: Path, scale: float) -> Iterator[Figures]:
    """Calls as any producer sends them, with `countdown`, one by one."""
    count = int(100_000 * scale)
    with _warm_worker(engine, place, folder) as (worker, _, variables):
        yield _moved(engine, place, worker, variables, ("later_one", "noop", count, 50_000), count)


def memory(engine: Engine, place: Store, folder: Path, scale: float) -> Iterator[Figures]:
    """The worker's memory along the way; the calls come in portions, so that it is the worker's life and not one queue's."""
    count, portions = int(1_000_000 * scale), 10
    with _warm_worker(engine, place, folder) as (worker, tally, variables):
        before = tally.total()
        for portion in range(portions + 1):
            yield {
                "calls": float(tally.total() - before),
                "pss_mb": pss_mb(*tree(worker.pid)),
                "descriptors": float(sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in tree(worker.pid))),
            }
            if portion < portions:
                engine.produce(variables, "fill", "noop", 0, count // portions)
                tally.wait_for(before + (portion + 1) * (count // portions), worker)


@contextmanager
def _warm_worker(engine: Engine, place: Store, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Tally, dict[str, str]]]:
    variables = engine.variables("drain", place.url, folder, results=True)
    tally = Tally(folder)
    with engine.worker("drain", variables, folder) as worker:
        # Each slot has run calls, settled windows, delayed a few: what that imports and keeps is there.
        engine.produce(variables, "fill", "noop", 100, 20_000)
        engine.produce(variables, "later", "noop", 2_000, 1)
        tally.wait_for(22_100, worker)
        time.sleep(1)
        yield worker, tally, variables


def _moved(
    engine: Engine,
    place: Store,
    worker: subprocess.Popen[bytes],
    variables: dict[str, str],
    words: tuple[object, ...],
    count: int,
) -> Figures:
    pids = tree(worker.pid)
    before, used, looks, over = pss_mb(*pids), cpu_seconds(*pids), [0.0], threading.Event()

    def look() -> None:
        while not over.wait(LOOK_S):
            looks.append(pss_mb(*tree(worker.pid)))

    watcher = threading.Thread(target=look)
    watcher.start()
    started = time.monotonic()
    try:
        engine.produce(variables, *words)
        sent_s = time.monotonic() - started
        while (depth := _depth(place)).delayed < count:
            if time.monotonic() - started > sent_s + 600:
                raise SystemExit(f"{depth.delayed} of {count} calls are in the schedule, {depth.ready} are waiting")
            time.sleep(0.2)
    finally:
        over.set()
        watcher.join()
    moved_s = time.monotonic() - started
    used = cpu_seconds(*pids) - used
    after = pss_mb(*tree(worker.pid))
    return {
        "calls": float(count),
        "pss_before_mb": before,
        "pss_peak_mb": max(*looks, after),
        "pss_after_mb": after,
        "extra_mb": after - before,
        "sent_s": sent_s,
        "moved_s": moved_s,
        "move_cpu_us": used / count * 1e6,
    }


def _server(place: Store) -> float:
    return 0.0 if place.pid is None else cpu_seconds(place.pid)


def _depth(place: Store) -> Depth:
    app = Sedano("growth", broker=place.url, set_as_current=False)
    broker = app.stores.open_broker()
    try:
        return broker.depth(["bench"])[0]
    finally:
        broker.close()


def _purge(place: Store) -> None:
    app = Sedano("growth", broker=place.url, set_as_current=False)
    broker = app.stores.open_broker()
    broker.purge("bench")
    broker.close()


Growth = Callable[[Engine, Store, Path, float], Iterator[Figures]]
MEASURES: dict[str, Growth] = {"waiting": waiting, "delayed": delayed, "eta": eta, "memory": memory}


def main(words: list[str], keep: Callable[[str, object], None]) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench growth")
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(MEASURES)}")
    parser.add_argument("--stores", default="redis,sqlite")
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args(words)
    if unknown := set(options.names) - set(MEASURES):
        raise SystemExit(f"there is no measure {', '.join(sorted(unknown))}; there are: {', '.join(MEASURES)}")
    kept: list[dict[str, object]] = []
    for name, measure in MEASURES.items():
        if options.names and name not in options.names:
            continue
        for kind in options.stores.split(","):
            print(f"\n{name} ({kind})", flush=True)
            with (
                tempfile.TemporaryDirectory(prefix="sedano-bench-", ignore_cleanup_errors=True) as folder,
                store(kind, Path(folder)) as place,
            ):
                for figures in measure(ENGINES[0], place, Path(folder), options.scale):
                    print("  " + "  ".join(f"{key} {value:,.1f}" for key, value in figures.items()), flush=True)
                    kept.append({"measure": name, "store": kind, **figures})
    keep("growth", kept)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], lambda _, figures: print(json.dumps(figures))))
