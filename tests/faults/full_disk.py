"""Run by its test in a mount namespace of its own: a store on a disk of a few MB, which is filled and gets room again."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.arena import arena, check

from sedano.exceptions import StoreFull
from sedano.testing.room import full_disk


def main(disk: Path, folder: Path, acks: str) -> None:
    url = f"sqlite:///{disk}/store.db"
    with arena(folder, url, url, acks) as run:
        node = run.node("worker", concurrency=2).wait_ready()
        run.send("work")
        check(run)
        with full_disk(disk):
            # The worker settles and sends its results into a full disk; the sender is told.
            refused = 0
            while refused < 5:
                try:
                    run.send("work", 0.0, argsrepr="x" * 20_000)
                except StoreFull as exc:
                    refused += 1
                    print(exc)
            accepted = len(run.calls)
            time.sleep(7)  # the fault itself: longer than a lease, and than a slot keeps trying a result that does not fit
        for _ in range(30):
            run.send("work", 0.0, argsrepr="x" * 20_000)
        check(run)
        print(accepted, "accepted before")
        assert node.process.poll() is None


main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
