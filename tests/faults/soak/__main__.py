"""`./dev soak`: on each store in a process of its own, at the same time."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.matrix.shapes import STORES
from tests.faults.soak.soaking import run_soak
from tests.servers import is_left_out

ROOT = Path(__file__).resolve().parents[3]


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev soak", description="Mixed calls and kills for a long time.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--store", action="append", choices=STORES)
    parser.add_argument("--pause", type=float, default=3.0, help="seconds between two kills (3)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args(words)
    stores = asked.store or [store for store in STORES if not is_left_out(store)]
    print(f"{asked.minutes:g} minutes on {' and '.join(stores)}, seed {asked.seed}", flush=True)
    if len(stores) == 1:
        report = run_soak(stores[0], asked.minutes * 60, pause_s=asked.pause, seed=asked.seed)
        print(report.text, flush=True)
        if not report.is_good:
            print(*(line[:300] for line in report.logs.splitlines()[-200:]), sep="\n", flush=True)
        return 0 if report.is_good else 1
    same = ["--minutes", str(asked.minutes), "--pause", str(asked.pause), "--seed", str(asked.seed)]
    command = [sys.executable, "-m", "tests.faults.soak", *same]
    running = [subprocess.Popen([*command, "--store", store], cwd=ROOT) for store in stores]
    return max(process.wait() for process in running)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
