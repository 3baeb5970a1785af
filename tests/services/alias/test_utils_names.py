"""What programs take from `celery.utils` does what Celery 5.7's does: the values here were printed by it."""

from __future__ import annotations

import datetime as dt
import io
import pickle
import queue
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from sedano.canvas import signature
from sedano.compat import celery_utils_debug as debug
from sedano.compat import celery_utils_functional as functional
from sedano.compat import celery_utils_serialization as serialization
from sedano.compat import celery_utils_sysinfo as sysinfo
from sedano.compat.celery_utils_abstract import CallableSignature, CallableTask
from sedano.compat.celery_utils_collections import ConfigurationView, DictAttribute, LimitedSet
from sedano.compat.celery_utils_objects import FallbackContext
from sedano.compat.celery_utils_term import colored
from sedano.compat.celery_utils_threads import LocalStack, bgThread
from sedano.compat.celery_utils_timer2 import Timer
from sedano.exceptions import UnpickleableExceptionWrapper

PATIENCE_S = 60.0


def test_a_limited_set_forgets_the_oldest_and_what_has_expired() -> None:
    letters = LimitedSet(maxlen=3)
    for moment, letter in enumerate("abcd", 1):
        letters.add(letter, now=float(moment))
    assert letters.as_dict() == {"b": 2.0, "c": 3.0, "d": 4.0}
    assert (letters.pop(), letters.pop_value("zz"), list(letters), "d" in letters) == ("b", None, ["c", "d"], True)
    letters.update({"early": 0.5})
    assert list(letters) == ["early", "c", "d"]
    letters.update(["late"])
    assert list(letters) == ["c", "d", "late"]
    assert pickle.loads(pickle.dumps(letters)) == letters
    old = LimitedSet(maxlen=10, expires=10, minlen=1)
    for number in range(5):
        old.update({number: float(2**33 + number)})
    old.purge(now=2.0**33 + 11.5)
    assert list(old) == [2, 3, 4]
    old.purge(now=2.0**34)
    assert list(old) == [4]


@pytest.mark.parametrize("limits", [{"maxlen": -1}, {"maxlen": 2, "minlen": 5}, {"maxlen": 2, "expires": -1}])
def test_limits_that_contradict_each_other_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"minlen must be|cannot be negative"):
        LimitedSet(**limits)
    with pytest.raises(ValueError, match="must be a float"):
        LimitedSet(data={"a": 5})


def test_a_view_of_settings_looks_at_changes_first_and_writes_there() -> None:
    view = ConfigurationView({"a": 1}, [{"b": 2}, {"a": 3}], prefix="p_")
    assert (view["a"], view["b"], view.get("zz", 9), list(view), len(view), view.a) == (1, 2, 9, ["a", "b"], 2, 1)
    assert view.first("zz", "b") == 2
    view["c"] = 5
    assert view.changes == {"a": 1, "c": 5}
    with pytest.raises(KeyError, match="Key not found: 'nn' \\(with prefix: 'p_nn'\\)"):
        view["nn"]
    with pytest.raises(AttributeError, match="nn"):
        _ = view.nn
    assert ConfigurationView({"p_x": 1}, prefix="p_")["x"] == 1
    view.clear()
    assert dict(view) == {"a": 3, "b": 2}


def test_an_object_as_a_map() -> None:
    view = DictAttribute(type("O", (), {"x": 1})())
    view["y"] = 2
    assert (view["x"], view.get("z", 3), "y" in view, view.y) == (1, 3, True, 2)
    with pytest.raises(KeyError, match="nope"):
        view["nope"]


def test_regen_reads_an_iterator_as_far_as_it_must_and_keeps_what_came() -> None:
    read: list[int] = []
    kept = functional.regen(read.append(number) or number for number in (1, 2, 3))
    assert (kept[1], read) == (2, [1, 2])
    assert (list(kept), list(kept), len(kept), kept.data, kept == [1, 2, 3], bool(kept)) == (
        [1, 2, 3], [1, 2, 3], 3, [1, 2, 3], True, True,
    )  # fmt: skip
    assert (functional.regen((1,)), bool(functional.regen(iter(())))) == ((1,), False)


def test_tools_for_functions() -> None:
    head = functional.head_from_fun(lambda self, a, b=1: None, bound=True)
    assert head(1, b=2) == 1
    with pytest.raises(TypeError, match="missing a required argument"):
        head()
    calls: list[int] = []
    lazy = functional.mlazy(calls.append, 5)
    assert (lazy(), lazy(), calls, lazy.evaluated) == (None, None, [5], True)
    assert functional.fun_accepts_kwargs(lambda **more: None)
    assert functional.dictfilter({"a": None, "b": 1}, c=None) == {"b": 1}


def test_colours_within_colours() -> None:
    c = colored(enabled=True)
    assert str(c.red("a", c.bold("b"), "c")) == "\x1b[1;31ma\x1b[1mb\x1b[0mc\x1b[0m"
    assert str(c.red(c.bold("b"), "x", c.blue("d"))) == "\x1b[1;31m\x1b[1mb\x1b[0mx\x1b[1;34md\x1b[0m\x1b[0m"
    assert (c.red("x") + " y", str(c.ired("a")), c.blue("q").embed()) == (
        "\x1b[1;31mx\x1b[0m y", "\x1b[1;41ma\x1b[0m", "\x1b[1;34mq",
    )  # fmt: skip
    assert (c.green("é").no_color(), str(colored(enabled=False).red("x"))) == ("é", "x")


def test_what_json_can_say() -> None:
    noon = dt.datetime(2026, 1, 1, 12, 0, 0, 5999)
    assert serialization.jsonify({"a": (1, noon, noon.replace(microsecond=0, tzinfo=dt.UTC)), "b": dt.timedelta(1)}) == {
        "a": [1, "2026-01-01T12:00:00.005", "2026-01-01T12:00:00Z"], "b": "1 day, 0:00:00",
    }  # fmt: skip
    assert serialization.jsonify([uuid.UUID(int=1), None]) == ["00000000-0000-0000-0000-000000000001", None]
    with pytest.raises(ValueError, match="Unsupported type"):
        serialization.jsonify(object())
    assert (serialization.strtobool("off"), serialization.strtobool("YES"), serialization.strtobool(3)) == (False, True, 3)
    with pytest.raises(TypeError, match="Cannot coerce 'zz' to type bool"):
        serialization.strtobool("zz")
    assert serialization.b64encode(b"x") == "eA=="


class TwoArguments(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.kept = lambda: second


def test_an_exception_that_cannot_be_pickled_is_wrapped() -> None:
    wrapped: Any = serialization.get_pickleable_exception(TwoArguments("a", "b"))
    assert isinstance(wrapped, UnpickleableExceptionWrapper)
    assert (wrapped.exc_cls_name, tuple(wrapped.exc_args), str(wrapped)) == ("TwoArguments", ("a",), "TwoArguments('a')")
    assert type(serialization.get_pickled_exception(wrapped)).__name__ == "TwoArguments"


def test_what_the_machine_has() -> None:
    assert len(sysinfo.load_average()) == 3
    disk = sysinfo.df("/")
    assert 0 <= disk.capacity <= 100
    assert 0 < disk.available < disk.total_blocks
    budget = sysinfo.cpu_budget()
    assert 1 <= budget[0] <= budget.available


def test_memory_and_stacks() -> None:
    assert (debug.humanbytes(3 * 2**20), list(debug.sample(range(100), 4))) == ("3MB", [0, 25, 50, 75])
    assert "test_memory_and_stacks" in debug.cry()
    debug.sample_mem()
    out = io.StringIO()
    debug.memdump(file=out)
    assert "rss" in out.getvalue()
    with pytest.raises(RuntimeError, match="Blocking detection timed-out"), debug.blockdetection(0.01):
        threading.Event().wait(PATIENCE_S)


def test_what_can_do_what_a_task_does_is_one() -> None:
    from sedano.app.task import Task  # noqa: PLC0415

    assert issubclass(Task, CallableTask)
    assert isinstance(signature("x"), CallableSignature)
    assert not issubclass(dict, CallableTask)


def test_a_thread_repeats_its_body_until_it_is_stopped() -> None:
    turns: queue.Queue[int] = queue.Queue()

    class Counter(bgThread):
        def body(self) -> None:
            turns.put(1)
            if turns.qsize() > 100:
                threading.Event().wait(0.01)

    counter = Counter()
    counter.start()
    assert [turns.get(timeout=PATIENCE_S) for _ in range(3)] == [1, 1, 1]
    counter.stop()
    assert not counter.is_alive()
    stack = LocalStack()
    stack.push(1)
    other: list[Any] = []
    thread = threading.Thread(target=lambda: other.append(stack.top))
    thread.start()
    thread.join()
    assert (stack.top, other, stack.pop(), stack.pop()) == (1, [None], 1, None)


def test_a_timer_calls_after_its_time_goes_on_after_an_error_and_forgets_what_is_cancelled() -> None:
    said: queue.Queue[str] = queue.Queue()
    timer = Timer()
    never = timer.call_after(0.05, said.put, ("never",))
    never.cancel()
    timer.call_after(0.1, said.put, ("second",))
    timer.call_after(0.0, said.put, ("first",))
    timer.call_after(0.0, _raise)
    assert [said.get(timeout=PATIENCE_S) for _ in range(2)] == ["first", "second"]
    again = timer.call_repeatedly(0.001, said.put, ("again",))
    assert [said.get(timeout=PATIENCE_S) for _ in range(3)] == ["again"] * 3
    timer.cancel(again)
    timer.call_at(dt.datetime.now(), said.put, ("now",))
    while said.get(timeout=PATIENCE_S) != "now":
        pass
    timer.stop()
    assert not timer.running


def _raise() -> None:
    raise ValueError("boom")


def test_a_context_that_is_given_is_not_ended() -> None:
    ended: list[str] = []

    class Thing:
        def __enter__(self) -> str:
            return "made"

        def __exit__(self, *exc: object) -> None:
            ended.append("made")

    make: Callable[[], Thing] = Thing
    with FallbackContext("given", make) as found:
        assert found == "given"
    assert ended == []
    with FallbackContext(None, make) as found:
        assert found == "made"
    assert ended == ["made"]
