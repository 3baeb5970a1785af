"""The pools asyncio and threads: `async def` tasks run on one event loop, thousands at once; others in threads beside it.

In the pool asyncio the loop has the main thread, and the owner of the lanes one of its own; in the pool threads the loop gets a
thread when it is first needed. So a task that blocks the loop keeps other tasks waiting, and no settlement. A soft limit raises
SoftTimeLimitExceeded where the task awaits; the hard limit cancels it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from sedano.app.attempt import OUR_FILES, Attempt
from sedano.app.coattempt import run_attempt_on_loop
from sedano.app.context import Context
from sedano.contracts import Settlement
from sedano.exceptions import SoftTimeLimitExceeded
from sedano.protocol.call import Body
from sedano.worker.lanecall import LaneCall, LaneEnded, Owner, settle_ended
from sedano.worker.perform import Performer
from sedano.worker.pools.threads import ThreadCrew

OUR_FILES.add(__file__)
_logger = logging.getLogger("celery.worker.pool")
_BLOCKED_S = 1.0  # a loop that does not answer for so long is blocked


class LoopCrew:
    """At most `lanes` calls at once, on the loop or in threads. `in_main`: the loop is the main thread's."""

    grace_s = 1.0

    def __init__(self, lanes: int, *, in_main: bool) -> None:
        self._owner: Owner
        self._in_main = in_main
        self._threads = ThreadCrew(lanes)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost = 0

    @property
    def stuck(self) -> int:
        return self._threads.stuck + self._lost

    def start(self, owner: Owner) -> None:
        self._owner = owner
        self._threads.start(owner)

    def serve(self, run: Callable[[], int]) -> int:
        """Be the loop; `run` is in another thread, and its end is ours."""
        return asyncio.run(self._serve(run)) if self._in_main else run()

    async def _serve(self, run: Callable[[], int]) -> int:
        self._loop = loop = asyncio.get_running_loop()
        over: asyncio.Future[int] = loop.create_future()

        def work() -> None:
            try:
                status = run()
            except BaseException as exc:  # handed to the main thread, which raises it
                loop.call_soon_threadsafe(over.set_exception, exc)
            else:
                loop.call_soon_threadsafe(over.set_result, status)

        threading.Thread(target=work, name="sedano-owner", daemon=True).start()
        return await over

    def take(self, calls: list[LaneCall]) -> None:
        ours = [call for call in calls if call.held.terms.task.plan.is_coroutine]
        if ours:
            self._loop = self._loop or loop_beside()
            self._loop.call_soon_threadsafe(self._begin, ours)
        if len(ours) < len(calls):
            self._threads.take([call for call in calls if not call.held.terms.task.plan.is_coroutine])

    def abandon(self, call: LaneCall) -> bool:
        if not isinstance(call.where, asyncio.Task):
            if call.held.terms.task.plan.is_coroutine:
                return self._is_answering()  # the loop has not even begun it
            return self._threads.abandon(call)
        if not self._is_answering():
            return False
        if not call.where.done():
            call.lost = True
            self._lost += 1
            call.where.add_done_callback(self._found)
        return True

    def close(self) -> None:
        self._threads.close()

    def _found(self, _task: asyncio.Task[None]) -> None:
        self._lost -= 1

    def _is_answering(self) -> bool:
        answered = threading.Event()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(answered.set)
        return answered.wait(_BLOCKED_S)

    # -- on the loop --------------------------------------------------------------------------------------------------

    def _begin(self, calls: list[LaneCall]) -> None:
        for call in calls:
            call.where = task = asyncio.get_running_loop().create_task(self._run(call))
            self._tasks.add(task)  # the loop itself keeps only weak references
            task.add_done_callback(self._tasks.discard)

    async def _run(self, call: LaneCall) -> None:
        try:
            settlement = await _perform(call)
        except BaseException as exc:  # cancelled, or a task that leaves: the loop has other calls to run
            settlement = settle_ended(call, self._owner.settler, exc)
        self._owner.finished(call, settlement)


async def _perform(call: LaneCall) -> Settlement:
    performer = LoopPerformer.like(call.performer)
    return await performer.perform_on_loop(call)


class LoopPerformer(Performer):
    """Runs one call on the loop: as `perform`, and awaits the task's function."""

    @classmethod
    def like(cls, other: Performer) -> LoopPerformer:
        """With the same tools; each call on a loop needs one of its own."""
        made = cls.__new__(cls)
        made.__dict__.update(other.__dict__)
        return made

    async def perform_on_loop(self, call: LaneCall) -> Settlement:
        """Raises what ends the call from outside: CancelledError, and what must stop a process."""
        held = call.held
        body = self._body_of(held)
        if isinstance(body, Settlement):
            return body
        request = self._take_up(held, body)
        if held.terms.track_started:
            await asyncio.to_thread(self._store_started, held, request)
        return self._end(held, request, await self._run_on_loop(call, request, body))

    async def _run_on_loop(self, call: LaneCall, request: Context, body: Body) -> Attempt:
        task, code = call.held.terms.task, call.code
        drive = Drive(asyncio.get_running_loop(), asyncio.current_task())
        code.throw = drive.throw
        try:
            code.begin()
            attempt = await run_attempt_on_loop(task, request, body.args, body.kwargs, drive, self._prepare)
            code.over()
        except SoftTimeLimitExceeded as exc:  # it came when the task's own code was just over
            attempt = self._too_late(call.held, request, exc)
        return attempt


class Drive:
    """Awaits a coroutine so that something else than CancelledError can be raised where it waits.

    `throw(SoftTimeLimitExceeded)` raises that; `throw(anything else)` cancels.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None) -> None:
        self._loop, self._task = loop, task
        self._pending: BaseException | None = None
        self._driving = False
        self._ended = False

    def throw(self, kind: type[BaseException]) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self._interrupt, kind)

    def _interrupt(self, kind: type[BaseException]) -> None:
        if self._task is None or not self._driving:
            return
        if kind is SoftTimeLimitExceeded:
            self._pending = kind()
        else:
            self._ended = True
        self._task.cancel()

    async def __call__(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await _Steps(self, coroutine)
        except asyncio.CancelledError as exc:
            if self._ended:
                raise LaneEnded from exc
            raise RuntimeError("the task's coroutine was cancelled, and not by its worker") from exc

    def instead_of(self, exc: BaseException) -> BaseException:
        """What to raise in the coroutine when `exc` arrives from the loop."""
        pending, self._pending = self._pending, None
        if pending is None or not isinstance(exc, asyncio.CancelledError):
            return exc
        if self._task is not None:
            self._task.uncancel()
        return pending

    def steps(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        self._driving = True
        try:
            waits_for = coroutine.send(None)
            while True:
                try:
                    answer = yield waits_for
                except GeneratorExit:
                    coroutine.close()
                    raise
                except BaseException as exc:  # passed on into the coroutine
                    waits_for = coroutine.throw(self.instead_of(exc))
                else:
                    waits_for = coroutine.send(answer)
        except StopIteration as end:
            return end.value
        finally:
            self._driving = False


class _Steps:
    def __init__(self, drive: Drive, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._drive, self._coroutine = drive, coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._drive.steps(self._coroutine)


def loop_beside(start: Callable[[Callable[[], None]], object] | None = None) -> asyncio.AbstractEventLoop:
    """A loop that runs in a thread of its own for as long as this process lives. `start(function)` starts such a thread."""
    loops: list[asyncio.AbstractEventLoop] = []
    ready = threading.Event()

    def run() -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loops.append(loop)
        ready.set()
        loop.run_forever()

    if start is not None:
        start(run)
    else:
        threading.Thread(target=run, name="sedano-loop", daemon=True).start()
    ready.wait()
    return loops[0]
