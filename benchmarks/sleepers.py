"""1,000 calls that sleep a second, in each pool of many calls: `./dev bench sleepers [eventlet] [gevent] [asyncio] [threads]`.

The figure is seconds from the last call that was sent until the last result was there; a second is the least.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sedano import Sedano
from sedano.testing.node import Node

from servers import store

POOLS = ("eventlet", "gevent", "asyncio", "threads")
APP = """
import asyncio, time
from sedano import Sedano
app = Sedano("sleepers", broker="{url}", backend="{url}")
@app.task
def nap():
    time.sleep(1)
@app.task
async def native():
    await asyncio.sleep(1)
"""


def seconds(url: str, folder: Path, pool: str, calls: int) -> float:
    """One run with a fresh worker that has as many lanes as there are calls."""
    app = Sedano("asker", broker=url, backend=url, set_as_current=False)
    name = "sleepers.native" if pool == "asyncio" else "sleepers.nap"
    with Node("sleepers", cwd=folder, concurrency=calls, loglevel="WARNING", options=["-P", pool]):
        app.send_task(name).get(timeout=120)  # it is there, and has run one
        results = [app.send_task(name) for _ in range(calls)]
        began = time.monotonic()
        for result in results:
            result.get(timeout=300)
        took = time.monotonic() - began
    app.close()
    return took


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench sleepers")
    parser.add_argument("pools", nargs="*", default=POOLS, help=", ".join(POOLS))
    parser.add_argument("--calls", type=int, default=1000)
    asked = parser.parse_args(words)
    for pool in asked.pools:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with store("redis", folder) as place:
                (folder / "sleepers.py").write_text(APP.format(url=place.url))
                print(f"{pool:<9} {seconds(place.url, folder, pool, asked.calls):.2f} s", flush=True)
    return 0
