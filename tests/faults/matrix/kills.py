"""kill -9: of each kind of process and of whole nodes, at random moments and at the named points."""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial

from tests.faults.matrix.shapes import Fault
from tests.faults.matrix.stage import PATIENCE_S, Stage
from tests.faults.points import GROUPS, SEPARATE, hit_of

from sedano.testing.faults import CrashAt
from sedano.testing.node import Node, NodeError

BIRTHS = ["--max-tasks-per-child", "5"]


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def slots_of(node: Node, stage: Stage) -> list[int]:
    """Its slots, waiting for them when they are just being born again."""
    found: list[int] = []

    def are_there() -> bool:
        with contextlib.suppress(NodeError):
            found[:] = node.slots()
        return bool(found)

    stage.wait_for(are_there, "slots to be born")
    return found


def kill_slots(stage: Stage) -> None:
    nodes = stage.two_nodes()
    for number in range(2 * stage.size.kills):
        stage.ends_some()
        kill(stage.random.choice(slots_of(nodes[number % 2], stage)))
        stage.hit()


def kill_templates(stage: Stage) -> None:
    nodes = stage.two_nodes()
    for number in range(stage.size.times(0.7)):
        stage.ends_some()
        node = nodes[number % 2]
        slots_of(node, stage)
        kill(node.template())
        stage.hit()


def kill_supervisors(stage: Stage) -> None:
    """What starts it again is there at once, as a service manager is."""
    nodes = list(stage.two_nodes())
    for number in range(stage.size.times(0.5)):
        stage.ends_some()
        kill(nodes[number % 2].pid)
        stage.hit()
        nodes[number % 2].wait()
        nodes[number % 2] = stage.node().wait_ready(PATIENCE_S)


def kill_nodes(stage: Stage) -> None:
    nodes = list(stage.two_nodes())
    for number in range(stage.size.times(0.5)):
        stage.ends_some()
        nodes[number % 2].kill()
        stage.hit()
        nodes[number % 2] = stage.node().wait_ready(PATIENCE_S)


def kill_fleet(stage: Stage) -> None:
    """All nodes at the same moment: nobody is left who could notice."""
    for _ in range(stage.size.times(0.25)):
        nodes = stage.two_nodes()
        stage.ends_some()
        for node in nodes:
            node.signal_all(signal.SIGKILL)
        stage.hit()
        for node in nodes:
            node.wait()
    stage.two_nodes()


def kill_at(stage: Stage, points: list[str]) -> None:
    """Victims, each armed with one of `points`, beside two nodes that survive."""
    stage.two_nodes()
    rounds = range(stage.size.times(0.2))
    crashes = [CrashAt(point, stage.run.folder, hit=hit_of(point, round_)) for round_ in rounds for point in points]
    for crash in crashes:
        options = tuple(BIRTHS) if stage.pool.parts else ()
        victim = stage.node(small=True, crash=crash, options=options)
        stage.wait_for(partial(reached, victim, crash, stage), crash.point)
        stage.hit()
        if victim.process.poll() is None:
            victim.signal(signal.SIGTERM)


def have_started(task_ids: list[str], stage: Stage) -> bool:
    starts = stage.run.ledger.starts()
    return all(starts[f"{task_id}:0"] for task_id in task_ids)


def reached(victim: Node, crash: CrashAt, stage: Stage) -> bool:
    """Whether the victim was killed at its point. Some points are passed only when a slot has died: sees to that too."""
    if crash.reached():
        return True
    if crash.point.startswith(("supervisor.slotdeath", "template.reaped")):
        with contextlib.suppress(NodeError):
            for slot in victim.slots():
                if stage.run.ledger.knows(slot):  # one that is just being born holds nothing yet
                    kill(slot)
    return False


def kill_at_slot_points(stage: Stage) -> None:
    groups = ["slot-start", "slot-turn", "slot-call"] if stage.pool.parts else ["slot-turn", "slot-call"]
    points = [point for group in groups for point in GROUPS[group]]
    kill_at(stage, [*points, *SEPARATE] if stage.place.results else points)


def kill_at_template_points(stage: Stage) -> None:
    kill_at(stage, GROUPS["template"])


def kill_at_supervisor_points(stage: Stage) -> None:
    if stage.pool.parts:
        kill_at(stage, [*GROUPS["supervisor-life"], *GROUPS["supervisor-work"]])
    else:
        kill_at(stage, [*GROUPS["supervisor-life"], *GROUPS["supervisor-work"][:2]])


def kill_reapers(stage: Stage) -> None:
    """The nodes that are to take over what dead ones held die of it themselves."""
    for _ in range(stage.size.times(0.2)):
        nodes = stage.two_nodes()
        folder = stage.run.folder / f"reapers-{stage.hits}"
        folder.mkdir()
        crashes = [CrashAt(point, folder) for point in GROUPS["reaper"]]
        gate = folder / "gate"
        if stage.place.results:  # there a node leaves something only when it dies with a call that is begun
            held = [stage.run.send("hold", str(gate)) for _ in range(stage.pool.slots + stage.pool.few)]
            stage.wait_for(partial(have_started, held, stage), "calls that are held to start")
        reapers = [stage.node(small=True, crash=crash).wait_ready(PATIENCE_S) for crash in crashes]
        stage.ends(5)
        for node in nodes:
            node.kill()
        gate.touch()
        for reaper in reapers:
            reaper.wait(PATIENCE_S)
        assert all(crash.reached() for crash in crashes)
        stage.hit(len(crashes))
    stage.two_nodes()


FAULTS = [
    Fault("kill-slot", "kill -9 of pool processes, at random moments", kill_slots, part="slot", must_interrupt=True),
    Fault("kill-template", "kill -9 of the template", kill_templates, part="template", must_interrupt=True),
    Fault("kill-supervisor", "kill -9 of the supervisor", kill_supervisors, part="supervisor", must_interrupt=True),
    Fault("kill-node", "kill -9 of a whole node", kill_nodes, must_interrupt=True),
    Fault("kill-fleet", "kill -9 of all nodes at once", kill_fleet, must_interrupt=True),
    Fault("points-slot", "kill -9 at each named point of a slot", kill_at_slot_points),
    Fault(
        "points-template", "kill -9 at each named point of the template", kill_at_template_points, part="template", beside=True
    ),
    Fault("points-supervisor", "kill -9 at each named point of the supervisor", kill_at_supervisor_points, beside=True),
    Fault(
        "points-reaper",
        "kill -9 of the nodes that take over from a dead one",
        kill_reapers,
        beside=True,
        early_only=("rabbitmq",),  # what was not acknowledged the server itself takes over
    ),
]
