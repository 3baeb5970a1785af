"""What finishing a huge chord holds in memory."""

from __future__ import annotations

import tracemalloc

from tests.apps import MakeApp, make_app

from sedano.contracts import ChordReady
from sedano.protocol import results
from sedano.worker.claims import encode_claim
from sedano.worker.context import SlotOptions
from sedano.worker.settle import Settler

__all__ = ["make_app"]

PARTS, SIZE = 1000, 4000


def test_given_a_huge_header_when_its_body_is_sent_then_its_results_are_not_held_as_parts_and_as_values_at_once(
    make_app: MakeApp,
) -> None:
    app = make_app()
    total = app.task(name="total")(len)
    finisher = Settler(app, "node@host", SlotOptions(("celery",))).finisher
    ready = ChordReady("g", encode_claim({**total.s(), "options": {"task_id": "body"}}, "last", "root", None))

    def peak_of_finishing() -> int:
        parts = [results.chord_part_payload(f"id{n}", "SUCCESS", f"{n:{SIZE}}", "json") for n in range(PARTS)]
        tracemalloc.reset_peak()
        (sent,) = finisher.finish(ready, parts).messages_out
        assert len(sent.message.body) > PARTS * SIZE
        assert parts == []
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        peak_of_finishing()  # what is made once
        before = tracemalloc.get_traced_memory()[0]
        peak = peak_of_finishing() - before
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * PARTS * SIZE  # the values and the message made of them
