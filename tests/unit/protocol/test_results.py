from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from sedano import exceptions
from sedano.exceptions import DecodeError, EncodeError, ImproperlyConfigured, SecurityError, UnpickleableExceptionWrapper
from sedano.protocol import errors, results
from sedano.protocol.serializers import dumps

DONE = "2030-01-02T03:04:05.678901+00:00"


class NeedsTwo(Exception):
    def __init__(self, one: Any, two: Any) -> None:
        super().__init__(one)
        self.two = two


class NeedsTwoOfABase(ValueError):
    def __init__(self, one: Any, two: Any) -> None:
        super().__init__(one)
        self.two = two


class RudeArgument:
    def __repr__(self) -> str:
        raise ZeroDivisionError("no repr")

    def __reduce__(self) -> Any:
        raise ZeroDivisionError("no pickle")


class Outer:
    class Inner(Exception):
        pass


def stored(result: Any, status: str = "FAILURE") -> bytes:
    return json.dumps({"status": status, "result": result, "task_id": "i"}).encode()


def test_given_the_parts_of_a_record_when_built_then_keys_stand_in_celerys_order() -> None:
    extended = results.extended_fields(
        name="t", args=[1], kwargs={}, worker="w@h", retries=0, queue="q", stamped_headers=["a"], stamps={"a": 1, "b": 2}
    )
    meta = results.success(
        "i", 5, date_done=DONE, group_id="g", parent_id="p", children=([["c", None], None],), extended=extended
    )
    assert list(meta.items()) == [
        ("status", "SUCCESS"), ("result", 5), ("traceback", None), ("children", [[["c", None], None]]), ("date_done", DONE),
        ("group_id", "g"), ("parent_id", "p"), ("name", "t"), ("args", [1]), ("kwargs", {}), ("worker", "w@h"), ("retries", 0),
        ("queue", "q"), ("stamped_headers", ["a"]), ("a", 1), ("task_id", "i"),
    ]  # fmt: skip


def test_given_a_state_of_ones_own_when_stored_then_it_has_no_date_and_no_group() -> None:
    meta = results.state("i", "PROGRESS", {"done": 3})
    assert results.decode_meta(results.encode_meta(meta)) == {
        "status": "PROGRESS", "result": {"done": 3}, "traceback": None, "children": [], "date_done": None, "task_id": "i",
    }  # fmt: skip


def test_given_a_value_that_json_cannot_carry_when_stored_then_it_is_an_encode_error() -> None:
    with pytest.raises(EncodeError):
        results.encode_meta(results.success("i", object(), date_done=DONE))
    with pytest.raises(EncodeError):  # an exception as a value is a value, not a failure
        results.encode_meta(results.success("i", ValueError(1), date_done=DONE))


def test_given_a_retry_when_stored_then_its_result_is_the_exception_that_caused_it() -> None:
    meta = results.decode_meta(results.encode_meta(results.state("i", "RETRY", KeyError("k"), traceback="tb")))
    assert (type(meta["result"]), meta["result"].args, meta["traceback"]) == (KeyError, ("k",), "tb")


def test_given_a_revoked_call_when_stored_then_the_reason_is_the_message() -> None:
    exc = results.decode_meta(results.encode_meta(results.revoked("i", "expired", date_done=DONE)))["result"]
    assert (type(exc), exc.args) == (exceptions.TaskRevokedError, ("expired",))


def test_given_exceptions_are_not_wanted_when_read_then_their_map_is_left() -> None:
    payload = results.encode_meta(results.failure("i", ValueError(1), date_done=DONE))
    expected = {"exc_type": "ValueError", "exc_message": [1], "exc_module": "builtins"}
    assert results.decode_meta(payload, exceptions=False)["result"] == expected


@pytest.mark.parametrize("compression", ["zlib", "gzip", "bzip2", "lzma", "xz"])
def test_given_compression_when_stored_then_any_reader_finds_out_itself(compression: str) -> None:
    meta = results.success("i", "x" * 100, date_done=DONE)
    payload = results.encode_meta(meta, compression=compression)
    assert payload.startswith(b"\0celery-compressed\0application/x-")
    assert results.decode_meta(payload) == meta


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"5",
        b"{",
        b"\0celery-compressed\0",
        b"\0celery-compressed\0x/y\0z",
        b"\0celery-compressed\0application/x-gzip\0z",
    ],
)
def test_given_what_is_no_record_when_read_then_it_is_a_decode_error(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        results.decode_meta(payload)


def test_given_an_unknown_serializer_when_read_then_it_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(ImproperlyConfigured, match="result_serializer is 'nope'"):
        results.decode_meta(b"{}", "nope")


# -- chord parts ------------------------------------------------------------------------------------------------------


def test_given_a_failed_part_of_a_chord_when_counted_then_it_is_four_elements_and_reads_back_as_the_exception() -> None:
    payload = results.chord_part_payload("i", "FAILURE", ValueError("boom"))
    assert json.loads(payload) == [
        1,
        "i",
        "FAILURE",
        {"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": "builtins"},
    ]
    task_id, status, exc = results.read_chord_part(payload)
    assert (task_id, status, type(exc), exc.args) == ("i", "FAILURE", ValueError, ("boom",))


@pytest.mark.parametrize("payload", [b"[1]", b"{}", b"5", b"x"])
def test_given_what_is_no_chord_part_when_read_then_it_is_a_decode_error(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        results.read_chord_part(payload)


# -- exceptions as maps -----------------------------------------------------------------------------------------------


def test_given_arguments_that_json_cannot_carry_when_written_then_only_they_become_text() -> None:
    written = errors.exception_to_map(ValueError(1, {2}, RudeArgument(), "x"))
    assert written["exc_message"][0::3] == [1, "x"]
    assert written["exc_message"][1] == "{2}"
    assert "no repr" in written["exc_message"][2]
    dumps(written)


def test_given_a_nested_class_when_written_and_read_then_it_is_found_by_its_qualified_name() -> None:
    written = errors.exception_to_map(Outer.Inner(1))
    assert written["exc_type"] == "Outer.Inner"
    assert type(errors.exception_from_map(written)) is Outer.Inner


def test_given_a_local_class_when_read_then_one_of_its_name_is_made() -> None:
    class Local(Exception):
        pass

    exc = errors.exception_from_map(errors.exception_to_map(Local("x")))
    assert (type(exc).__module__, exc.args) == ("celery.exceptions", ("x",))
    assert type(exc).__name__.endswith("Local")
    assert type(exc) is type(errors.exception_from_map(errors.exception_to_map(Local("y"))))


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("builtins", "eval"), ("builtins", "dict"), ("sys", "modules")])
def test_given_something_that_is_no_exception_class_when_read_then_nothing_is_called(module: str, name: str) -> None:
    with pytest.raises(SecurityError, match=f"Expected an exception class, got {module}.{name}"):
        results.decode_meta(stored({"exc_module": module, "exc_type": name, "exc_message": ["x"]}))


def test_given_a_module_that_imports_on_attribute_access_when_read_then_it_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = type(sys)("lazy")

    def refuse(name: str) -> Any:
        raise AssertionError(f"asked for {name}")

    module.__getattr__ = refuse  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy", module)
    exc = errors.exception_from_map({"exc_module": "lazy", "exc_type": "Anything", "exc_message": []})
    assert type(exc).__module__ == "celery.exceptions"


@pytest.mark.parametrize(
    "found", ["text", 5, [1], {}, {"exc_type": 5}, {"exc_type": "X", "exc_module": 5}, {"exc_type": "a\0b"}]
)
def test_given_what_is_no_exception_map_when_read_then_it_is_a_decode_error(found: Any) -> None:
    with pytest.raises(DecodeError):
        errors.exception_from_map(found)


def test_given_no_result_at_all_when_a_failure_is_read_then_there_is_no_exception() -> None:
    assert results.decode_meta(stored(None))["result"] is None


# -- exceptions as pickles --------------------------------------------------------------------------------------------


def through_pickle(exc: BaseException) -> Any:
    return results.decode_meta(results.encode_meta(results.failure("i", exc, date_done=DONE), "pickle"), "pickle")["result"]


def test_given_an_exception_that_pickles_when_stored_then_it_comes_back_itself() -> None:
    exc = through_pickle(exceptions.MaxRetriesExceededError("x", task_args=(1,), task_kwargs={"a": 2}))
    assert (type(exc), exc.task_args, exc.task_kwargs) == (exceptions.MaxRetriesExceededError, (1,), {"a": 2})


def test_given_an_exception_that_does_not_come_back_when_stored_then_its_nearest_base_class_does() -> None:
    exc = through_pickle(NeedsTwoOfABase("a", "b"))
    assert (type(exc), exc.args) == (ValueError, ("a",))


def test_given_an_exception_with_nothing_near_when_stored_then_a_class_of_its_name_comes_back() -> None:
    exc = through_pickle(NeedsTwo("a", RudeArgument()))
    assert (type(exc).__name__, type(exc).__module__, exc.args) == ("NeedsTwo", __name__, ("a",))
    wrapper = errors.pickleable(NeedsTwo(RudeArgument(), 2))
    assert isinstance(wrapper, UnpickleableExceptionWrapper)
    assert "no repr" in str(wrapper.exc_args)


def test_given_an_exception_of_ours_alone_when_pickled_then_a_celery_reader_finds_the_class_that_it_knows() -> None:
    exc = through_pickle(exceptions.LeaseLost("owner"))
    assert (type(exc), exc.args) == (exceptions.CeleryError, exceptions.LeaseLost("owner").args)
    assert type(through_pickle(exceptions.BrokerUnavailable("down"))) is exceptions.OperationalError


def test_given_an_unreachable_broker_when_written_as_a_map_then_a_celery_reader_can_catch_it() -> None:
    written = errors.exception_to_map(exceptions.BrokerUnavailable("down"))
    assert written == {"exc_type": "OperationalError", "exc_message": ["down"], "exc_module": "kombu.exceptions"}


@pytest.mark.parametrize(
    "value", [None, 5, True, 1.5, float("nan"), '\u00e9\ud83d\ude00 " \\', [1, (2,)], {"a": {"b": None}}, b"x"]
)
@pytest.mark.parametrize(("group_id", "parent_id"), [(None, None), ("g", None), ('\u00fc"', "p")])
def test_given_a_success_when_written_in_parts_then_it_is_the_same_record(
    value: Any, group_id: str | None, parent_id: str | None
) -> None:
    meta = results.success('i\n"', value, date_done=DONE, group_id=group_id, parent_id=parent_id)
    written = results.encode_success('i\n"', value, date_done=DONE, group_id=group_id, parent_id=parent_id)
    assert repr(json.loads(written)) == repr(json.loads(results.encode_meta(meta)))


def test_given_a_value_that_json_cannot_carry_when_written_in_parts_then_it_is_refused() -> None:
    with pytest.raises(EncodeError, match="object"):
        results.encode_success("i", object(), date_done=DONE, group_id=None, parent_id=None)
