"""`chord`: a group, and a call that gets the results of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sedano.canvas import shapes, stamping
from sedano.canvas.chain import chain
from sedano.canvas.group import group
from sedano.canvas.signature import Signature, maybe_signature
from sedano.canvas.unrolled import Unrolled
from sedano.canvas.workflow import Workflow, member_of, members_of, without_repeated_module


@Signature.register_type()
class chord(Workflow):  # noqa: N801 - Celery's name
    """`chord(header, body)` or `chord(header)(body)`: `body` is called with the list of the header's results, in its order.

    Applied, the header goes out with the body in its messages. It needs a result backend. `args` go to each header task;
    `link` and `link_error` to the body, `countdown` and `eta` to the header, other options to both. The result is the body's;
    its `parent` is the header's.
    """

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = "celery.chord",
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Any = None,
        **options: Any,
    ) -> None:
        parts = {**(kwargs or {"kwargs": {}}), "header": _header(header, app), "body": maybe_signature(body, app)}
        if body is not None and not isinstance(parts["body"], Signature):
            raise TypeError(f"the body of a chord is a signature, and {body!r} is none")
        super().__init__(task, args, parts, options, subtask_type="chord", app=app)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> chord:
        kwargs = dict(d.get("kwargs") or {})
        header, body = kwargs.pop("header", ()), kwargs.pop("body", None)
        made = cls(header, body, d.get("task") or "celery.chord", d.get("args"), kwargs or None, app)
        made.update(options=dict(d.get("options") or {}), immutable=bool(d.get("immutable")))
        return made

    @property
    def tasks(self) -> Any:
        """The header: a list of signatures, or (frozen) a group."""
        return self.kwargs["header"]

    @tasks.setter
    def tasks(self, tasks: Any) -> None:
        self.kwargs["header"] = tasks

    @property
    def body(self) -> Any:
        return self.kwargs["body"]

    @body.setter
    def body(self, body: Any) -> None:
        self.kwargs["body"] = body

    def header_group(self) -> group:
        """The header as a group."""
        return self.tasks if isinstance(self.tasks, group) else group(self.tasks, app=self._app)

    def _members(self) -> list[Signature[Any]]:
        return list(self.tasks.tasks if isinstance(self.tasks, group) else self.tasks)

    def _parts(self) -> Iterable[Any]:
        yield from self.tasks.tasks if isinstance(self.tasks, group) else self.tasks
        yield self.body

    def _own_kwargs(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        header = kwargs["header"]
        if isinstance(header, Mapping):
            copied: Any = maybe_signature(header, self._app, clone=True)
        else:
            copied = [maybe_signature(member, self._app, clone=True) for member in header]
        return {**kwargs, "header": copied, "body": maybe_signature(kwargs.get("body"), self._app, clone=True)}

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with another body if one is given; keyword arguments are options."""
        return self.apply_async((), {"body": body} if body is not None else {}, **options)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send the header. Raises TypeError without a body, ImproperlyConfigured without results to count."""
        whole, rest = self._with_body(kwargs)
        return super(chord, whole).apply_async(args, rest, route_name, **options)

    async def aapply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        whole, rest = self._with_body(kwargs)
        return await super(chord, whole).aapply_async(args, rest, **options)

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run the header and the body here and now; the body's `EagerResult`."""
        whole, rest = self._with_body(kwargs)
        return self.app.apply_chord(*whole._merged(args, rest, None, options))

    def run(self, header: Any, body: Any, partial_args: Sequence[Any] = (), task_id: str | None = None, **options: Any) -> Any:
        """Send a chord of this header and this body."""
        return chord(header, body, app=self._app).apply_async(partial_args, task_id=task_id, **options)

    def _with_body(self, kwargs: Mapping[str, Any] | None) -> tuple[chord, dict[str, Any]]:
        rest = dict(kwargs or {})
        body = rest.pop("body", None)
        if body is None:
            return self, rest
        whole = self._copied()
        assert isinstance(whole, chord)
        whole["kwargs"] = {**self.kwargs, "body": maybe_signature(body, self._app)}
        return whole, rest

    def link(self, callback: Any) -> Any:
        """Send `callback` when the body has succeeded."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Add `errback` to the body; with `task_allow_error_cb_on_chord_header` to each header task too, immutable."""
        errback = maybe_signature(errback)
        if self.app.conf.task_allow_error_cb_on_chord_header:
            for member in self._members():
                member.link_error(errback.clone().set(immutable=True))
        self.body.link_error(errback)
        return errback

    def set_immutable(self, immutable: bool) -> None:
        """Of the header tasks only."""
        for member in self._members():
            member.set_immutable(immutable)

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        said = visitor.on_chord_header_start(self, **headers) or {} if visitor is not None else None
        stamps = stamping.collect(headers, said, self.options, appends=append_stamps)
        self.stamp_links(visitor, append_stamps, **stamps)
        for member in self._members():
            member.stamp(visitor, append_stamps, **stamps)
        if visitor is not None:
            visitor.on_chord_header_end(self, **stamps)
            if self.body is not None:
                said = visitor.on_chord_body(self, **stamps) or {}
                self.body.stamp(visitor, append_stamps, **stamping.collect(stamps, said, self.options, appends=append_stamps))

    def __length_hint__(self) -> int:
        return sum(shapes.size_of(member) for member in self._members())

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, Signature):
            return NotImplemented
        if isinstance(other, group):
            if not other.tasks:
                return self
            if len(other.tasks) > 1:
                return chain.made_of([self.clone(), other.clone()], self._app)
            other = maybe_signature(other.tasks[0])
        if isinstance(other, chain):
            return super().__or__(other)
        joined = self.clone()
        joined.kwargs["body"] = joined.kwargs["body"] | other
        return joined

    def __repr__(self) -> str:
        if self.body is None:
            return f"<chord without body: {self.tasks!r}>"
        if isinstance(self.body, chain) and self.body.tasks:
            first, *rest = self.body.tasks
            shown = f"%({first.reprcall(self.tasks)} | {chain(rest, app=self._app)!r})"
            return without_repeated_module(first["task"], shown)
        return "%" + without_repeated_module(self.body["task"], self.body.reprcall(self.tasks))


def _header(header: Any, app: Any) -> Any:
    if isinstance(header, Mapping):
        header = maybe_signature(header, app)
        if isinstance(header, group):
            # A frozen group keeps its id, which its members and the body name.
            return header if header.options.get("task_id") else list(header.tasks)
        return list(header.tasks) if isinstance(header, chain) else [header]
    if isinstance(header, Iterator):
        return Unrolled(header, lambda given: member_of(given, "the header of a chord", app).clone())
    # Copies: what is linked to the members of a chord is not linked to the signatures that it was made of.
    return [member.clone() for member in members_of([header], "the header of a chord", app)]
