"""A call that ends in the very moment in which it is revoked keeps its outcome."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC
from typing import Any

import pytest

from sedano.app.lamport import LamportClock
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Begin, OpenOptions, Results
from sedano.drivers import memory
from sedano.protocol.results import decode_meta
from sedano.testing.contracts.harness import Slot
from sedano.testing.contracts.messages import batch, result, settlement
from sedano.worker.control.revokes import Revokes
from sedano.worker.control.stores import ControlStores
from sedano.worker.records import Records
from sedano.worker.table import SharedTable
from sedano.worker.terms import ResultTerms

NODE = "w1@test"
FAILED = b'{"status": "FAILURE", "result": {"exc_type": "LookupError", "exc_message": ["no"], "exc_module": "builtins"}}'


class Eventful:
    """A result store in which something happens just after its first question is answered."""

    def __init__(self, results: Results, happens: Callable[[], None]) -> None:
        self._results, self._happens = results, [happens]

    def fetch(self, ids: Sequence[str]) -> list[bytes | None]:
        answer = self._results.fetch(ids)
        while self._happens:
            self._happens.pop()()
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._results, name)


@pytest.fixture
def url() -> Iterator[str]:
    url = f"memory://{uuid.uuid4().hex}"
    yield url
    memory.forget_store(url)


@pytest.mark.parametrize(
    ("shared", "is_told"), [(True, True), (False, True), (False, False)], ids=["one store", "two stores", "on its way"]
)
def test_given_a_running_call_when_it_ends_while_it_is_revoked_then_its_result_stays(
    url: str, shared: bool, is_told: bool
) -> None:
    options = OpenOptions(results_url=url if shared else None)
    table = SharedTable.create(1)
    with closing(memory.open_broker(url, options)) as broker, closing(memory.open_results(url, OpenOptions())) as results:
        slot = Slot(broker, broker.register("slot", NODE))
        broker.publish(batch("q", ["ends", "waits"]))
        (running,) = slot.turn(reserve=1, queues=["q"]).reserved
        slot.turn(begin=[Begin(running.tag, True)])

        def end() -> None:
            done = settlement(running, result=result("ends", FAILED))
            assert slot.turn(settle=[done]).refused == []
            if not shared and is_told:
                assert done.result is not None
                results.store([done.result])
                slot.turn(stored=["ends:0"])

        stores = ControlStores(
            lambda: memory.open_broker(url, options),
            lambda: memory.open_coordination(url, OpenOptions()),
            lambda: Eventful(results, end),  # type: ignore[arg-type,return-value]
        )
        records = Records(ResultTerms(True, "json", None, None, None, 60.0, False), NODE, UTC, SYSTEM_CLOCK)
        revokes = Revokes(NODE, table, stores, lambda ids, signum: [], records, LamportClock().forward)
        revokes.revoke(["ends", "waits"])

        states = [payload and decode_meta(payload)["status"] for payload in results.fetch(["ends", "waits"])]
        assert states == ["FAILURE" if is_told else None, "REVOKED"]
    table.close()
