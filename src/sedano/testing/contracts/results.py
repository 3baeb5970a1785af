"""The suite of `contracts/results.py`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from sedano.contracts import Outcome, Results, ResultStream
from sedano.testing.contracts.harness import LONG_WAIT_S, PROMPT_S, StoreUnderTest, race
from sedano.testing.contracts.messages import batch, chord_part, result, settlement


class RecordContract:
    def test_given_records_when_fetched_then_they_come_in_the_order_asked_with_gaps_shown(self, store: StoreUnderTest) -> None:
        results = store.results()
        assert results.store([result("a", b"A"), result("b", b"B")]) == []
        assert store.results().fetch(["b", "missing", "a", "b"]) == [b"B", None, b"A", b"B"]
        assert results.fetch([]) == []

    def test_given_nothing_to_store_when_stored_then_nothing_happens(self, store: StoreUnderTest) -> None:
        assert store.results().store([]) == []

    def test_given_a_record_when_written_again_then_the_later_one_counts(self, store: StoreUnderTest) -> None:
        results = store.results()
        results.store([result("a", b"STARTED")])
        results.store([result("a", b"RETRY"), result("a", b"SUCCESS")])
        assert results.fetch(["a"]) == [b"SUCCESS"]

    @pytest.mark.parametrize("later", [b'{"status": "STARTED"}', b'{"status": "RETRY"}', b'{"status":"FAILURE"}'])
    @pytest.mark.parametrize("success", [b'{"status": "SUCCESS", "result": 5}', b'{"status":"SUCCESS","result":5}'])
    def test_given_a_success_when_another_state_is_written_then_it_stays_with_its_time(
        self, store: StoreUnderTest, success: bytes, later: bytes
    ) -> None:
        results = store.results()
        results.store([result("a", success), result("b", later), result("b", success)])
        results.store([result("a", later, ttl_s=1.0), result("b", later, ttl_s=1.0)])
        store.pass_time(1.2)
        assert results.fetch(["a", "b"]) == [success, success]

    def test_given_a_success_when_another_success_or_unknown_bytes_are_written_then_the_later_counts(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        for later in (b'{"status": "SUCCESS", "result": 6}', b"\x80\x04pickled", b""):
            results.store([result("a", b'{"status": "SUCCESS", "result": 5}')])
            results.store([result("a", later)])
            assert results.fetch(["a"]) == [later]

    def test_given_a_success_whose_time_is_over_when_another_state_is_written_then_that_counts(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        results.store([result("a", b'{"status": "SUCCESS", "result": 5}', ttl_s=1.0)])
        store.pass_time(1.2)
        results.store([result("a", b'{"status": "STARTED"}')])
        assert results.fetch(["a"]) == [b'{"status": "STARTED"}']

    def test_given_a_success_when_a_later_run_is_settled_as_a_failure_then_it_stays(self, store: StoreUnderTest) -> None:
        slot, results = store.slot(), store.results()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        results.store([result("a", b'{"status": "SUCCESS", "result": 5}')])
        failure = settlement(delivery, outcome=Outcome.FAILURE, result=result("a", b'{"status": "FAILURE"}'))
        assert slot.settle(failure).refused == []
        assert results.fetch(["a"]) == [b'{"status": "SUCCESS", "result": 5}']

    def test_given_the_same_write_again_when_fetched_then_nothing_has_changed(self, store: StoreUnderTest) -> None:
        results = store.results()
        for _ in range(3):
            results.store([result("a", b"A")])
        assert results.fetch(["a"]) == [b"A"]
        assert results.forget(["a"]) == 1

    @pytest.mark.parametrize(
        "payload", [b"", bytes(range(256)), b"\0celery-compressed\0application/x-gzip\0...", b"x" * 5_000_000]
    )
    def test_given_any_bytes_when_stored_then_they_are_fetched_unchanged(self, store: StoreUnderTest, payload: bytes) -> None:
        results = store.results()
        results.store([result("a", payload)])
        assert results.fetch(["a"]) == [payload]

    @pytest.mark.parametrize("task_id", ["ünïcödé", "with space", "star*", "a:b", "x" * 500, "'; --"])
    def test_given_an_odd_task_id_when_stored_then_it_is_an_id_like_any_other(
        self, store: StoreUnderTest, task_id: str
    ) -> None:
        results = store.results()
        results.store([result(task_id, b"A"), result("star1", b"B")])
        assert results.fetch([task_id, "star1"]) == [b"A", b"B"]
        assert results.forget([task_id]) == 1
        assert results.fetch([task_id, "star1"]) == [None, b"B"]

    def test_given_a_thousand_records_when_stored_and_fetched_at_once_then_all_are_there(self, store: StoreUnderTest) -> None:
        results = store.results()
        names = [f"call-{number}" for number in range(1000)]
        results.store([result(name, name.encode()) for name in names])
        assert results.fetch(names) == [name.encode() for name in names]

    def test_given_records_when_forgotten_then_they_are_gone_and_counted(self, store: StoreUnderTest) -> None:
        results = store.results()
        results.store([result("a"), result("b"), result("c")])
        assert results.forget(["a", "missing", "b"]) == 2
        assert results.forget(["a"]) == 0
        assert results.forget([]) == 0
        assert [payload is None for payload in results.fetch(["a", "b", "c"])] == [True, True, False]

    def test_given_a_record_when_its_time_is_over_then_it_is_gone_and_one_without_a_time_stays(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        results.store([result("short", b"S", ttl_s=1.0), result("long", b"L", ttl_s=3600.0), result("ever", b"E", ttl_s=None)])
        assert results.fetch(["short", "long", "ever"]) == [b"S", b"L", b"E"]
        store.pass_time(1.2)
        assert results.fetch(["short", "long", "ever"]) == [None, b"L", b"E"]

    def test_given_records_whose_time_is_over_when_expired_then_the_others_stay(self, store: StoreUnderTest) -> None:
        results = store.results()
        results.store([result("short", b"S", ttl_s=1.0), result("long", b"L", ttl_s=3600.0), result("ever", b"E", ttl_s=None)])
        store.pass_time(1.2)
        assert results.expire(store.now()) in (0, 1)  # 0: the store has done so itself
        assert results.expire(store.now()) == 0
        assert results.fetch(["short", "long", "ever"]) == [None, b"L", b"E"]

    def test_given_a_record_when_written_again_then_its_time_begins_anew(self, store: StoreUnderTest) -> None:
        results = store.results()
        results.store([result("a", b"STARTED", ttl_s=1.0)])
        results.store([result("a", b"SUCCESS", ttl_s=3600.0)])
        store.pass_time(1.2)
        assert results.fetch(["a"]) == [b"SUCCESS"]

    def test_given_a_connection_opened_anew_when_fetched_then_the_records_are_there(self, store: StoreUnderTest) -> None:
        results = store.results()
        results.store([result("a", b"A")])
        results.reconnect()
        assert results.fetch(["a"]) == [b"A"]
        results.close()
        results.close()


class GroupContract:
    def test_given_a_saved_group_when_fetched_then_it_is_there_until_it_is_forgotten_or_over(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        assert results.fetch_group("g") is None
        results.save_group("g", b"G", 3600.0)
        results.save_group("short", b"S", 1.0)
        results.save_group("ever", b"old", 1.0)
        results.save_group("ever", b"E", None)
        assert store.results().fetch_group("g") == b"G"
        assert results.fetch(["g"]) == [None], "groups and records share no names"
        results.forget_group("g")
        assert results.fetch_group("g") is None
        store.pass_time(1.2)
        assert [results.fetch_group(name) for name in ("short", "ever")] == [None, b"E"]


class StreamContract:
    def test_given_a_watched_id_when_another_connection_writes_it_then_the_waiting_stream_has_it_at_once(
        self, store: StoreUnderTest
    ) -> None:
        stream = store.closing(store.results().subscribe())
        for number in range(5):
            name = f"call-{number}"
            stream.watch([name])
            with written_meanwhile(store, name, b"A"):
                assert heard(stream, {name}) == {name: b"A"}

    def test_given_a_write_right_after_watch_when_waited_then_it_is_not_missed(self, store: StoreUnderTest) -> None:
        results = store.results()
        stream = store.closing(results.subscribe())
        for number in range(20):
            name = f"call-{number}"
            stream.watch([name])
            results.store([result(name, b"A")])
            assert heard(stream, {name}) == {name: b"A"}

    def test_given_writes_of_other_ids_when_waited_then_only_the_watched_are_reported(self, store: StoreUnderTest) -> None:
        results = store.results()
        stream = store.closing(results.subscribe())
        stream.watch(["a", "b"])
        results.store([result("x", b"X"), result("b", b"B"), result("y", b"Y"), result("a", b"A")])
        assert heard(stream, {"a", "b"}) == {"a": b"A", "b": b"B"}
        results.store([result("z", b"Z")])
        assert stream.wait(0.05) == []

    def test_given_several_writes_of_one_id_when_waited_then_the_last_report_is_the_last_write(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        stream = store.closing(results.subscribe())
        stream.watch(["a"])
        for state in (b"STARTED", b"RETRY", b"SUCCESS"):
            results.store([result("a", state)])
        began = time.monotonic()
        last: bytes | None = b""
        while last not in (b"SUCCESS", None) and time.monotonic() - began < PROMPT_S:
            for name, payload in stream.wait(PROMPT_S):
                assert name == "a"
                last = payload
        assert last in (b"SUCCESS", None)
        assert results.fetch(["a"]) == [b"SUCCESS"]

    def test_given_an_unwatched_id_when_written_then_it_is_not_reported(self, store: StoreUnderTest) -> None:
        results = store.results()
        stream = store.closing(results.subscribe())
        stream.watch(["a", "b"])
        stream.unwatch(["a", "never-watched"])
        results.store([result("a", b"A")])
        assert stream.wait(0.05) == []
        results.store([result("b", b"B")])
        assert heard(stream, {"b"}) == {"b": b"B"}

    def test_given_two_streams_when_one_id_is_written_then_both_hear_it(self, store: StoreUnderTest) -> None:
        results = store.results()
        streams = [store.closing(store.results().subscribe()) for _ in range(2)]
        for stream in streams:
            stream.watch(["a"])
        results.store([result("a", b"A")])
        assert [heard(stream, {"a"}) for stream in streams] == [{"a": b"A"}, {"a": b"A"}]

    def test_given_a_thousand_watched_ids_when_all_are_written_then_all_are_reported(self, store: StoreUnderTest) -> None:
        results = store.results()
        stream = store.closing(results.subscribe())
        names = {f"call-{number}" for number in range(1000)}
        stream.watch(sorted(names))
        results.store([result(name, name.encode()) for name in names])
        assert heard(stream, names) == {name: name.encode() for name in names}

    def test_given_a_large_record_when_written_then_it_is_reported_whole_or_to_be_fetched(self, store: StoreUnderTest) -> None:
        results = store.results()
        stream = store.closing(results.subscribe())
        stream.watch(["a"])
        results.store([result("a", b"x" * 5_000_000)])
        (payload,) = heard(stream, {"a"}).values()
        assert payload in (b"x" * 5_000_000, None)

    def test_given_records_when_watched_then_they_are_told_or_to_be_fetched_and_later_writes_are_reported(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        stream = store.closing(results.subscribe())
        results.store([result("a", b"A"), result("b", b"B")])
        found = dict(stream.watch(["a", "none", "b"]))
        payloads = {name: results.fetch([name])[0] if payload is None else payload for name, payload in found.items()}
        assert payloads.pop("none", None) is None
        assert payloads == {"a": b"A", "b": b"B"}
        results.store([result("none", b"N"), result("a", b"A2")])
        assert heard(stream, {"none", "a"}) == {"none": b"N", "a": b"A2"}
        assert dict(stream.watch(["a"])).get("a", b"A2") in (b"A2", None), "also when it is watched already"
        assert stream.watch(["b", "c"], look=False) == []

    def test_given_a_watch_that_drops_others_when_they_are_written_then_only_the_new_ones_are_reported(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        stream = store.closing(results.subscribe())
        stream.watch(["a", "b"])
        stream.watch(["c"], ["a", "never-watched"])
        results.store([result("a", b"A")])
        assert stream.wait(0.05) == []
        results.store([result("b", b"B"), result("c", b"C")])
        assert heard(stream, {"b", "c"}) == {"b": b"B", "c": b"C"}

    def test_given_silence_when_waited_then_the_timeout_ends_it(self, store: StoreUnderTest) -> None:
        stream = store.closing(store.results().subscribe())
        assert stream.wait(0.05) == []
        stream.watch(["a"])
        assert stream.wait(0.05) == []
        assert stream.wait(0.0) == []

    def test_given_another_descriptor_when_it_is_readable_then_the_wait_is_over(self, store: StoreUnderTest) -> None:
        stream = store.closing(store.results().subscribe())
        stream.watch(["a"])
        readable, writable = os.pipe()
        os.write(writable, b"!")
        began = time.monotonic()
        assert stream.wait(LONG_WAIT_S, [readable]) == []
        assert time.monotonic() - began < PROMPT_S
        os.close(readable)
        os.close(writable)

    def test_given_a_closed_stream_when_closed_again_or_written_to_then_nothing_breaks(self, store: StoreUnderTest) -> None:
        results = store.results()
        stream = results.subscribe()
        stream.watch(["a"])
        stream.close()
        stream.close()
        results.store([result("a", b"A")])
        assert results.fetch(["a"]) == [b"A"]


class ChordContract:
    def test_given_the_size_first_when_the_last_part_comes_then_its_bringer_has_the_claim(self, store: StoreUnderTest) -> None:
        results = store.results()
        assert results.start_chord("g", 2, 3600.0) is None
        assert results.store([], [chord_part("g", 1)]) == []
        (claim,) = results.store([result("a", b"A")], [chord_part("g", 0)])
        assert claim.group_id == "g"
        assert results.fetch(["a"]) == [b"A"]

    def test_given_the_parts_first_when_the_size_comes_then_whoever_says_it_has_the_claim(self, store: StoreUnderTest) -> None:
        results = store.results()
        assert results.store([], [chord_part("g", index) for index in range(3)]) == []
        claim = results.start_chord("g", 3, 3600.0)
        assert claim is not None
        assert claim.group_id == "g"

    def test_given_the_size_between_the_parts_when_the_last_comes_then_there_is_one_claim(self, store: StoreUnderTest) -> None:
        results = store.results()
        assert results.store([], [chord_part("g", 0)]) == []
        assert results.start_chord("g", 2, 3600.0) is None
        assert len(results.store([], [chord_part("g", 1)])) == 1

    def test_given_a_claimed_chord_when_parts_and_size_are_repeated_then_nobody_gets_a_second_claim(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        results.start_chord("g", 2, 3600.0)
        assert len(results.store([], [chord_part("g", 0), chord_part("g", 1)])) == 1
        assert results.store([], [chord_part("g", 0), chord_part("g", 1)]) == []
        assert results.start_chord("g", 2, 3600.0) is None

    def test_given_one_part_counted_twice_when_counted_then_it_counts_once(self, store: StoreUnderTest) -> None:
        results = store.results()
        results.start_chord("g", 3, 3600.0)
        for _ in range(3):
            assert results.store([], [chord_part("g", 0), chord_part("g", 1)]) == []
        assert results.chord_parts("g") == [chord_part("g", 0).payload, chord_part("g", 1).payload]
        assert len(results.store([], [chord_part("g", 2)])) == 1

    def test_given_parts_in_any_order_when_read_then_they_come_by_group_index(self, store: StoreUnderTest) -> None:
        results = store.results()
        for index in (11, 2, 0, 1, 10, 3):
            results.store([], [chord_part("g", index, task_id=f"task-{-index}")])
        expected = [chord_part("g", index, task_id=f"task-{-index}").payload for index in (0, 1, 2, 3, 10, 11)]
        assert results.chord_parts("g") == expected
        assert results.chord_parts("unknown") == []

    def test_given_two_parts_with_one_payload_when_counted_then_they_are_two(self, store: StoreUnderTest) -> None:
        """The same task id may stand at two places of a group: what counts is (task id, group index)."""
        results = store.results()
        results.start_chord("g", 2, 3600.0)
        assert results.store([], [chord_part("g", 0, task_id="same")]) == []
        assert len(results.store([], [chord_part("g", 1, task_id="same")])) == 1
        assert len(results.chord_parts("g")) == 2

    def test_given_two_chords_when_parts_mix_then_each_counts_its_own(self, store: StoreUnderTest) -> None:
        results = store.results()
        results.start_chord("g1", 2, 3600.0)
        results.start_chord("g2", 1, 3600.0)
        claims = results.store([], [chord_part("g1", 0), chord_part("g2", 0)])
        assert [claim.group_id for claim in claims] == ["g2"]
        assert len(results.chord_parts("g1")) == 1

    def test_given_an_ended_chord_when_a_part_is_repeated_then_it_does_not_start_again(self, store: StoreUnderTest) -> None:
        results = store.results()
        results.start_chord("g", 1, 3600.0)
        results.store([], [chord_part("g", 0)])
        results.end_chord("g")
        assert results.chord_parts("g") == []
        assert results.store([], [chord_part("g", 0)]) == []
        assert results.chord_parts("g") == []
        results.end_chord("g")
        results.end_chord("unknown")

    def test_given_a_chord_that_is_never_completed_when_its_time_is_over_then_it_is_dropped(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        results.start_chord("g", 2, 1.0)
        results.store([], [chord_part("g", 0, ttl_s=1.0)])
        store.pass_time(1.2)
        results.expire(store.now())
        assert results.chord_parts("g") == []

    def test_given_parts_that_come_at_once_when_counted_then_exactly_one_bringer_has_the_claim(
        self, store: StoreUnderTest
    ) -> None:
        for number in range(5):
            group = f"group-{number}"

            def bring(index: int, group: str = group) -> int:
                results = store.driver.open_results(store.url, store.options())
                claims = len(results.store([], [chord_part(group, index)]))
                results.close()
                return claims

            def say_the_size(group: str = group) -> int:
                results = store.driver.open_results(store.url, store.options())
                claim = results.start_chord(group, 3, 3600.0)
                results.close()
                return claim is not None

            assert sum(race(*(lambda index=index: bring(index) for index in range(3)), say_the_size)) == 1


class ResultsContract(RecordContract, GroupContract, StreamContract, ChordContract):
    """Everything that `contracts/results.py` promises."""


def heard(stream: ResultStream, names: set[str]) -> dict[str, bytes | None]:
    """Wait until every one of `names` was reported; the payload is the last reported, None standing for "fetch it"."""
    began = time.monotonic()
    news: dict[str, bytes | None] = {}
    while names - set(news):
        assert time.monotonic() - began < PROMPT_S, f"not reported: {sorted(names - set(news))[:5]}"
        news |= dict(stream.wait(LONG_WAIT_S))
    return news


@contextmanager
def written_meanwhile(store: StoreUnderTest, name: str, payload: bytes) -> Generator[None]:
    def write() -> None:
        results: Results = store.driver.open_results(store.url, store.options())
        results.store([result(name, payload)])
        results.close()

    thread = threading.Timer(0.05, write)
    thread.start()
    yield
    thread.join(LONG_WAIT_S)
    assert not thread.is_alive()
