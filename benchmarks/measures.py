"""What is measured, and how. Each measure takes one engine through one worker on one fresh store and returns its figures."""

from __future__ import annotations

import math
import mmap
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines import Engine, Shape
from processes import cpu_seconds, pss_mb, tree
from servers import Store

Figures = dict[str, float]

LOOK_S = 0.004
PATIENCE_S = 40.0  # without any progress
SETTLE_S = 3.0


class Tally:
    """What the calls of all processes have counted; see `apps/tally.py`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._counts: dict[str, memoryview] = {}

    def total(self) -> int:
        for path in self.folder.glob("count-*"):
            if path.name not in self._counts and path.stat().st_size == 8:
                with path.open("rb") as file:
                    self._counts[path.name] = memoryview(mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)).cast("Q")
        return sum(count[0] for count in self._counts.values())

    def wait_for(self, count: int, worker: subprocess.Popen[bytes], patience_s: float = PATIENCE_S) -> tuple[float, int]:
        """(when, how many) at the first look that sees at least `count`; `patience_s` is how long there may be no progress."""
        last, deadline = -1, 0.0
        while True:
            total, now = self.total(), time.monotonic()
            if total >= count:
                return now, total
            if total != last:
                last, deadline = total, now + patience_s
            if worker.poll() is not None or now > deadline:
                raise SystemExit(f"{total} of {count} calls ran; the worker's log is {worker_log(self.folder)}")
            time.sleep(LOOK_S)

    def waits(self) -> list[float]:
        return sorted(float(line) for path in self.folder.glob("waits-*") for line in path.read_text().splitlines())


def worker_log(folder: Path) -> str:
    log = folder / "worker.log"
    return log.read_text()[-3000:] if log.exists() else "empty"


def drain(
    engine: Engine,
    store: Store,
    folder: Path,
    count: int,
    *,
    results: bool,
    shape: Shape = "drain",
    task: str = "noop",
    one_by_one: int = 0,
    quorum: bool = False,
) -> Figures:
    """Fill the queue, then start the worker; the rate between the tenth part of the calls and the last."""
    filling = engine.variables(shape, store.direct, folder, results=results, quorum=quorum)
    sent = engine.produce(filling, "fill", task, one_by_one, count - one_by_one)
    tally = Tally(folder)
    variables = engine.variables(shape, store.url, folder, results=results, quorum=quorum)
    with engine.worker(shape, variables, folder) as worker:
        started, early = tally.wait_for(math.ceil(count / 10), worker)
        pids = tree(worker.pid)
        used, served = cpu_seconds(*pids), _server_seconds(store)
        ended, _ = tally.wait_for(count, worker)
        used, served = cpu_seconds(*pids) - used, _server_seconds(store) - served
    ran = count - early
    figures = {"rate": ran / (ended - started), "worker_cpu_us": used / ran * 1e6}
    if store.pid is not None:
        figures["server_cpu_us"] = served / ran * 1e6
    for how, name in (("one", "enqueue"), ("bulk", "enqueue_bulk")):
        if sent.get(how):
            figures |= {f"{name}_rate": sent[how]["rate"], f"{name}_cpu_us": sent[how]["cpu_us"]}
    return figures


def naps(engine: Engine, store: Store, folder: Path, count: int) -> Figures:
    """Calls that sleep 10 ms, a hundred at once: from before the first ends to when the last has ended."""
    variables = engine.variables("naps", store.url, folder, results=True)
    engine.produce(variables, "fill", "nap", 0, count)
    tally = Tally(folder)
    with engine.worker("naps", variables, folder) as worker:
        started, _ = tally.wait_for(1, worker)
        ended, _ = tally.wait_for(count, worker)
    return {"seconds": ended - started + 0.01}


def waited(engine: Engine, store: Store, folder: Path, trips: int, starts: int) -> Figures:
    """A worker that has nothing else to do: round trips, starts at 200 a second, then nothing at all."""
    variables = engine.variables("waited", store.url, folder, results=True)
    tally = Tally(folder)
    with engine.worker("waited", variables, folder) as worker:
        trip = engine.produce(variables, "roundtrip", trips)
        engine.produce(variables, "paced", starts, 200)
        tally.wait_for(starts, worker)
        waits = tally.waits()
        time.sleep(SETTLE_S)
        pids = tree(worker.pid)
        before, since = cpu_seconds(*pids), time.monotonic()
        time.sleep(SETTLE_S)
        share = (cpu_seconds(*pids) - before) / (time.monotonic() - since)
        return {
            "trip_p50_ms": trip["p50_ms"],
            "trip_p99_ms": trip["p99_ms"],
            "start_p50_ms": waits[len(waits) // 2] * 1e3,
            "start_p99_ms": waits[int(len(waits) * 0.99)] * 1e3,
            "idle_pss_mb": pss_mb(*pids),
            "idle_processes": len(pids),
            "idle_cpu_percent": share * 100,
        }


def _server_seconds(store: Store) -> float:
    return 0.0 if store.pid is None else cpu_seconds(store.pid)


@dataclass(frozen=True)
class Measure:
    """`kind` is the store; `shape` what a worker must be able to be to take part. `only` names the engines that take part,
    when these are not all that can. `often`: in each round, or in the first only."""

    name: str
    kind: str
    shape: Shape
    run: Callable[[Engine, Store, Path], Figures]
    only: tuple[str, ...] = ()
    often: bool = False

    def takes(self, engine: Engine) -> bool:
        if self.only and engine.name not in self.only:
            return False
        return self.kind.partition("-")[0] in engine.stores and engine.can(self.shape)


FLEET = ("sedano", "celery", "celery tuned")


def measures(scale: float) -> list[Measure]:
    def n(engine: Engine, count: int, least: int) -> int:
        return max(least, int(count * scale * engine.share))

    def drains(
        name: str, kind: str, count: int, *, results: bool, shape: Shape = "drain", ones: int = 0, often: bool = False,
        only: tuple[str, ...] = (),
    ) -> Measure:  # fmt: skip
        def run(engine: Engine, store: Store, folder: Path) -> Figures:
            total = n(engine, count, 600)
            return drain(
                engine, store, folder, total, results=results, shape=shape,
                one_by_one=min(int(ones * scale) or 1, total // 2), quorum=kind.endswith("-quorum"),
            )  # fmt: skip

        return Measure(name, kind, shape, run, only=only, often=often)

    def sleepers(kind: str) -> Measure:
        count = max(200, int(1000 * scale))
        return Measure("drain, 10 ms task", kind, "tasks", lambda e, s, f: drain(e, s, f, count, results=True, task="nap"))

    def waiting(kind: str) -> Measure:
        trips, starts = max(100, int(1000 * scale)), max(100, int(600 * scale))
        return Measure("waited for", kind, "waited", lambda e, s, f: waited(e, s, f, trips, starts), often=True)

    def napping(engine: Engine, store: Store, folder: Path) -> Figures:
        return naps(engine, store, folder, 2000)

    return [
        drains("drain, results", "redis", 100_000, results=True, ones=10_000, often=True),
        drains("drain, no results", "redis", 100_000, results=False, ones=10_000, often=True),
        drains("drain, results, unbatched", "redis", 20_000, results=True, shape="unbatched"),
        drains("drain, results, AOF everysec", "redis-aof", 60_000, results=True, ones=5_000),
        drains("drain, results, 1 ms away", "redis-1ms", 20_000, results=True),
        sleepers("redis"),
        Measure("2,000 naps, 100 at once", "redis", "naps", napping),
        waiting("redis"),
        drains("drain, results", "sqlite", 60_000, results=True, ones=5_000, often=True),
        drains("drain, no results", "sqlite", 60_000, results=False, ones=5_000),
        sleepers("sqlite"),
        waiting("sqlite"),
        drains("drain, no results", "rabbitmq", 60_000, results=False, ones=2_000, often=True),
        drains("drain, results (rpc)", "rabbitmq", 60_000, results=True, ones=2_000, only=FLEET),
        drains("drain, no results", "rabbitmq-quorum", 60_000, results=False, ones=2_000, often=True, only=FLEET),
        Measure("drain, 10 ms task", "rabbitmq", "tasks", sleepers("rabbitmq").run, only=FLEET),
        Measure("waited for", "rabbitmq", "waited", waiting("rabbitmq").run, only=FLEET),
    ]
