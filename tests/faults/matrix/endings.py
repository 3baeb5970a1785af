"""Poison, and the way in which containers end."""

from __future__ import annotations

import signal
import time

from tests.faults.matrix.shapes import Fault
from tests.faults.matrix.stage import PATIENCE_S, NotHit, Stage

from sedano import states

CAP = 3


def poison(stage: Stage) -> None:
    """Calls that kill the process that runs them, every time. Where that is the node, somebody starts it again."""
    nodes = list(stage.two_nodes())
    calls = []
    for _ in range(stage.size.times(0.25)):
        stage.ends(20)
        calls.append(stage.run.send("die"))
    deadline = time.monotonic() + 2 * PATIENCE_S
    left = list(calls)
    while left:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(left)} of {len(calls)} poisonous calls have no outcome")
        nodes = [node if node.process.poll() is None else stage.node(small=True) for node in nodes]
        left = [task_id for task_id in left if stage.run.outcome(task_id, 0.1).state not in states.READY_STATES]
    starts = stage.run.ledger.starts()
    wanted = {CAP} if stage.run.acks == "late" else {1}
    if stage.run.acks == "late" and stage.place.rabbit is not None:
        wanted.update(range(1, CAP))  # the server says that it was delivered before, and not whether it was begun
    wrong = [starts[f"{task_id}:0"] for task_id in calls if starts[f"{task_id}:0"] not in wanted]
    if wrong:
        raise AssertionError(f"poison started {wrong} times, not {wanted}")
    stage.hit(len(calls))
    for number, node in enumerate(nodes):
        if node.process.poll() is not None:
            nodes[number] = stage.node(small=True)


def container(stage: Stage) -> None:
    """TERM, the grace period, KILL. One call runs longer than that."""
    gate = stage.run.folder / "gate"
    victim = stage.node().wait_ready(PATIENCE_S)
    held = stage.run.send("hold", str(gate))
    stage.wait_for(lambda: bool(stage.run.ledger.starts()[f"{held}:0"]), "the long call to start")
    stage.node(small=True).wait_ready(PATIENCE_S)
    victim.signal(signal.SIGTERM)
    time.sleep(stage.size.grace_s)  # the grace period
    if victim.process.poll() is not None:
        raise NotHit
    victim.kill()
    stage.hit()
    gate.touch()


FAULTS = [
    Fault("poison", "calls that kill their process every time", poison, deliveries=CAP, must_interrupt=True),
    Fault("container", "TERM, a grace period, KILL under load", container, must_interrupt=True),
]
