"""What becomes of a delivery whose owner died: one table.

    stood       started?   ack mode   explicit reject_on_worker_lost   cap reached   verdict
    reserved    -          -          -                                -             RELEASE   head of its queue, uncounted
    begun       no         -          -                                -             UNBEGIN   head of its queue, uncounted
    begun       yes/unknown early     -                                -             LOST      FAILURE, WorkerLostError
    begun       yes/unknown late      False (Celery's behaviour)       -             LOST
    begun       yes/unknown late      unset or True                    no            REDELIVER tail, counted
    begun       yes/unknown late      unset or True                    yes           POISON    dead letter, FAILURE

*Unknown* is what a reaper on another node sees: it has no table that tells which call of a window was running. Counting a
begun late call that did not start costs one of `task_max_deliveries`; giving an early call out again could run it twice.
"""

from __future__ import annotations

import enum


class LossVerdict(enum.StrEnum):
    RELEASE = "release"
    UNBEGIN = "unbegin"
    LOST = "lost"
    REDELIVER = "redeliver"
    POISON = "poison"


def judge(
    *,
    begun: bool,
    early: bool,
    started: bool | None,
    deliveries: int,
    max_deliveries: int,
    reject_on_worker_lost: bool | None = None,
) -> LossVerdict:
    """The verdict for one delivery of a dead owner.

    `started` None means unknown. `deliveries` counts the losses before this one; with `max_deliveries` 5 the fifth loss
    is the last. `max_deliveries` 0 or less: no cap.
    """
    if not begun:
        return LossVerdict.RELEASE
    if started is False:
        return LossVerdict.UNBEGIN
    if early or reject_on_worker_lost is False:
        return LossVerdict.LOST
    if 0 < max_deliveries <= deliveries + 1:
        return LossVerdict.POISON
    return LossVerdict.REDELIVER
