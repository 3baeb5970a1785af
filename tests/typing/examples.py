"""Read by mypy and pyright, never run. `# error` marks a line that both must refuse; every other line must pass."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, assert_type

from sedano import AsyncResult, Celery, EagerResult, Signature, Task, shared_task

app = Celery("proj")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(name="named", max_retries=3)
def named(text: str) -> list[str]:
    return [text]


@app.task(bind=True)
def bound(self: Task, x: int, *, flag: bool = False) -> str:
    return f"{self.request.id}{x}{flag}"


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(bind=True)
async def bound_fetch(self: Task, url: str) -> bytes:
    return url.encode()


@shared_task
def shared(x: int) -> float:
    return x / 2


@shared_task(bind=True)
def shared_bound(self: Task, x: int) -> float:
    return x / 2


class Base(Task):
    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None: ...


@app.task(base=Base)
def with_base(x: int) -> None: ...


# A call has the function's parameters and result.
assert_type(add(1, 2), int)
assert_type(add.delay(1, y=2), AsyncResult[int])
assert_type(add.delay(1).get(timeout=3), int)
assert_type(named.delay("x").get(), list[str])
assert_type(bound.delay(1, flag=True).get(), str)
assert_type(shared.delay(1).get(), float)
assert_type(shared_bound.delay(1).get(), float)
assert_type(add.apply_async((1, 2), countdown=3), AsyncResult[int])
assert_type(add.apply((1, 2)), EagerResult[int])
assert_type(add.apply((1, 2)).get(), int)
assert_type(add.AsyncResult("id").get(), int)
assert_type(with_base.delay(1).get(), None)

# An async task gives a coroutine here, and its value as a result.
coroutine: Coroutine[Any, Any, bytes] = fetch("u")
assert_type(fetch.delay("u").get(), bytes)
assert_type(bound_fetch.delay("u").get(), bytes)


async def use() -> None:
    assert_type(await fetch("u"), bytes)
    assert_type(await add.adelay(1), AsyncResult[int])
    assert_type(await (await add.adelay(1)), int)
    assert_type(await add.delay(1).aget(), int)
    await add.adelay("x")  # error
    await add.aapply_async((1,), countdown=1)


# Signatures: complete, or without the first argument, which the step before gives.
assert_type(add.s(1, 2), Signature[int])
assert_type(add.s(1), Signature[int])
assert_type(add.s(), Signature[int])
assert_type(add.si(1), Signature[int])
assert_type(bound.s(1, flag=True), Signature[str])
add.s("x", 1, 2)  # error
add.si()  # error
add.si("x")  # error

# Wrong arguments are wrong.
add.delay("x")  # error
add.delay()  # error
add.delay(1, 2, 3)  # error
add.delay(1, z=2)  # error
add("x")  # error
named.delay(1)  # error
bound.delay("x")  # error
bound.delay(1, True)  # error
fetch.delay(1)  # error
shared.delay("x")  # error
shared_bound.delay("x")  # error

# A task without its types (a base class, a task found by name) takes anything.
plain: Task = add
plain.delay("anything", goes=True)
found = app.tasks["x"]
found.delay(1, 2, 3)
assert_type(app.send_task("x").get(), Any)
assert_type(AsyncResult("id").get(), Any)
