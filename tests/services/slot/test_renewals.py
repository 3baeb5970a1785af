"""A lease that looks old when a turn is over, because the store stood still: the renewal that is on its way is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from tests.services.slot.world import PATIENCE_S, RunningSlot, World

from sedano.contracts import Delivery
from sedano.worker.intake import Decision, Intake


def aging(slot: Callable[[], RunningSlot], seen: list[str], renew: bool) -> Callable[[Intake, Delivery, float], Decision]:
    """`Intake.decide`, in which the lease of the slot grows old at the first delivery, and is renewed soon after if `renew`."""
    decide = Intake.decide

    def decide_late(self: Intake, delivery: Delivery, now: float) -> Decision:
        if not seen:
            row = slot().row
            fresh, row.renewed_at = row.renewed_at, row.renewed_at - PATIENCE_S
            if renew:
                threading.Timer(0.3, setattr, (row, "renewed_at", fresh)).start()
        seen.append(delivery.tag)
        return decide(self, delivery, now)

    return decide_late


def test_given_a_lease_that_looks_old_after_a_turn_when_it_is_renewed_soon_then_the_call_is_run_and_not_given_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.task(name="quick")(lambda: None)
    seen: list[str] = []
    monkeypatch.setattr(Intake, "decide", aging(lambda: slot, seen, renew=True))
    slot = world.start(lease_s=PATIENCE_S)
    task_id = world.call("quick")
    world.wait_for((task_id, "SUCCESS"))
    assert len(seen) == 1


def test_given_a_lease_that_looks_old_after_a_turn_when_nobody_renews_it_then_the_call_is_given_back_unrun(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.task(name="quick")(lambda: None)
    seen: list[str] = []
    monkeypatch.setattr(Intake, "decide", aging(lambda: slot, seen, renew=False))
    slot = world.start(lease_s=2.0)
    task_id = world.call("quick")
    deadline = threading.Event()
    for _ in range(int(PATIENCE_S / 0.05)):
        if seen and world.depth().ready == 1:
            break
        deadline.wait(0.05)
    assert (world.state(task_id), world.depth().ready, len(seen)) == ("PENDING", 1, 1)
