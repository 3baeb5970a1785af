from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from sedano.app.base import Celery
from sedano.signals import Signal


@pytest.fixture
def signal() -> Signal:
    return Signal("tested", ["value"])


def test_a_receiver_gets_signal_sender_and_arguments(signal):
    heard = []

    @signal.connect
    def receiver(**kwargs):
        heard.append(kwargs)
        return "answer"

    assert signal.send("me", value=1) == [(receiver, "answer")]
    assert heard == [{"signal": signal, "sender": "me", "value": 1}]


def test_a_receiver_for_one_sender_hears_only_that_one(signal):
    heard = []
    first, second = object(), object()

    @signal.connect(sender=first)
    def receiver(**kwargs):
        heard.append(kwargs["sender"])

    signal.send(second)
    signal.send(first)
    assert heard == [first]


def test_a_text_sender_matches_the_text_and_the_name_of_an_object(signal):
    heard = []

    class Task:
        name = "proj.add"

    @signal.connect(sender="proj.add")
    def receiver(**kwargs):
        heard.append(kwargs["sender"])

    task = Task()
    signal.send("proj.add")
    signal.send(task)
    signal.send("proj.mul")
    assert heard == ["proj.add", task]


def test_an_error_is_logged_and_the_others_still_hear(signal, caplog):
    heard = []

    def broken(**kwargs):
        raise ValueError("broken hook")

    def fine(**kwargs):
        heard.append(True)

    signal.connect(broken)
    signal.connect(fine)
    with caplog.at_level(logging.ERROR):
        responses = signal.send(None)
    assert heard == [True]
    assert isinstance(responses[0][1], ValueError)
    assert "broken hook" in caplog.text


def test_a_weak_receiver_vanishes_with_its_object(signal):
    class Holder:
        def receiver(self, **kwargs):
            return 1

    holder = Holder()
    signal.connect(holder.receiver)
    assert signal.send(None) != []
    del holder
    gc.collect()
    assert signal.send(None) == []
    assert not signal.receivers


def test_a_strong_receiver_stays(signal):
    heard = []
    signal.connect(lambda **kwargs: heard.append(1), weak=False)
    gc.collect()
    signal.send(None)
    assert heard == [1]


def test_the_same_dispatch_uid_replaces_the_receiver(signal):
    heard = []
    signal.connect(lambda **kwargs: heard.append("old"), weak=False, dispatch_uid="once")
    signal.connect(lambda **kwargs: heard.append("new"), weak=False, dispatch_uid="once")
    signal.send(None)
    assert heard == ["new"]


def test_connecting_twice_calls_once_and_disconnecting_ends_it(signal):
    heard = []

    def receiver(**kwargs):
        heard.append(1)

    signal.connect(receiver)
    signal.connect(receiver)
    signal.send(None)
    assert heard == [1]
    assert signal.disconnect(receiver) is True
    assert signal.disconnect(receiver) is False
    signal.send(None)
    assert heard == [1]


def test_retry_calls_a_failing_receiver_again(signal):
    calls = []

    def flaky(**kwargs):
        calls.append(1)
        if len(calls) < 3:
            raise RuntimeError("not yet")
        return "done"

    signal.connect(flaky, retry=True)
    assert signal.send(None) == [(flaky, "done")]
    assert len(calls) == 3


def test_what_cannot_be_called_is_refused(signal):
    with pytest.raises(TypeError, match="not callable"):
        signal.connect("text")


def test_nobody_listens_until_somebody_connects(signal):
    assert not signal.receivers
    assert not signal.has_listeners()

    @signal.connect(sender="a")
    def receiver(**kwargs):
        """Hear."""

    assert signal.has_listeners("a")
    assert not signal.has_listeners("b")


def test_an_async_receiver_is_run_to_its_end_before_the_next_one():
    heard = []
    signal = Signal("done")

    async def slow(**_):
        await asyncio.sleep(0)
        heard.append("slow")
        return 5

    signal.connect(slow)
    signal.connect(quick := lambda **_: heard.append("quick"))

    assert signal.send(None) == [(slow, 5), (quick, None)]
    assert heard == ["slow", "quick"]


def test_an_async_receiver_runs_where_a_loop_is_running_too():
    signal = Signal("done")

    async def answer(**_):
        await asyncio.sleep(0)
        return "here"

    signal.connect(answer)

    async def main():
        return signal.send(None)

    import_app()
    assert asyncio.run(main()) == [(answer, "here")]


def test_async_receivers_have_the_loop_of_async_tasks():
    signal = Signal("done")
    loops = []

    async def note(**_):
        loops.append(asyncio.get_running_loop())

    app = import_app()

    @app.task
    async def work():
        loops.append(asyncio.get_running_loop())

    signal.connect(note)
    signal.send(None)
    work.apply().get()
    assert loops[0] is loops[1]


def test_an_error_in_an_async_receiver_is_logged_and_the_others_run(caplog):
    heard = []
    signal = Signal("done")

    async def broken(**_):
        await asyncio.sleep(0)
        raise ValueError("no")

    signal.connect(broken)
    signal.connect(other := lambda **_: heard.append(1))

    responses = signal.send(None)

    assert isinstance(responses[0][1], ValueError)
    assert responses[1] == (other, None)
    assert "Signal handler" in caplog.text


def test_an_async_receiver_that_is_cancelled_has_failed_and_ends_nothing_else(caplog):
    import_app()
    signal = Signal("done")

    async def cancelled(**_):
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    signal.connect(cancelled)

    ((_, answer),) = signal.send(None)
    assert isinstance(answer, RuntimeError)
    assert "Signal handler" in caplog.text


def import_app():
    """An app puts in what runs coroutines."""
    return Celery("signals", broker="memory://", set_as_current=False)
