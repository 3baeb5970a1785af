"""The tasks that every app has: results to clean up, and what workflows are run with by Celery's name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sedano.canvas import maybe_signature

if TYPE_CHECKING:
    from sedano.app.base import Celery


def register_builtin(app: Celery) -> None:
    """Add Celery's built-in tasks to `app`. Chains, groups and chords that somebody sends by the name of their task run too."""

    @app.task(name="celery.backend_cleanup", shared=False)
    def backend_cleanup() -> None:
        """Delete results that are past their time."""
        app.backend.cleanup()

    @app.task(name="celery.accumulate", shared=False)
    def accumulate(*args: Any, **kwargs: Any) -> Any:
        """The arguments as a list; with `index` one of them."""
        index = kwargs.get("index")
        return args[index] if index is not None else args

    @app.task(name="celery.map", shared=False)
    def xmap(task: Any, it: Iterable[Any]) -> list[Any]:
        """The task for each item."""
        run = maybe_signature(task, app).type
        return [run(item) for item in it]

    @app.task(name="celery.starmap", shared=False)
    def xstarmap(task: Any, it: Iterable[Any]) -> list[Any]:
        """The task for each item, which holds its arguments."""
        run = maybe_signature(task, app).type
        return [run(*item) for item in it]

    @app.task(name="celery.chunks", shared=False)
    def chunks(task: Any, it: Iterable[Any], n: int) -> Any:
        """Send the chunks."""
        return maybe_signature(
            {"task": "celery.chunks", "kwargs": {"task": task, "it": it, "n": n}, "subtask_type": "chunks"}, app
        )()

    @app.task(name="celery.chain", shared=False)
    def chain(*args: Any, **kwargs: Any) -> None:
        """Only a name: a chain goes out as its first step."""
        raise NotImplementedError("chain is not a real task")

    @app.task(name="celery.group", shared=False)
    def group(tasks: Any, result: Any, group_id: str, partial_args: Any, **_options: Any) -> Any:
        """Send the members, which are frozen already."""
        for member in tasks:
            maybe_signature(member, app).apply_async(partial_args, group_id=group_id, add_to_parent=False)
        return result

    @app.task(name="celery.chord", shared=False)
    def chord(header: Any, body: Any, partial_args: Any = (), **options: Any) -> Any:
        """Send the chord."""
        for name in ("interval", "countdown", "max_retries", "eager"):
            options.pop(name, None)
        whole = maybe_signature(
            {"task": "celery.chord", "kwargs": {"header": header, "body": body, "kwargs": {}}, "subtask_type": "chord"}, app
        )
        return whole.apply_async(partial_args, **options)
