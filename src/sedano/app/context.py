"""`self.request`: what a task knows about the call that it runs, and the stack of running requests.

The stack is kept per thread and asyncio task (a context variable), one for all tasks, so that pushing and popping a request
costs one variable each way.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

from sedano.protocol.call import WORKFLOW_HEADER, Body, Call, Embed

# Headers that a message of ours or Celery's has anyway: whatever else stands beside them is the user's own.
# fmt: off
KNOWN_HEADERS = frozenset({
    "lang", "task", "id", "root_id", "parent_id", "group", "group_index", "retries", "eta", "expires", "timelimit", "shadow",
    "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers", "stamps", "compression",
    "redelivered", "x-death", "x-sedano-deliveries", "x-sedano-workflow",
})
# fmt: on


class Context:
    """The attributes of one call. Every name of Celery's request is here with its default.

    Built for each call on the hot path: values live in the instance's `__dict__`, defaults on the class.
    """

    _children: list[Any] | None = None
    _protected = 0
    args: Any = None
    callbacks: list[Any] | None = None
    called_directly: bool = True
    chain: list[Any] | None = None
    chord: Any = None
    correlation_id: str | None = None
    delivery_info: dict[str, Any] | None = None
    errbacks: list[Any] | None = None
    eta: str | None = None
    expires: str | None = None
    group: str | None = None
    group_index: int | None = None
    headers: dict[str, Any] | None = None
    hostname: str | None = None
    id: str | None = None
    ignore_result: bool = False
    is_eager: bool = False
    kwargs: Any = None
    logfile: str | None = None
    loglevel: int | None = None
    origin: str | None = None
    parent_id: str | None = None
    pending_retries: list[Any] | None = None  # signatures of `retry(throw=False)`: they go out with the settlement
    properties: dict[str, Any] | None = None
    replaced_task_nesting: int = 0
    replacement: Any = None  # the signature of `replace()`: it goes out with the settlement
    reply_to: str | None = None
    retries: int = 0
    root_id: str | None = None
    shadow: str | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None
    task: str | None = None
    taskset: str | None = None
    timelimit: Any = None
    utc: bool | None = None
    sedano_workflow: str | None = None  # Sedano's own: the workflow that the call is a part of

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.__dict__.update(*args, **kwargs)

    def update(self, *args: Any, **kwargs: Any) -> None:
        self.__dict__.update(*args, **kwargs)

    def clear(self) -> None:
        self.__dict__.clear()

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)

    def __repr__(self) -> str:
        return f"<Context: {vars(self)!r}>"

    @property
    def children(self) -> list[Any]:
        """Results of the calls that this one sent; made on first use."""
        if self._children is None:
            self._children = []
        return self._children

    @children.setter
    def children(self, children: list[Any] | None) -> None:
        self._children = children

    @property
    def time_limit(self) -> float | None:
        """The call's own hard limit in seconds."""
        return cast("float | None", self.timelimit[0]) if self.timelimit else None

    @property
    def soft_time_limit(self) -> float | None:
        """The call's own soft limit in seconds."""
        return cast("float | None", self.timelimit[1]) if self.timelimit else None

    def as_execution_options(self) -> dict[str, Any]:
        """The `apply_async` options that send this call again as it came."""
        hard, soft = self.timelimit or (None, None)
        options: dict[str, Any] = {
            "task_id": self.id,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.chain,
            "link": self.callbacks,
            "link_error": self.errbacks,
            "expires": self.expires,
            "soft_time_limit": soft,
            "time_limit": hard,
            "headers": self._own_headers(),
            "retries": self.retries,
            "reply_to": self.reply_to,
            "replaced_task_nesting": self.replaced_task_nesting,
            "origin": self.origin,
        }
        if self.stamps is not None and self.stamped_headers is not None:
            options["stamped_headers"] = self.stamped_headers
            options.update({name: value for name, value in self.stamps.items() if name in self.stamped_headers})
        return options

    def _own_headers(self) -> dict[str, Any] | None:
        """Without what a broker added: RabbitMQ would take a repeated x-death for a loop."""
        if self.headers is None:
            return None
        return {name: value for name, value in self.headers.items() if not name.startswith("x-death")}


def context_of(call: Call, body: Body, *, hostname: str | None, redelivered: bool = False) -> Context:
    """The request of a delivered call, for the worker. `hostname` is the node's name.

    The sender's own headers are attributes too, as in Celery: `request.tenant` beside `request.headers["tenant"]`.
    """
    source = call, body, hostname, redelivered
    if KNOWN_HEADERS.issuperset(call.headers):
        return LateContext(source)
    request = Context.__new__(Context)
    request.__dict__ = _values(source)
    return request


_Source = tuple[Call, Body, str | None, bool]


class LateContext(Context):
    """The request of a delivered call. Most tasks never look at it, so most of it is made at the first look.

    What the worker asks of every request is there at once.
    """

    __slots__ = ("_source",)

    def __init__(self, source: _Source) -> None:
        self._source: _Source | None = source
        embed = source[1].embed
        own = _dict_of(self)
        own["id"] = source[0].id
        own["called_directly"] = False
        own["callbacks"] = embed.callbacks
        own["chain"] = embed.chain
        own["chord"] = embed.chord

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """Everything, for `vars(request)` and whoever else takes it apart."""
        return self.complete()

    def complete(self) -> dict[str, Any]:
        """Make all values; those that were set meanwhile stay."""
        values = _dict_of(self)
        source = self._source
        if source is not None:
            for name, value in _values(source).items():
                values.setdefault(name, value)
            self._source = None
        return values

    def __reduce__(self) -> tuple[type[Context], tuple[dict[str, Any]]]:
        return Context, (dict(self.complete()),)


class _Late:
    """An attribute of a `LateContext` that is not made yet: no data descriptor, what stands in the instance hides it."""

    __slots__ = ("_default", "_name")

    def __init__(self, name: str, default: Any) -> None:
        self._name, self._default = name, default

    def __get__(self, request: LateContext | None, owner: type) -> Any:
        return self._default if request is None else request.complete().get(self._name, self._default)


_dict_of: Callable[[Context], dict[str, Any]] = Context.__dict__["__dict__"].__get__


def _values(source: _Source) -> dict[str, Any]:
    """The attributes of a request by name."""
    call, body, hostname, redelivered = source
    headers = call.headers
    own = headers.keys() - KNOWN_HEADERS
    info = call.delivery_info
    embed = body.embed
    values: dict[str, Any] = {
        "id": call.id,
        "task": call.task,
        "args": body.args,
        "kwargs": body.kwargs,
        "retries": call.retries,
        "eta": headers.get("eta"),
        "expires": headers.get("expires"),
        "hostname": hostname,
        "origin": call.origin,
        "called_directly": False,
        "delivery_info": {
            "exchange": info.get("exchange"),
            "routing_key": info.get("routing_key"),
            "priority": call.priority,
            "redelivered": redelivered,
        },
        "properties": call.properties,
        "headers": {name: headers[name] for name in own} if own else None,
        "reply_to": call.reply_to,
        "correlation_id": call.correlation_id,
        "root_id": call.root_id,
        "parent_id": call.parent_id,
        "group": call.group,
        "group_index": call.group_index,
        "timelimit": list(call.timelimit),
        "shadow": call.shadow,
        "argsrepr": call.argsrepr,
        "kwargsrepr": call.kwargsrepr,
        "utc": call.utc,
        "replaced_task_nesting": call.replaced_task_nesting,
        "stamped_headers": call.stamped_headers,
        "stamps": call.stamps,
        "callbacks": embed.callbacks,
        "errbacks": embed.errbacks,
        "chain": embed.chain,
        "chord": embed.chord,
    }
    if call.protocol == 1:
        values["eta"], values["expires"] = _iso(call.eta), _iso(call.expires)
    if call.ignore_result is not None:
        values["ignore_result"] = call.ignore_result
    if WORKFLOW_HEADER in headers:
        values["sedano_workflow"] = headers[WORKFLOW_HEADER]
    for name in own:
        if not hasattr(Context, name):  # a header must not stand in for what we say about the call
            values.setdefault(name, headers[name])
    return values


for _name in _values((Call("", "", ignore_result=True, headers={WORKFLOW_HEADER: ""}), Body((), {}, Embed()), None, False)):
    setattr(LateContext, _name, _Late(_name, getattr(Context, _name, None)))


def _iso(time_s: float | None) -> str | None:
    return None if time_s is None else datetime.fromtimestamp(time_s, UTC).isoformat()


def children_of(request: Context) -> list[Any] | None:
    """The results of what `request` has sent, None or [] when it has sent nothing; looking makes nothing."""
    return request._children  # pyright: ignore[reportPrivateUsage]  # of this very module


def ignores_result(task: Any, request: Context) -> bool:
    """Whether the outcome of this call is not to be stored: what the caller asked for, else the task's own setting."""
    asked = request.__dict__.get("ignore_result")
    return bool(task.ignore_result if asked is None else asked)


_frames: contextvars.ContextVar[tuple[tuple[Any, Context], ...]] = contextvars.ContextVar("sedano_requests", default=())
Token = contextvars.Token[tuple[tuple[Any, Context], ...]]


def push_request(task: Any, request: Context) -> Token:
    """Make `request` the running request of `task`; give the token to `pop_request`."""
    return _frames.set((*_frames.get(), (task, request)))


def pop_request(token: Token) -> None:
    _frames.reset(token)


def pop_top(task: Any) -> Context | None:
    """Remove the newest request of `task`, for `Task.pop_request()` without a token."""
    frames = _frames.get()
    for index in range(len(frames) - 1, -1, -1):
        if _is_same(frames[index][0], task):
            _frames.set(frames[:index] + frames[index + 1 :])
            return frames[index][1]
    return None


def _is_same(one: Any, other: Any) -> bool:
    # A function that was decorated twice under one name is one task in two objects.
    return one is other or one.__dict__ is other.__dict__


def worker_call() -> tuple[Any, Context] | None:
    """The innermost (task, request) that a worker or eager mode runs, not counting tasks called as plain functions."""
    frames = _frames.get()
    for index in range(len(frames) - 1, -1, -1):
        if not frames[index][1].called_directly:
            return frames[index]
    return None


def request_of(task: Any) -> Context | None:
    """The newest running request of `task` in this thread or asyncio task, or None."""
    frames = _frames.get()
    for index in range(len(frames) - 1, -1, -1):
        if _is_same(frames[index][0], task):
            return frames[index][1]
    return None


def newest() -> tuple[Any, Context] | None:
    """The innermost (task, request), or None outside of tasks."""
    frames = _frames.get()
    return frames[-1] if frames else None


async def within(task: Any, request: Context, coroutine: Awaitable[Any]) -> Any:
    """Await `coroutine` with `request` as the running request of `task`."""
    with running(task, request):
        return await coroutine


@contextmanager
def running(task: Any, request: Context) -> Generator[Context]:
    """Within it, `request` is the running request of `task`."""
    token = push_request(task, request)
    try:
        yield request
    finally:
        pop_request(token)
