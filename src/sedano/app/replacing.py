"""`Task.replace` and `Task.add_to_chord`: a running call changes the workflow that it is a part of."""

from __future__ import annotations

from typing import Any

from sedano.app.messages import plain_list
from sedano.canvas import shapes
from sedano.canvas.freezing import Freezer, Place
from sedano.canvas.signature import Signature, maybe_signature
from sedano.exceptions import Ignore, ImproperlyConfigured
from sedano.protocol.ids import new_id


def replacement(task: Any, signature: Any) -> Signature[Any]:
    """`signature` in the place of the running call: under its id, with its callbacks, its part of a chord, and the steps of
    the chain that come after it. Raises ImproperlyConfigured for what cannot stand there."""
    request = task.request
    if shapes.options_of(signature).get("chord"):
        raise ImproperlyConfigured("A signature replacing a task must not be part of a chord")
    if shapes.kind(signature) == "chain" and not shapes.tasks_of(signature):
        raise ImproperlyConfigured("Cannot replace with an empty chain")
    first = task.app.tasks["celery.accumulate"].s(index=0)
    if shapes.kind(signature) == "chunks":
        signature = maybe_signature(shapes.as_group(signature), task.app)
    if shapes.kind(signature) == "group":  # one result takes the place of one call's
        signature = signature | first
    if shapes.kind(signature) == "chain" and shapes.kind(shapes.steps_of(signature)[-1]) == "group":
        signature = signature | first
    linked = shapes.with_callbacks(signature, plain_list(request.callbacks) or (), plain_list(request.errbacks) or ())
    index = request.group_index if isinstance(request.group_index, int) else None
    place = Place(request.id, request.group, index, request.chord, request.root_id)
    frozen, _ = Freezer(new_id, request.reply_to).freeze(linked, place)
    nesting = (request.replaced_task_nesting or 0) + 1
    whole: Any = maybe_signature(_nested(frozen, nesting), task.app)
    for step in reversed(request.chain or ()):
        whole = whole | maybe_signature(_nested(step, nesting), task.app)
    return whole  # type: ignore[no-any-return]


def on_replace(task: Any, signature: Any) -> Any:
    """End the running call; what replaces it goes out in the step that settles it. Eager: run it now, and return its value."""
    if task.request.is_eager:
        return signature.apply().get()
    task.request.replacement = signature
    raise Ignore("Replaced by new task")


def add_to_chord(task: Any, signature: Any, lazy: bool = False) -> Any:
    """One more header task for the chord that the running call is a part of. Raises ValueError when it is part of none."""
    request = task.request
    if not request.chord:
        raise ValueError("Current task is not member of any chord")
    signature.set(group_id=request.group, group_index=request.group_index, chord=request.chord, root_id=request.root_id)
    frozen = signature.freeze()
    task.backend.grow_chord(request.group, 1, frozen.id)
    return signature if lazy else signature.delay()


def _nested(signature: Any, nesting: int) -> dict[str, Any]:
    """A copy that says how often calls of it were replaced."""
    marked = {**signature, "options": {**shapes.options_of(signature), "replaced_task_nesting": nesting}}
    if shapes.kind(signature) == "chain":
        tasks = [_nested(task, nesting) for task in shapes.tasks_of(signature)]
        marked["kwargs"] = {**signature["kwargs"], "tasks": tasks}
    return marked
