"""`chain`: one after the other, each with the result of the one before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sedano.canvas import shapes, stamping
from sedano.canvas.shapes import Map
from sedano.canvas.signature import Signature, maybe_signature
from sedano.canvas.workflow import Workflow, members_of, without_repeated_module


@Signature.register_type("chain")
class chain(Workflow):  # noqa: N801 - Celery's name
    """`chain(a, b, c)` is `a | b | c`, so what it makes depends on what they are (celery-surface 3.2): a group and what comes
    after it are a chord, for instance. With one signature or with options it is always a chain.

    Applied, the first step goes out with the others in its message. `args` go to the first step, `task_id` and `link` to the
    last, `link_error` to all of them, other options to the first. The result is the last step's, and its `parent` the result
    of the one before.
    """

    def __new__(cls, *tasks: Any, **options: Any) -> Any:
        given: list[Any] = list(tasks)
        if given and not options and (len(given) > 1 or not isinstance(given[0], Mapping)):
            return cls.of(members_of(given, "a chain"))
        return super().__new__(cls)

    def __init__(self, *tasks: Any, **options: Any) -> None:
        if self:  # made by fold already
            return
        self._fill(tasks, options)

    def _fill(self, tasks: Sequence[Any], options: dict[str, Any]) -> None:
        app = options.pop("app", None)
        steps = [step.clone() for step in members_of(tasks, "a chain", app)]
        super().__init__("celery.chain", (), {"tasks": steps}, options, subtask_type="chain", app=app)

    @classmethod
    def unfolded(cls, *tasks: Any, **options: Any) -> chain:
        """A chain of just these steps, whatever they are; the arguments are those of `chain`."""
        made: chain = dict.__new__(cls)
        made._fill(tasks, options)
        return made

    @classmethod
    def of(cls, signatures: Iterable[Signature[Any]], app: Any = None) -> Signature[Any]:
        """What `|` makes of signatures that run one after another; each is copied. Its cost grows with their number."""
        whole: Signature[Any] | None = None  # what is no chain (yet): a group or a chord that stands alone
        steps: list[Signature[Any]] = []
        for signature in signatures:
            if whole is None:
                whole = _join(steps, signature)
                continue
            joined: Signature[Any] = whole | signature
            whole = joined
            if isinstance(joined, chain):
                whole, steps = None, joined.tasks
        return cls.made_of(steps, app) if whole is None else whole

    @classmethod
    def made_of(cls, steps: list[Signature[Any]], app: Any) -> chain:
        """A chain of just these steps."""
        made: chain = dict.__new__(cls)
        Signature.__init__(made, "celery.chain", (), {"tasks": steps}, subtask_type="chain", app=app)
        return made

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> chain:
        made = cls.made_of([maybe_signature(step, app) for step in shapes.tasks_of(d)], app)
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
        return {**kwargs, "tasks": [maybe_signature(step, self._app, clone=True) for step in kwargs.get("tasks") or ()]}

    def _adopt(self, frozen: Map, result_id: str) -> None:
        if shapes.kind(frozen) == "chain":
            super()._adopt(frozen, result_id)
        else:
            self.kwargs["tasks"] = [maybe_signature(frozen, self._app)]
            self["args"] = ()
        self.options["task_id"] = result_id

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send it. An empty one is nothing: None."""
        return self.apply_async(args, kwargs) if self.tasks else None

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run its steps here and now; an `EagerResult`, or None for an empty chain."""
        return self.app.apply_chain(*self._merged(args, kwargs, None, options))

    def unchain_tasks(self) -> list[Signature[Any]]:
        """Copies of its steps: on the last the chain's callbacks, on each its errbacks."""
        steps = [step.clone() for step in self.tasks]
        for link in shapes.listed(self.options.get("link")):
            steps[-1].link(link)
        for errback in shapes.listed(self.options.get("link_error")):
            for step in steps:
                step.link_error(errback)
        return steps

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        said = visitor.on_chain_start(self, **headers) or {} if visitor is not None else None
        stamps = stamping.collect(headers, said, self.options, appends=append_stamps)
        self.stamp_links(visitor, **stamps)
        for step in self.tasks:
            step.stamp(visitor, append_stamps, **stamps)
        if visitor is not None:
            visitor.on_chain_end(self, **stamps)

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, Signature):
            return NotImplemented
        if not self.tasks:
            return self.of((other,), self._app)
        if shapes.is_empty_group(other):
            return self
        steps = self.unchain_tasks()
        whole = _join(steps, other)
        return self.made_of(steps, self._app) if whole is None else whole

    def __repr__(self) -> str:
        if not self.tasks:
            return f"<{type(self).__name__}@{id(self):#x}: empty>"
        return without_repeated_module(self.tasks[0]["task"], " | ".join(repr(step) for step in self.tasks))


def _join(steps: list[Signature[Any]], other: Signature[Any]) -> Signature[Any] | None:
    """Add a copy of `other` behind `steps`; what it makes when that is no chain."""
    if isinstance(other, chain):
        remaining = other.unchain_tasks()
        for position, step in enumerate(remaining):
            whole = _join(steps, step)
            if whole is not None:
                return chain.of([whole, *remaining[position + 1 :]])
        return None
    shape = shapes.kind(other)
    if shape == "group":
        members = shapes.tasks_of(other)
        if not members:
            return None
        if len(members) == 1:
            return _join(steps, maybe_signature(members[0]))
        if not steps:
            return other
    last = steps[-1] if steps else None
    if last is not None and shapes.kind(last) == "group":
        steps[-1] = last | other.clone()
    elif last is not None and shapes.kind(last) == "chord" and shape != "chord":
        joined = last.clone()
        joined.kwargs["body"] = joined.kwargs["body"] | other
        steps[-1] = joined
    else:
        steps.append(other.clone())
    return None
