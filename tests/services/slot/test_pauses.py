"""A slot whose queue is paused while it holds reservations of it: what runs finishes, the rest goes back unbegun."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.services.slot.world import NODE, PATIENCE_S, Gate, World

from sedano.contracts import Depth, OpenOptions, Pause
from sedano.worker.autoscale import DepthProbe
from sedano.worker.context import SlotOptions
from sedano.worker.link import StoreLink
from sedano.worker.settle import Settler


@pytest.fixture(params=["memory", "sqlite"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param == "sqlite" else None


def until(claim: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < ends_at
        time.sleep(0.005)


def test_given_calls_in_hand_when_their_queue_is_paused_then_only_the_running_one_is_finished(world: World) -> None:
    gate, ran = Gate(), list[str]()

    @world.task(name="quick")
    def quick(name: str) -> None:
        ran.append(name)

    @world.task(name="hold")
    def hold() -> None:
        gate.pass_through()

    world.start(window_s=10.0)  # much is reserved at once, whatever the machine
    world.wait_for(*((world.call("quick", f"warm{n}"), "SUCCESS") for n in range(5)))  # they are known to be short now
    world.wait_for((world.call("quick", "last"), "SUCCESS"))
    ran.clear()
    coordination = world.driver.open_coordination(world.url, OpenOptions())
    coordination.pause([Pause("celery", 1.0)])
    held = world.call("hold")
    waiting = [world.call("quick", name) for name in "abc"]
    coordination.resume(["celery"])  # all four are there when the slot looks: it reserves more than it begins
    gate.wait()
    until(lambda: world.depth().reserved == 3)

    coordination.pause([Pause("celery", 1.0)])
    gate.opened.set()
    world.wait_for((held, "SUCCESS"))
    until(lambda: world.depth().reserved == 0)
    counts = world.depth()
    assert (counts.ready, counts.reserved, counts.begun, ran) == (3, 0, 0, [])

    coordination.resume(["celery"])
    world.wait_for(*((task_id, "SUCCESS") for task_id in waiting))
    assert ran == ["a", "b", "c"]
    coordination.close()


def test_given_a_paused_queue_when_a_slot_has_another_then_it_goes_on_with_that_and_does_not_spin(world: World) -> None:
    @world.task(name="quick")
    def quick() -> None:
        pass

    coordination = world.driver.open_coordination(world.url, OpenOptions())
    coordination.pause([Pause("mail", 1.0)])
    for _ in range(3):
        world.call("quick", queue="mail")
    slot = world.start(queues=("mail", "celery"))
    world.wait_for((world.call("quick"), "SUCCESS"))
    turned_at = slot.row.turned_at
    world.wait_for((world.call("quick"), "SUCCESS"))
    assert slot.row.turned_at > turned_at
    assert (world.depth("mail").ready, world.depth("mail").paused) == (3, True)
    turned = set[float]()
    ends_at = time.monotonic() + 0.5
    while time.monotonic() < ends_at:
        turned.add(slot.row.turned_at)
        time.sleep(0.001)
    assert len(turned) < 20
    coordination.resume(["mail"])
    until(lambda: world.depth("mail") == Depth("mail", 0))
    coordination.close()


def test_given_a_paused_queue_full_of_calls_when_a_pool_asks_whether_to_grow_then_they_do_not_count(world: World) -> None:
    coordination = world.driver.open_coordination(world.url, OpenOptions())
    coordination.pause([Pause("mail", 1.0)])
    for name in ("mail", "mail", "celery"):
        world.call("quick", queue=name)
    settler = Settler(world.app, NODE, SlotOptions(queues=()))
    link = StoreLink(
        world.app.stores.open_broker, world.app.stores.open_results_if_on, settler.unstorable_pending, settler.finisher,
        url=world.url, loud=False,
    )  # fmt: skip
    told: queue.SimpleQueue[int] = queue.SimpleQueue()
    probe = DepthProbe(link, ["mail", "celery"], told.put)
    probe.rounds.start()
    try:
        probe.ask()
        assert told.get(timeout=PATIENCE_S) == 1
        coordination.resume(["mail"])
        probe.ask()
        assert told.get(timeout=PATIENCE_S) == 3
    finally:
        probe.rounds.stop()
        assert probe.rounds.join(PATIENCE_S)
        coordination.close()
