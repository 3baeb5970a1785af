"""The soak, for some seconds; and that it sees what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.faults.soak import gauges
from tests.faults.soak.mixture import KINDS, Kind, Mixture, Sent
from tests.faults.soak.soaking import run_soak
from tests.servers import is_left_out

from sedano import Sedano
from sedano.exceptions import WorkerLostError
from sedano.testing.ledger import Ledger

SECONDS = 15.0


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_given_mixed_calls_and_a_kill_every_second_then_nothing_is_lost_and_nothing_grows(store: str) -> None:
    if is_left_out(store):
        pytest.skip(f"SEDANO_WITHOUT names {store}")
    report = run_soak(store, SECONDS, pause_s=1.0, seed=1)
    if not report.is_good:
        pytest.fail("\n".join([report.text, *report.logs.splitlines()[-60:]]), pytrace=False)
    assert report.tally.interrupted + report.tally.recorded + report.tally.again, f"no kill hit a call that ran\n{report.text}"


@pytest.fixture
def mixture(tmp_path: Path) -> Mixture:
    """Of a store that holds what the test writes."""
    return Mixture(Sedano("soak", broker="memory://", backend="memory://", set_as_current=False), tmp_path / "ledger", 1)


def end(mixture: Mixture, folder: Path, kind: Kind, value: Any, state: str, *, starts: int = 1, ends: int = 1) -> None:
    """A call of this kind has ended so."""
    sent = Sent("a", kind, 0.0)
    mixture.waiting["a"] = sent
    mixture.tally.sent += 1
    for _ in range(starts):
        Ledger(folder / "ledger").start("a:0")
    for _ in range(ends):
        Ledger(folder / "ledger").end("a:0")
    mixture._app.backend.store_result("a", value, state)
    mixture.look()


EARLY, LATE = Kind("work", 1), Kind("work_late", 1)


@pytest.mark.parametrize(
    ("kind", "value", "state", "starts", "ends", "wanted"),
    [
        (EARLY, "a", "SUCCESS", 1, 1, {}),
        (EARLY, "a", "SUCCESS", 0, 0, {"lost": 1}),
        (EARLY, "a", "SUCCESS", 2, 2, {"repeated": 1}),
        (EARLY, WorkerLostError("killed"), "FAILURE", 1, 0, {"recorded": 1, "interrupted": 1}),
        (EARLY, KeyError("what"), "FAILURE", 1, 1, {"lost": 1}),
        (LATE, "a", "SUCCESS", 2, 1, {"again": 1, "interrupted": 1}),
        (LATE, WorkerLostError("killed"), "FAILURE", 1, 0, {"lost": 1, "interrupted": 1}),
        (Kind("fail", 1, error="ValueError"), ValueError("as asked"), "FAILURE", 1, 1, {}),
        (Kind("large", 1), "xx", "SUCCESS", 1, 1, {"lost": 1}),
    ],
)
def test_given_an_outcome_then_it_is_counted_for_what_it_is(
    mixture: Mixture, tmp_path: Path, kind: Kind, value: Any, state: str, starts: int, ends: int, wanted: dict[str, int]
) -> None:
    end(mixture, tmp_path, kind, value, state, starts=starts, ends=ends)
    tally = mixture.close()
    counted = {name: getattr(tally, name) for name in ("lost", "repeated", "stuck", "recorded", "again", "interrupted")}
    assert {name: count for name, count in counted.items() if count} == wanted
    assert tally.is_good is not ({"lost", "repeated"} & wanted.keys() != set())


def test_given_a_call_without_an_outcome_then_it_is_stuck(mixture: Mixture) -> None:
    mixture.waiting["a"] = Sent("a", EARLY, 0.0)
    mixture.tally.sent += 1
    assert mixture.close().stuck == 1


def test_given_a_series_that_grows_then_that_is_said_and_noise_is_not() -> None:
    flat = [{"supervisor memory": 30_000.0 + 100 * (number % 5), "store keys": 40.0} for number in range(40)]
    assert gauges.growth(flat) == []
    growing = [{"supervisor memory": 30_000.0, "store keys": 40.0 + 50 * number} for number in range(40)]
    (said,) = gauges.growth(growing)
    assert said.startswith("store keys has grown from")
    assert gauges.too_much_at_rest({"store keys": 40.0}) == []
    assert gauges.too_much_at_rest({"store keys": 400.0}) == ["400 keys or rows are left when all is done"]


def test_half_of_the_mixture_is_late_ack() -> None:
    assert sum(kind.share for kind in KINDS if kind.is_late) == sum(kind.share for kind in KINDS) / 2
