"""The named crash points, in the groups in which tests arm them, and at which passing they kill."""

from __future__ import annotations

# Points are grouped so that one run serves several victims.
GROUPS = {
    "slot-start": ["slot.started", "slot.registered", "slot.wait.before", "slot.stop.before"],
    "slot-turn": ["slot.turn.before", "slot.turn.after", "slot.finished"],
    "slot-call": ["slot.call.before", "slot.call.after"],
    "template": ["template.started", "template.fork.before", "template.fork.after", "template.reaped"],
    "supervisor-life": ["supervisor.started", "supervisor.ready", "supervisor.renew.before", "supervisor.renew.after"],
    "supervisor-work": [
        "supervisor.promote.before",
        "supervisor.promote.after",
        "supervisor.slotdeath.before",
        "supervisor.slotdeath.taken",
        "supervisor.slotdeath.after",
    ],
    "reaper": ["supervisor.reap.before", "supervisor.reap.after"],
}
SEPARATE = ["slot.results.before", "slot.results.after"]
CHORDS = ["slot.chord.claimed", "slot.chord.sent"]
FIRING = ["schedules.fire.before", "schedules.fire.stepped", "schedules.fire.after"]
ELSEWHERE = ["sender.publish.before", "sender.publish.after", "supervisor.handback.before", *CHORDS, *FIRING]

# Points that one process passes many times: later rounds kill at a later passing. The others kill at the first.
OFTEN = ("slot.turn", "slot.call", "slot.finished", "slot.results", "slot.wait", "template.fork", "template.reaped")
SOMETIMES = ("supervisor.renew", "supervisor.promote", "supervisor.slotdeath")


def hit_of(point: str, round_: int) -> int:
    if point.startswith(OFTEN):
        return 1 + 2 * round_ if point.startswith("slot") else 1 + round_ % 4
    return 1 + round_ % 3 if point.startswith(SOMETIMES) else 1
