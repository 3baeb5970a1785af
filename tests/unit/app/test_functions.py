"""Which functions are `async def`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from sedano.app.functions import is_coroutine_function


def plain() -> None: ...


async def coroutine() -> None: ...


@functools.wraps(coroutine)
def wrapped() -> None: ...


@functools.wraps(plain)
async def wrapping() -> None: ...


class Callables:
    def method(self) -> None: ...

    async def async_method(self) -> None: ...

    def __call__(self) -> None: ...


FUNCTIONS: list[Callable[..., Any]] = [
    plain, coroutine, wrapped, wrapping, Callables().method, Callables().async_method, Callables(), Callables, print,
    functools.partial(coroutine), functools.partial(plain), functools.partialmethod(coroutine).func,
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS)
def test_given_any_callable_then_the_answer_is_that_of_the_standard_library(function: Callable[..., Any]) -> None:
    assert is_coroutine_function(function) is inspect.iscoroutinefunction(function)


@pytest.mark.skipif(not hasattr(inspect, "markcoroutinefunction"), reason="came with Python 3.12")
def test_given_a_function_that_is_marked_as_one_then_it_is_one() -> None:
    marked = getattr(inspect, "markcoroutinefunction")(lambda: coroutine())  # noqa: B009 - checkers read 3.11
    assert is_coroutine_function(marked)
