"""Runs one cell in a process of its own and prints its figures as one line of JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
import traceback
from pathlib import Path

from tests.faults.matrix.catalog import FAULTS
from tests.faults.matrix.shapes import FULL, LANES, POOLS, QUICK, Fault
from tests.faults.matrix.stage import NotHit, Stage, stage_of
from tests.faults.matrix.verdict import Found, all_outcomes, verdict_of

from sedano.worker.pools import LANES as LANE_POOLS


def run_cell(stage: Stage, fault: Fault) -> tuple[Found, list[str]]:
    with stage.load:
        with contextlib.suppress(NotHit):
            fault.act(stage)
        stage.wait_for(lambda: stage.load.is_done, "the client to send all calls", 300.0)
    return verdict_of(stage, fault, all_outcomes(stage))


def main() -> None:
    parser = argparse.ArgumentParser()
    for word in ("store", "pool", "acks", "fault", "folder"):
        parser.add_argument(word)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    fault, folder = FAULTS[asked.fault], Path(asked.folder)
    size = QUICK if asked.quick else LANES if asked.pool in LANE_POOLS else FULL
    began, found, wrong, logs = time.monotonic(), Found(0, 0), list[str](), ""
    with stage_of(asked.store, fault, POOLS[asked.pool], asked.acks, size, folder, asked.seed) as stage:
        try:
            found, wrong = run_cell(stage, fault)
        except BaseException as exc:
            found = Found(len(stage.run.calls), stage.hits, error=f"{type(exc).__name__}: {exc}".splitlines()[0][:300])
            wrong = traceback.format_exc().splitlines()
        logs = stage.run.logs() if found.is_wrong else ""
    if found.is_wrong:
        (folder / "wrong").write_text("\n".join([*wrong, "", logs]))
    print(json.dumps({**found.asdict(), "seconds": round(time.monotonic() - began, 1)}))
    sys.exit(1 if found.is_wrong else 0)


if __name__ == "__main__":
    main()
