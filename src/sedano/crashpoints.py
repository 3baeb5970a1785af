"""Named points at which a test may kill a process; nothing in production.

A point is passed by `reach("slot.turn.before")`. The fault harness (`sedano.testing.faults`) arms one point for one process
role by environment, so that it reaches processes it did not start itself:

    SEDANO_CRASH_POINT   name of the point
    SEDANO_CRASH_HIT     which passing kills, counted in the process: 1 (the default) is the first
    SEDANO_CRASH_ACTION  "kill" (SIGKILL to itself, the default), "stop" (SIGSTOP), "raise" (`CrashPointReached`)
    SEDANO_CRASH_MARK    a file: the process creates it just before it acts; a file that exists already disarms the point,
                         so one run kills once however many processes pass the point

Unset, `reach` costs one function call.
"""

from __future__ import annotations

import contextlib
import os

POINTS: dict[str, str] = {
    # slot: one pool process
    "slot.started": "slot process runs, has not registered its lease yet",
    "slot.registered": "lease taken, nothing reserved",
    "slot.turn.before": "about to send a turn (settle, delay, begin, reserve in one step)",
    "slot.turn.after": "the store has answered the turn, nothing of the answer is used yet",
    "slot.call.before": "the call is marked started in the shared table, the task function is not entered",
    "slot.call.after": "the task function returned, nothing is marked",
    "slot.finished": "the settlement stands in the shared table, not in the store",
    "slot.results.before": "separate result store: broker step done, result not written",
    "slot.results.after": "separate result store: result written, pending record not deleted",
    "slot.chord.claimed": "the last part of a chord is counted, its body is not published",
    "slot.chord.sent": "a chord's body is published, nothing else is done",
    "slot.wait.before": "queue found empty, about to wait",
    "slot.stop.before": "asked to stop, what is unbegun is not handed back yet",
    # template
    "template.started": "template runs, has forked nothing",
    "template.fork.before": "asked for a slot, not forked",
    "template.fork.after": "slot forked, not reported",
    "template.reaped": "a slot's status is read, not reported to the supervisor",
    # supervisor
    "supervisor.started": "app loaded, template not forked",
    "supervisor.ready": "all slots ordered, node ready",
    "supervisor.renew.before": "about to renew the node's leases",
    "supervisor.renew.after": "leases renewed",
    "supervisor.promote.before": "about to move due calls to their queues",
    "supervisor.promote.after": "due calls moved",
    "supervisor.reap.before": "a lease has expired, not taken over",
    "supervisor.reap.after": "a dead owner's deliveries are ours, none settled",
    "supervisor.slotdeath.before": "a slot's death is known, nothing of it settled",
    "supervisor.slotdeath.taken": "the dead slot's deliveries are ours, none settled",
    "supervisor.slotdeath.after": "the dead slot's deliveries are settled or given back",
    "supervisor.handback.before": "the last node stops, delayed calls not handed back",
    # whoever fires: beat
    "schedules.fire.before": "ticks are about to be written: to be sent, or to be committed",
    "schedules.fire.stepped": "sqlite: the entries have stepped, their messages are not stored, nothing is committed",
    "schedules.fire.after": "ticks are written, whoever fired them does not know yet",
    # sender
    "sender.publish.before": "message built, not sent",
    "sender.publish.after": "the store confirmed the message",
}


class CrashPointReached(BaseException):
    """Raised at a crash point armed with SEDANO_CRASH_ACTION=raise."""


class _Armed:
    def __init__(self, name: str, hit: int, action: str, mark: str | None) -> None:
        if name not in POINTS:
            known = ", ".join(sorted(POINTS))
            raise ValueError(f"SEDANO_CRASH_POINT={name!r} is no crash point; known: {known}")
        if action not in ("kill", "stop", "raise"):
            raise ValueError(f"SEDANO_CRASH_ACTION={action!r}: use kill, stop or raise")
        self.name, self.left, self.action, self.mark = name, hit, action, mark

    def reach(self, name: str) -> None:
        if name != self.name:
            return
        self.left -= 1
        if self.left != 0 or not self._claim():
            return
        if self.action == "raise":
            raise CrashPointReached(name)
        import signal  # noqa: PLC0415 - of no use in production, where nothing is armed

        os.kill(os.getpid(), signal.SIGSTOP if self.action == "stop" else signal.SIGKILL)

    def _claim(self) -> bool:
        if self.mark is None:
            return True
        with contextlib.suppress(FileExistsError):
            mark = os.open(self.mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            os.write(mark, f"{os.getpid()} {self.name}\n".encode())
            os.close(mark)
            return True
        return False


def _from_environment() -> _Armed | None:
    name = os.environ.get("SEDANO_CRASH_POINT")
    if not name:
        return None
    return _Armed(
        name,
        int(os.environ.get("SEDANO_CRASH_HIT", "1")),
        os.environ.get("SEDANO_CRASH_ACTION", "kill"),
        os.environ.get("SEDANO_CRASH_MARK"),
    )


_armed = _from_environment()


def reach(name: str) -> None:
    """Pass the point `name` of `POINTS`. Does nothing unless a test armed it."""
    if _armed is not None:
        _armed.reach(name)
