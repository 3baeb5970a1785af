"""What events cost: no-ops drained with events off, on, and on beside a listener, here and with Celery: `./dev bench events`.

The ways take turns; the figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sedano import Sedano

from engines import ENGINES, Engine, Shape
from measures import drain
from servers import store

WAYS = {"off": (False, False), "on": (True, False), "on, one listens": (True, True)}


def telling(engine: Engine) -> Engine:
    """The engine with `-E`."""

    def command(shape: Shape) -> list[str] | None:
        words = engine.command(shape)
        return None if words is None else [*words, "-E"]

    return replace(engine, command=command)


@contextlib.contextmanager
def listener(url: str, kind: str) -> Iterator[list[int]]:
    """Hears all events in a thread and counts those of tasks, whoever sends them."""
    count, stops = [0], threading.Event()
    app = Sedano("listener", broker=url, set_as_current=False)
    bus = app.stores.open_bus()
    box = bus.open_events("bench")
    word = b'"type":"task-' if kind == "sedano" else b'"type": "task-'

    def listen() -> None:
        while not stops.is_set():
            count[0] += sum(message.body.count(word) for message in box.receive(0.2))

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield count
    finally:
        stops.set()
        thread.join()
        box.close()
        bus.close()
        app.close()


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench events")
    parser.add_argument("stores", nargs="*", default=["redis", "sqlite"], help="redis, sqlite")
    parser.add_argument("--calls", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(words)
    engines = [engine for engine in ENGINES if engine.name in ("sedano", "celery")]
    print(f"{'store':<8}{'engine':<9}{'events':<18}{'calls/s':>9}{'worker us':>11}{'told a call':>13}")
    for kind in asked.stores:
        for engine in (engine for engine in engines if kind in engine.stores):
            count = int(asked.calls * engine.share)
            found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
            for _ in range(asked.rounds):
                for way, (tells, heard) in WAYS.items():
                    found[way].append(one(engine, kind, count, tells=tells, heard=heard))
            for way, figures in found.items():
                rate, cpu, told = (statistics.median(column) for column in zip(*figures, strict=True))
                print(f"{kind:<8}{engine.name:<9}{way:<18}{rate:>9,.0f}{cpu:>11.1f}{told:>13.2f}", flush=True)
    return 0


def one(engine: Engine, kind: str, count: int, *, tells: bool, heard: bool) -> tuple[float, float, float]:
    """(calls a second, microseconds of CPU of the worker per call, events heard per call)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with store(kind, folder) as place, contextlib.ExitStack() as stack:
            told = stack.enter_context(listener(place.url, engine.name)) if heard else [0]
            figures = drain(telling(engine) if tells else engine, place, folder, count, results=True)
        return figures["rate"], figures["worker_cpu_us"], told[0] / count
