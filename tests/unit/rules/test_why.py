"""From facts about a call to the reasons why it does not run."""

from __future__ import annotations

from typing import Any

import pytest

from sedano.rules.why import CallFacts, Runs, Why, why

NOW = 1000.0
ASKED: dict[str, Any] = {"asked": True, "nodes": ["a", "b"], "consumers": ["a", "b"], "knowing": ["a"]}
READY: dict[str, Any] = {"where": "ready", "queue": "q", "ahead": 2, "ready": 10, **ASKED}


def told(**facts: Any) -> Why:
    return why(CallFacts(id="i", now=NOW, **{"task": "t", **facts}), lambda moment: f"@{moment:g}")


@pytest.mark.parametrize(
    ("facts", "codes", "first"),
    [
        ({"state": "SUCCESS", "done": "noon"}, ["succeeded"], "it succeeded at noon"),
        ({"state": "FAILURE", "error": "E()"}, ["failed"], "it failed: E()"),
        ({"state": "FAILURE", "where": "dead", "queue": "q", "detail": "d"}, ["failed", "dead"], None),
        ({"state": "REVOKED", "error": "r", "where": "ready", "queue": "q"}, ["revoked", "left"], "it was revoked: r"),
        ({"where": "dead", "queue": "q", "detail": "poison: lost 5 times"}, ["dead"], None),
        ({"runs": Runs("a", 5.0, 7)}, ["running"], "it runs on a since @5, process 7"),
        ({"runs": Runs("a"), "state": "REVOKED"}, ["running"], "it runs on a"),
        ({"runs": Runs("a"), "revoked": "by its id"}, ["running", "revoked"], None),
        (
            {"where": "reserved", "queue": "q", "node": "a", "behind": Runs("a", 5.0, 7, "j", "u")},
            ["reserved"],
            "a has taken it and runs u[j] before it since @5",
        ),
        ({"where": "reserved", "node": "a"}, ["reserved"], "a has taken it and does not run it yet"),
        ({"where": "reserved", "node": "a", "rate": "1/m"}, ["rate-limited"], None),
        ({"where": "reserved", "node": "a", "silent": ["a"]}, ["reserved", "silent"], None),
        (
            {"where": "reserved", "node": "a", "queue": "q", "pause": "noon", "revoked": "x"},
            ["reserved", "revoked", "paused"],
            None,
        ),
        ({"where": "begun", "node": "a"}, ["begun"], "a has begun it"),
        ({"where": "taken", "held_by_celery": "c"}, ["taken"], "c, a Celery worker, has it: it runs there, or will"),
        ({"where": "taken", "eta": 2000.0}, ["delayed"], "a Celery worker has taken it, and it is delayed until @2000"),
        ({"where": "taken"}, ["taken"], "a Celery worker has taken it: it runs there, or will"),
        ({"where": "delayed", "due": 2000.0, "eta": 2000.0, **ASKED}, ["delayed"], "it is delayed until @2000"),
        ({"where": "delayed", "due": 900.0, **ASKED}, ["delayed"], "it is delayed until @900, which is now"),
        ({"where": "delayed", "due": 2000.0, "retries": 2, "eta": 2000.0, **ASKED}, ["retry"], None),
        (
            {"where": "delayed", "due": 2000.0, "rate": "1/m", **ASKED},
            ["rate-limited"],
            "the rate limit of t, 1/m, holds it until @2000",
        ),
        ({"where": "delayed", "due": 2000.0, "rate": "1/m", "eta": 2000.0, **ASKED}, ["delayed"], None),
        ({"where": "delayed", "due": 2000.0, "expires": 1500.0, **ASKED}, ["expires", "delayed"], None),
        ({"where": "delayed", "due": 2000.0, "revoked": "by its id", **ASKED}, ["revoked", "delayed"], None),
        ({"where": "delayed", "due": 2000.0, "queue": "q", "pause": "noon", **ASKED}, ["delayed", "paused"], None),
        ({"where": "delayed", "due": 2000.0, "queue": "q", "asked": True}, ["delayed", "no-worker"], None),
        (
            {"where": "parked", "due": 2000.0, "queue": "q", **ASKED, "knowing": []},
            ["parked"],
            None,
        ),
        (READY, ["queued"], "it waits in q at place 3 of 10; 2 workers read it"),
        ({**READY, "ready": 1}, ["queued"], "it waits in q at place 3; 2 workers read it"),
        ({**READY, "rate": "1/m"}, ["queued", "rate-limit"], None),
        ({**READY, "pause": "noon by me"}, ["paused", "queued"], "q is paused since noon by me"),
        ({**READY, "consumers": []}, ["no-worker", "queued"], "no worker that answers reads q"),
        (
            {**READY, "consumers": [], "silent": ["z"]},
            ["no-worker", "queued"],
            "no worker that answers reads q (z did not answer)",
        ),
        ({**READY, "knowing": ["other"]}, ["unknown-task", "queued"], None),
        ({**READY, "expires": 999.0}, ["expires", "queued"], None),
        ({**READY, "asked": False, "consumers": []}, ["queued"], "it waits in q at place 3 of 10"),
        (
            {**READY, "knowing": [], "pause": "noon", "revoked": "x", "expires": 1.0},
            ["revoked", "expires", "paused", "unknown-task", "queued"],
            None,
        ),
        ({"waits_for": "waits for step 1", "workflow": "w"}, ["waits"], "it is part of the workflow w and waits for step 1"),
        ({"looked": ["here", "there"]}, ["unknown"], "it was found nowhere. Looked at: here; there"),
        ({"state": "STARTED", "silent": ["z"], "revoked": "x"}, ["unknown", "revoked", "silent"], None),
        ({"is_whole": False}, ["unknown", "partly"], None),
        ({"is_whole": False, "state": "SUCCESS"}, ["succeeded"], None),
    ],
)
def test_facts_become_reasons_the_weightiest_first(facts: dict[str, Any], codes: list[str], first: str | None) -> None:
    answer = told(**facts)
    assert [reason.code for reason in answer.reasons] == codes
    assert first is None or answer.reasons[0].text == first
    assert answer.lines()[0] == f"i t: {codes[0]}"


def test_what_must_be_done_by_somebody_is_told_apart() -> None:
    assert told(**READY, pause="noon").is_blocked
    assert not told(**READY).is_blocked
    assert told(state="REVOKED").is_over
    assert not told(where="delayed", due=2000.0).is_over
