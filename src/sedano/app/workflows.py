"""Sending workflows, and running them here and now: what `chain`, `group` and `chord` ask their app for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from sedano import states
from sedano.app import late
from sedano.app.batches import Collected, add_to_parent, open_batch, publish_all, publish_all_async
from sedano.app.context import worker_call
from sedano.app.messages import announce, draft_signature
from sedano.app.recording import Recorder
from sedano.canvas import Signature, maybe_signature, shapes
from sedano.canvas.freezing import Place
from sedano.canvas.nodes import Node
from sedano.canvas.plan import Planner, Send
from sedano.canvas.unrolled import Unrolled
from sedano.contracts.workflows import WorkflowNote
from sedano.exceptions import ImproperlyConfigured
from sedano.protocol.call import WORKFLOW_HEADER
from sedano.protocol.ids import new_id
from sedano.result import AsyncResult, GroupResult, allow_join_result

if TYPE_CHECKING:
    from sedano.app.base import Celery
    from sedano.app.flows import Workflows
    from sedano.rules.why import Why

_AT_ONCE = 1000  # calls whose messages are in memory together

# Options that say what a workflow as a whole is called and what it is a part of.
_PLACE = ("task_id", "group_id", "group_index", "chord")


class SendsWorkflows:
    """The part of `Celery` that sends chains, groups and chords."""

    @property
    def workflows(self) -> Workflows:
        """Look at workflows that were sent, and cancel them."""
        workflows: Workflows = late.workflows_of(cast("Celery", self))
        return workflows

    def why(self, task_id: str, timeout: float = 1.0) -> Why:
        """Why the call `task_id` does not run, or how it ended. `timeout` is how long (s) nodes may take for each of a few
        questions. Raises OperationalError."""
        answer: Why = late.why(cast("Celery", self), task_id, timeout)
        return answer

    def send_workflow(self, signature: Signature[Any], args: Sequence[Any], kwargs: Mapping[str, Any], options: Any) -> Any:
        """Send what can start now; the result that it will have, None of an empty chain.

        Everything goes out in few round trips, after the sizes of its chords. When the broker takes only a part of it,
        `NotAllSent` says which calls are on their way.
        """
        app = cast("Celery", self)
        if app.terms.always_eager:
            with allow_join_result():
                return signature.apply(args, kwargs, **options)
        if _is_nothing(signature):
            return _nothing(app, signature)
        if _grows(signature):
            return _send_growing(app, signature, args, kwargs, options)
        planner, node, add, note = _planned(app, signature, args, kwargs, options)
        if planner.plan.chords:
            app.backend.start_chords(planner.plan.sizes())
        for portion in _portions(app, planner.plan.sends, None if note is None else note.id, note):
            _publish(app, portion)
        return _sent(app, planner, node, add)

    async def asend_workflow(
        self, signature: Signature[Any], args: Sequence[Any], kwargs: Mapping[str, Any], options: Any
    ) -> Any:
        """As `send_workflow`, without blocking the event loop."""
        app = cast("Celery", self)
        if app.terms.always_eager or open_batch(app) is not None or _is_nothing(signature):
            return self.send_workflow(signature, args, kwargs, options)
        planner, node, add, note = _planned(app, signature, args, kwargs, options)
        if planner.plan.chords:
            await late.in_thread(app.backend.start_chords, planner.plan.sizes())
        for portion in _portions(app, planner.plan.sends, None if note is None else note.id, note):
            await publish_all_async(app, portion)
        return _sent(app, planner, node, add)

    def apply_chain(self, chain: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]) -> Any:
        """Run the steps of a chain one after another; the last one's `EagerResult`. A step that fails ends it."""
        options = {**chain.options, **options}
        links = [shapes.listed(options.pop(name, None)) for name in ("link", "link_error")]
        steps = shapes.steps_of(shapes.with_callbacks({**chain, "args": ()}, *links))
        args = tuple(args) + tuple(chain.args)
        last: Any = None
        for step in steps:
            signature = maybe_signature(step, app=chain._app)
            given = (args, kwargs) if last is None else ((last.get(),), {})
            result = signature.apply(*given, **_without_place(options))
            if result is None:
                continue
            result.parent, last = last, result
            if result.state in (states.IGNORED, states.REJECTED):
                break
        return last

    def apply_group(self, group: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]) -> Any:
        """Run the members of a group; a `GroupResult`."""
        options = _without_place({**group.options, **options})
        results = [
            maybe_signature(member, app=group._app).apply(args, kwargs, **options) for member in shapes.flat(group.tasks)
        ]
        return GroupResult(group.options.get("task_id") or new_id(), results, app=self)

    def apply_chord(self, chord: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]) -> Any:
        """Run a chord's header and its body; the body's `EagerResult`. Raises what a header task raised."""
        if chord.body is None:
            raise TypeError("a chord needs a body: give one, chord(header, body) or chord(header)(body)")
        options = {**chord.options, **options}
        links = [shapes.listed(options.pop(name, None)) for name in ("link", "link_error")]
        propagate = options.pop("propagate", True)
        header = chord.header_group().apply(tuple(args) + tuple(chord.args), {**chord.kwargs.get("kwargs", {}), **kwargs})
        with allow_join_result():
            values = header.get(propagate=propagate)
        body = maybe_signature(shapes.with_callbacks(chord.body, *links), app=chord._app)
        result = body.apply((values,))
        result.parent = header
        return result

    def result_of(self, node: Node) -> Any:
        """The result that `node` stands for: `AsyncResult` or `GroupResult`, with its parents."""
        result: Any = None
        for each in reversed(list(node.ancestors())):
            if each.members is None:
                result = AsyncResult(each.id, app=self, parent=result)
            else:
                members = [self.result_of(member) for member in each.members]
                result = GroupResult(each.id, members, parent=result, app=self)
        return result


def _planned(
    app: Celery, signature: Signature[Any], args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]
) -> tuple[Planner, Node, bool, WorkflowNote | None]:
    options = {**options}
    add, place = _taken_apart(options)
    recorder = Recorder(app)
    planner = Planner(new_id, app.thread_oid, recorder.outline)
    node = planner.start(signature, args, kwargs, options, place)
    if planner.plan.chords and not app.backend.is_enabled:
        raise _uncounted(signature)
    return planner, node, add, recorder.note(planner.plan.sends, node)


def _taken_apart(options: dict[str, Any]) -> tuple[bool, Place]:
    """Takes out of the options whether the result is a child of the call that sends it, and where the workflow stands."""
    add = bool(options.pop("add_to_parent", True))
    options.pop("producer", None)
    options.pop("publisher", None)
    return add, Place(**{name: options.pop(name, None) for name in _PLACE})


def _uncounted(signature: Signature[Any]) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"{signature!r} has a chord in it, and a chord's results have to be counted: set result_backend"
    )


def _grows(signature: Signature[Any]) -> bool:
    """Whether this is a chord whose header a generator has still to make, with something in it."""
    header = signature.kwargs.get("header")
    return isinstance(header, Unrolled) and not header.is_whole and any(True for _ in shapes.flat(header.first()))


def _send_growing(app: Celery, chord: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]) -> Any:
    """Send each member of the header before the next one is made; the chord is counted from the last one on."""
    add, place = _taken_apart(options)
    if chord.body is None:
        raise TypeError("a chord needs a body: give one, chord(header, body) or chord(header)(body)")
    if not app.backend.is_enabled:
        raise _uncounted(chord)
    app.backend.ensure_chords_allowed()
    recorder = Recorder(app)
    planner = Planner(new_id, app.thread_oid, recorder.outline)
    node: Node | None = None
    for node in planner.grow(chord, chord.tasks, args, kwargs, options, place):
        if planner.plan.chords:
            app.backend.start_chords(planner.plan.sizes())
        sends, planner.plan.sends = planner.plan.sends, []
        workflow_id = None if recorder.outline is None else node.id
        for portion in _portions(app, sends, workflow_id, recorder.note((), node)):
            _publish(app, portion)
    assert node is not None
    return _sent(app, planner, node, add)


def _publish(app: Celery, portion: list[Collected]) -> None:
    batch = open_batch(app)
    if batch is None:
        publish_all(app, portion)
    else:
        for item in portion:
            batch.add(item)


def _portions(
    app: Celery, sends: Sequence[Send], workflow_id: str | None, note: WorkflowNote | None
) -> Iterator[list[Collected]]:
    """The calls in portions, each saying which workflow it is a part of; `note` goes out with the first."""
    remaining = iter(sends)
    while found := list(islice(remaining, _AT_ONCE)):
        portion: list[Collected] = []
        for send in found:
            made = draft_signature(app, send.signature, args=send.args, kwargs=send.kwargs, **send.options)
            if workflow_id is not None:
                made.message.headers[WORKFLOW_HEADER] = workflow_id
            announce(made)
            made.workflow, note = note, None
            portion.append(Collected(made, AsyncResult(made.task_id, app=app), False))
        yield portion
    app.amqp.stencils.over()


def _sent(app: Celery, planner: Planner, node: Node, add: bool) -> Any:
    result = app.result_of(node)
    if isinstance(result, GroupResult) and len(result) == 1 and isinstance(result[0], GroupResult):
        result = result[0]
    if add and worker_call() is not None:
        for child in planner.plan.children:
            add_to_parent(app.result_of(child))
    return result


def _is_nothing(signature: Mapping[str, Any]) -> bool:
    kind = shapes.kind(signature)
    return kind in ("chain", "group") and not any(True for _ in shapes.flat([signature]))


def _nothing(app: Celery, signature: Mapping[str, Any]) -> Any:
    if shapes.kind(signature) == "chain":
        return None
    return GroupResult(shapes.options_of(signature).get("task_id") or new_id(), [], app=app)


def _without_place(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in (*_PLACE, "add_to_parent")}
