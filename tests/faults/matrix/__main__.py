"""`./dev faults`: runs the cells, each in a process of its own, says what was found, and writes it down."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.faults.matrix import table
from tests.faults.matrix.catalog import FAULTS
from tests.faults.matrix.shapes import ACKS, POOLS, STORES
from tests.faults.matrix.stage import RABBIT
from tests.faults.matrix.verdict import Found
from tests.rabbit import RabbitServer
from tests.servers import is_left_out

ROOT = Path(__file__).resolve().parents[3]
MOST_S = 900
ATTEMPTS = 2  # a fault that did not hit is tried once more, at other moments


@dataclass(frozen=True)
class Cell:
    store: str
    pool: str
    acks: str
    fault: str

    @property
    def key(self) -> str:
        return f"{self.store} {self.pool} {self.acks} {self.fault}"


def cells_of(asked: argparse.Namespace) -> list[Cell]:
    return [
        Cell(store, pool, acks, fault.name)
        for fault in FAULTS.values()
        for store in STORES
        for pool in POOLS
        for acks in ACKS
        if fault.fits(store, POOLS[pool], acks)
        and (store == "sqlite" or not is_left_out(store))
        and (not asked.store or store in asked.store)
        and (not asked.pool or pool in asked.pool)
        and (not asked.acks or acks in asked.acks)
        and (not asked.fault or fault.name in asked.fault)
    ]


def small_disk(folder: Path) -> list[str]:
    """What a command starts with to see a disk of its own at `folder`/disk; empty when this user may not mount one."""
    disk = folder / "disk"
    disk.mkdir()
    unshare = shutil.which("unshare")
    if unshare is None:
        return []
    space = [unshare, "-m"] if os.geteuid() == 0 else [unshare, "-r", "-m"]
    mount = f"mount -t tmpfs -o size=16m none {disk}"
    if subprocess.run([*space, "sh", "-c", mount], capture_output=True, check=False).returncode:
        return []
    return [*space, "sh", "-c", f'{mount} && exec "$@"', "sh"]


def run(cell: Cell, *, quick: bool, seed: int, keep: Path) -> Found:
    """One cell; what it leaves (log of the nodes, traceback) goes to `keep` when something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="sedano-faults-"))
    before: list[str] = []
    try:
        if FAULTS[cell.fault].setting == "small disk" and not (before := small_disk(folder)):
            return Found(0, 0)
        words = [cell.store, cell.pool, cell.acks, cell.fault, str(folder), "--seed", str(seed)]
        command = [*before, sys.executable, "-m", "tests.faults.matrix.cell", *words, *(["--quick"] if quick else [])]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=MOST_S, check=False)
            told = json.loads(done.stdout.splitlines()[-1])
            told.pop("seconds")
            found = Found(**told)
        except subprocess.TimeoutExpired:
            found = Found(0, 0, error=f"not done after {MOST_S} s")
        except (ValueError, IndexError, TypeError):
            found = Found(0, 0, error=(done.stderr.strip().splitlines() or ["no answer"])[-1])
        if found.is_wrong and (folder / "wrong").exists():
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "wrong", keep / cell.key.replace(" ", "-"))
            if (folder / "ledger").exists():
                shutil.copy(folder / "ledger", keep / (cell.key.replace(" ", "-") + ".ledger"))
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_until_it_hits(cell: Cell, *, quick: bool, seed: int, keep: Path) -> Found:
    found = Found(0, 0)
    for attempt in range(ATTEMPTS):
        began = time.monotonic()
        found = run(cell, quick=quick, seed=seed + attempt, keep=keep)
        state = table.state_of(found, FAULTS[cell.fault])
        print(f"{state:<8} {cell.key:<45} {table.figures(found)}  ({time.monotonic() - began:.0f} s)", flush=True)
        if state != table.NOT_HIT:
            break
    return found


@contextlib.contextmanager
def shared_server(cells: Sequence[Cell]) -> Iterator[None]:
    """RabbitMQ takes seconds to start: one server for all cells that do not break it."""
    if all(cell.store != "rabbitmq" for cell in cells):
        yield
        return
    with RabbitServer() as server:
        os.environ[RABBIT] = str(server.folder)
        try:
            yield
        finally:
            del os.environ[RABBIT]


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev faults", description="The fault matrix.")
    parser.add_argument("--quick", action="store_true", help="fewer calls and faults in each cell; writes nothing")
    parser.add_argument("--store", action="append", choices=STORES)
    parser.add_argument("--pool", action="append", choices=list(POOLS))
    parser.add_argument("--acks", action="append", choices=ACKS)
    parser.add_argument("--fault", action="append", choices=list(FAULTS))
    parser.add_argument("--jobs", type=int, default=4, help="cells at a time (4): most of what they do is waiting")
    parser.add_argument(
        "--table", action="store_true", help="run nothing: write the tables anew from the figures of the last runs"
    )
    parser.add_argument("--no-table", action="store_true", help="write nothing")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="for the random moments")
    parser.add_argument(
        "--keep", type=Path, default=Path(tempfile.gettempdir()) / "sedano-faults", help="logs of what is wrong"
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    asked = read_arguments(words)
    if asked.table:
        table.write({})
        return 0
    cells = cells_of(asked)
    if not cells:
        print("no such cell: that fault is not about that store or pool")
        return 2
    print(f"{len(cells)} cells, {asked.jobs} at a time, seed {asked.seed}", flush=True)
    with shared_server(cells), ThreadPoolExecutor(asked.jobs) as pool:
        work = [
            (cell, pool.submit(run_until_it_hits, cell, quick=asked.quick, seed=asked.seed, keep=asked.keep)) for cell in cells
        ]
        found: dict[str, Found] = {}
        try:
            for cell, job in work:
                found[cell.key] = job.result()
        except KeyboardInterrupt:  # what there is by now is worth keeping
            pool.shutdown(wait=False, cancel_futures=True)
    if not (asked.quick or asked.no_table):
        table.write(found)
    states = [table.state_of(figures, FAULTS[key.split()[-1]]) for key, figures in found.items()]
    print(", ".join(f"{states.count(state)} {state}" for state in (table.GOOD, table.NOT_HIT, table.WRONG)))
    if table.WRONG in states:
        print(f"logs of what is wrong: {asked.keep}")
    return 1 if table.WRONG in states or table.NOT_HIT in states else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
