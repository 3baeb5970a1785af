"""The drawing of a workflow: what each part does, and what it waits for."""

from __future__ import annotations

from sedano import states
from sedano.canvas.outline import Outline
from sedano.canvas.progress import Fact, Part, Summary, drawn, progress_of, summary_of

DONE = Fact(states.SUCCESS, "18:00:01")


def call(id_: str, task: str = "add") -> Outline:
    return Outline("call", id_, task)


def several(kind: str, id_: str, *parts: Outline) -> Outline:
    return Outline(kind, id_, parts=list(parts))


def lines(outline: Outline, facts: dict[str, Fact], *, everything: bool = False) -> list[str]:
    return drawn(progress_of(outline, facts), everything=everything)


def test_given_a_chain_when_a_step_runs_then_the_later_ones_wait_for_it() -> None:
    chain = several("chain", "", call("a"), call("b", "mul"), call("c"), call("d"))
    assert lines(chain, {"a": DONE, "b": Fact(message="running on w1@host")}) == [
        "chain running 1 of 4 over",
        "├─ 1. add a SUCCESS 18:00:01",
        "├─ 2. mul b running on w1@host",
        "├─ 3. add c waits for step 2",
        "└─ 4. add d waits for step 2",
    ]


def test_given_a_chord_in_a_chain_when_its_header_is_under_way_then_the_body_names_what_it_waits_for() -> None:
    header = [call(f"h{n}") for n in range(10)]
    workflow = several("chain", "", several("chord", "g", *header, call("body", "total")), call("last", "mul"))
    facts = {f"h{n}": DONE for n in range(5)} | {f"h{n}": Fact(message="queued in celery") for n in range(5, 10)}
    assert lines(workflow, facts) == [
        "chain running 5 of 12 over",
        "├─ 1. chord g running 5 of 11 over",
        "│  ├─ header: group g running 5 of 10 over",
        "│  │  ├─ add h0 SUCCESS 18:00:01",
        "│  │  ├─ add h1 SUCCESS 18:00:01",
        "│  │  ├─ add h2 SUCCESS 18:00:01",
        "│  │  ├─ … 2 more add SUCCESS",
        "│  │  ├─ add h5 queued in celery",
        "│  │  ├─ add h6 queued in celery",
        "│  │  ├─ add h7 queued in celery",
        "│  │  └─ … 2 more add queued",
        "│  └─ body: total body waits for 5 of 10 header tasks: h5, h6, h7 and 2 more",
        "└─ 2. mul last waits for step 1",
    ]
    assert sum("SUCCESS" in line for line in lines(workflow, facts, everything=True)) == 5
    assert not any("more" in line and "…" in line for line in lines(workflow, facts, everything=True))


def test_given_a_member_that_is_a_chain_when_the_body_waits_then_it_names_the_step_that_is_not_over() -> None:
    member = several("chain", "", call("first"), call("second"))
    chord = several("chord", "g", call("other"), member, call("body"))
    body = lines(chord, {"other": DONE, "first": DONE})[-1]
    assert body == "└─ body: add body waits for 1 of 2 header tasks: second"


def test_given_calls_in_every_place_when_drawn_then_each_says_where() -> None:
    facts = {
        "parked": Fact(message="parked until 18:10:00: no worker of celery knows its task"),
        "delayed": Fact(message="delayed until 18:05:00, then queued in celery"),
        "again": Fact(states.RETRY, error="KeyError('x')", message="delayed until 18:06:00, then queued in celery"),
        "dead": Fact(message="dead letter of celery: rejected: no"),
        "failed": Fact(states.FAILURE, "18:00:02", "ValueError('no'); kept as a dead letter"),
        "revoked": Fact(states.REVOKED, "18:00:03", "TaskRevokedError('cancelled')"),
        "started": Fact(states.STARTED, message="running on w1"),
    }
    group = several("group", "g", *(call(id_, id_) for id_ in facts), call("gone", "gone"))
    assert lines(group, facts) == [
        "group g FAILURE 2 of 8 over",
        "├─ parked parked parked until 18:10:00: no worker of celery knows its task",
        "├─ delayed delayed delayed until 18:05:00, then queued in celery",
        "├─ again again RETRY (delayed until 18:06:00, then queued in celery)",
        "├─ dead dead dead letter of celery: rejected: no",
        "├─ failed failed FAILURE 18:00:02 (ValueError('no'); kept as a dead letter)",
        "├─ revoked revoked REVOKED 18:00:03 (TaskRevokedError('cancelled'))",
        "├─ started started STARTED (running on w1)",
        "└─ gone gone sent (in no queue: on its way, run by a worker of another kind, or replaced by what it sent)",
    ]


def test_given_a_call_that_sent_others_when_drawn_then_they_stand_below_it() -> None:
    part = progress_of(call("a"), {"a": Fact(states.SUCCESS, sent=("b", "hidden"))})
    children = {"b": Part("call", "b", "mul", states.SUCCESS)}
    assert drawn(part, child=children.get) == ["add a SUCCESS", "└─ sent mul b SUCCESS"]


def test_given_nothing_begun_when_asked_then_the_whole_is_waiting() -> None:
    chain = several("chain", "", call("a"), call("b"))
    assert progress_of(chain, {"a": Fact(message="queued in celery")}).status == "waiting"
    assert progress_of(chain, {"a": DONE, "b": DONE}).status == states.SUCCESS


def test_given_the_states_of_all_calls_then_the_summary_is_one_word_and_two_numbers() -> None:
    said = {
        (states.SUCCESS, states.SUCCESS): Summary("done", 2, 2),
        (states.SUCCESS, states.PENDING): Summary("running", 1, 2),
        (states.PENDING, states.PENDING): Summary("waiting", 0, 2),
        (states.RETRY, states.PENDING): Summary("running", 0, 2),
        (states.FAILURE, states.REVOKED): Summary("failed", 2, 2),
        (states.SUCCESS, states.REVOKED): Summary("cancelled", 2, 2),
    }
    assert {given: summary_of(given) for given in said} == said
