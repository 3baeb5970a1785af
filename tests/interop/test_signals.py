"""Which signals the processes of a worker hear, and with what: as a real Celery's (recordings/signals-5.7.json).

Celery itself is not needed for it. What differs on purpose stands in `MISSING`, `EXTRA` and `SAME`, and in docs/differences.md.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.interop import signalling
from tests.interop.peers import engine
from tests.servers import RedisServer, is_left_out

RECORDED = json.loads((Path(__file__).parent / "recordings" / "signals-5.7.json").read_text(encoding="utf-8"))["plays"]

# (play, who) -> signals that Celery sends and we do not: a call that is ended from outside runs nothing after that, and is a
# failure once; a Reject is no failure.
MISSING = {
    ("calls", "hard limit (child)"): ["task_postrun"],
    ("calls", "hard limit (main)"): ["task_failure"],
    ("calls", "reject (main)"): ["task_failure"],
    ("calls", "terminated (child)"): ["task_postrun"],
    ("children", "cut off (child)"): ["task_postrun"],
    ("children", "cut off (main)"): ["task_retry"],
}
# ... and the other way round: what cannot be read is told of, and a cold end of the node is an end.
EXTRA = {
    ("calls", "not json (main)"): ["task_rejected"],
    ("children", "cut off (main)"): ["task_failure"],
    ("children", "main"): ["worker_shutdown"],
}
# Ours -> Celery's
SAME = {"ProcessPool": "AsynPool", "UnreadableMessage": None, "NotRegistered": "KeyError"}

PASSING = {"mandatory", "immediate", "origin"}
"""Arguments that a retry hands to Celery's publisher; the message does not carry them as properties."""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as started:
        yield started


def names(records: list[dict[str, Any]]) -> list[str]:
    return [record["signal"] for record in records]


def without(records: list[dict[str, Any]], left_out: list[str]) -> list[dict[str, Any]]:
    """All but the last record of each name in `left_out`."""
    kept, still = [], Counter(left_out)
    for record in reversed(records):
        if still[record["signal"]]:
            still[record["signal"]] -= 1
        else:
            kept.append(record)
    assert not +still, (left_out, names(records))
    return kept[::-1]


def same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours["signal"] == theirs["signal"]
    assert SAME.get(ours["sender"], ours["sender"]) == theirs["sender"], ours
    assert ours["args"].keys() == theirs["args"].keys(), ours["signal"]
    for name, value in theirs["args"].items():
        own = ours["args"][name]
        if name in ("options", "properties"):  # more than Celery's may be there
            assert set(value) - PASSING <= set(own), (ours["signal"], name)
        else:
            assert value == (SAME.get(own, own) if isinstance(own, str) else own), (ours["signal"], name)


@pytest.mark.parametrize("play", signalling.PLAYS)
def test_signals_come_as_from_celery(play: str, server: RedisServer, tmp_path: Path) -> None:
    theirs = RECORDED[play]

    ours = signalling.play(play, engine("sedano"), server, tmp_path / "stage")

    for who in sorted({*ours, *theirs}):
        if who.startswith("child"):
            continue
        mine = without(ours.get(who, []), EXTRA.get((play, who), []))
        wanted = without(theirs.get(who, []), MISSING.get((play, who), []))
        if (play, who) == ("logging", "main"):  # the pool solo begins after celeryd_after_setup here, before it there
            mine, wanted = (sorted(records, key=lambda record: record["signal"]) for records in (mine, wanted))
        assert names(mine) == names(wanted), who
        for pair in zip(mine, wanted, strict=True):
            same(*pair)


def test_pool_processes_tell_of_their_beginning_and_of_an_end_that_is_not_forced(server: RedisServer, tmp_path: Path) -> None:
    ours = signalling.play("children", engine("sedano"), server, tmp_path / "stage")

    children = [names(records) for who, records in sorted(ours.items()) if who.startswith("child")]
    assert children == [
        ["worker_process_init", "worker_process_shutdown"],
        ["worker_process_init", "worker_process_shutdown"],
        ["worker_process_init"],
    ]
    for who in ("child 1", "child 2"):
        for pair in zip(ours[who], RECORDED["children"][who], strict=True):
            same(*pair)
