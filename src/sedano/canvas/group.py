"""`group`: side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sedano.canvas import shapes, stamping
from sedano.canvas.signature import Signature, maybe_signature
from sedano.canvas.workflow import Workflow, members_of, without_repeated_module


@Signature.register_type()
class group(Workflow):  # noqa: N801 - Celery's name
    """`group(a, b)` or `group(a list or generator of signatures)`: calls that run side by side. Groups inside are taken apart.

    Applied, all members go out, in few round trips. `args` go to each, options too. `link` and `link_error` as options are
    refused: link to a chord, or to the members. The result is a `GroupResult` in the order of the members.
    """

    def __init__(self, *tasks: Any, **options: Any) -> None:
        app = options.pop("app", None)
        if len(tasks) == 1 and isinstance(tasks[0], group):
            members = list(tasks[0].tasks)
        elif len(tasks) == 1 and isinstance(tasks[0], Signature):
            members = [tasks[0].clone()]
        else:
            members = members_of(tasks, "a group", app)
        super().__init__("celery.group", (), {"tasks": members}, options, subtask_type="group", app=app)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> group:
        made = cls([maybe_signature(member, app) for member in shapes.tasks_of(d)], app=app)
        made.update(args=tuple(d.get("args") or ()), options=dict(d.get("options") or {}), immutable=bool(d.get("immutable")))
        return made

    @property
    def tasks(self) -> list[Signature[Any]]:
        return self.kwargs["tasks"]  # type: ignore[no-any-return]

    @tasks.setter
    def tasks(self, tasks: Sequence[Signature[Any]]) -> None:
        self.kwargs["tasks"] = tasks

    def _parts(self) -> Iterable[Any]:
        return self.tasks

    def _own_kwargs(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return {**kwargs, "tasks": [maybe_signature(member, self._app, clone=True) for member in kwargs.get("tasks") or ()]}

    def __call__(self, *partial_args: Any, **options: Any) -> Any:
        """Send it; keyword arguments are options."""
        return self.apply_async(partial_args, **options)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send all members. Raises TypeError for `link` and `link_error`."""
        if options.get("link") is not None:
            raise TypeError("Cannot add link to group: use a chord")
        if options.get("link_error") is not None:
            raise TypeError("Cannot add link to group: do that on individual tasks")
        return super().apply_async(args, kwargs, route_name, **options)

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run its members here and now; a `GroupResult` of `EagerResult`s."""
        return self.app.apply_group(*self._merged(args, kwargs, None, options))

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> group:
        """Countdowns from `start` up in steps of `step`, one for each member; those behind `stop` all have the last."""
        for member, countdown in zip(self.tasks, _countdowns(start, stop, step), strict=False):
            member.set(countdown=countdown)
        return self

    def set_immutable(self, immutable: bool) -> None:
        for member in self.tasks:
            member.set_immutable(immutable)

    def link(self, callback: Any) -> Any:
        """Send `callback`, without the result, when the first member has succeeded."""
        once = maybe_signature(callback).clone().set(immutable=True)
        return self.tasks[0].link(once)

    def link_error(self, errback: Any) -> Any:
        """Add `errback` to every member."""
        errback = maybe_signature(errback)
        return tuple(member.link_error(errback.clone()) for member in self.tasks)

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        said = visitor.on_group_start(self, **headers) or {} if visitor is not None else None
        stamps = stamping.collect(headers, said, self.options, appends=append_stamps)
        self.stamp_links(visitor, append_stamps, **stamps)
        for member in self.tasks:
            member.stamp(visitor, append_stamps, **stamps)
        if visitor is not None:
            visitor.on_group_end(self, **stamps)

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, Signature):
            return NotImplemented
        if shapes.is_empty_group(other):
            return self
        return self.TYPES["chord"](self, body=other, app=self._app)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return bool(self.tasks)

    def __repr__(self) -> str:
        if not self.tasks:
            return "group(<empty>)"
        members = ", ".join(repr(member) for member in self.tasks)
        return without_repeated_module(self.tasks[0]["task"], f"group(({members}))")


def _countdowns(start: float, stop: float | None, step: float) -> Iterator[float]:
    value = last = start * 1.0
    while stop is None or value < stop:
        yield value
        last, value = value, value + step
    while True:
        yield last
