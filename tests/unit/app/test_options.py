"""Options and arguments are checked before anything is sent."""

from __future__ import annotations

import pytest
from tests.apps import sent

from sedano import Celery, Task
from sedano.app.arguments import argument_check
from sedano.app.parameters import merge_changed, takes_more_than_one


def plain(a: int, b: int = 2, *, c: int = 3) -> None: ...


def greedy(*args: int, **kwargs: int) -> None: ...


def positional(a: int, b: int, /, c: int, *rest: int) -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1,), {}), ((1, 2), {}), ((), {"a": 1}), ((1,), {"c": 4})],
)
def test_given_fitting_arguments_when_checked_then_nothing_is_raised(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    argument_check(plain, bound=False)(*args, **kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, r"plain\(\) missing 1 required positional argument: 'a'"),
        ((1, 2, 3), {}, r"plain\(\) takes from 1 to 2 positional arguments but 3 were given"),
        ((1,), {"d": 1}, r"plain\(\) got an unexpected keyword argument 'd'"),
        ((1,), {"a": 1}, r"plain\(\) got multiple values for argument 'a'"),
    ],
)
def test_given_wrong_arguments_when_checked_then_python_words_the_error(
    args: tuple[int, ...], kwargs: dict[str, int], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        argument_check(plain, bound=False)(*args, **kwargs)


def test_given_other_kinds_of_functions_when_checked_then_they_are_checked_too() -> None:
    argument_check(greedy, bound=False)(1, 2, x=3)
    argument_check(positional, bound=False)(1, 2, 3, 4)
    with pytest.raises(TypeError):
        argument_check(positional, bound=False)(1, b=2, c=3)

    class Callable:
        def __call__(self, a: int) -> None: ...

    argument_check(Callable(), bound=False)(1)
    with pytest.raises(TypeError):
        argument_check(Callable(), bound=False)()
    argument_check(print, bound=False)("anything", 1)


def test_given_typing_off_when_called_then_any_arguments_are_sent(app: Celery) -> None:
    @app.task(typing=False)
    def one(a: int) -> None: ...

    one.delay()  # type: ignore[call-arg]
    assert len(sent(app)) == 1


def test_given_a_bound_task_when_called_then_self_is_not_an_argument(app: Celery) -> None:
    @app.task(bind=True)
    def one(self: Task, a: int) -> None: ...

    one.delay(1)
    with pytest.raises(TypeError):
        one.delay()  # type: ignore[call-arg]


def test_given_an_unknown_option_when_called_then_the_nearest_name_is_told_and_nothing_is_sent(app: Celery) -> None:
    @app.task
    def one() -> None: ...

    with pytest.raises(TypeError, match="'countdown'"):
        one.apply_async(contdown=3)
    with pytest.raises(TypeError, match="unknown option 'x'"):
        one.apply_async(x=3)
    assert sent(app) == []


def test_given_kombu_publish_options_when_called_then_they_are_accepted(app: Celery) -> None:
    @app.task
    def one() -> None: ...

    one.apply_async(mandatory=True, immediate=False, timeout=3, confirm_timeout=1, declare=[], user_id="me", expiration=2)
    (delivery,) = sent(app)
    assert delivery.message is not None
    assert delivery.message.properties["user_id"] == "me"
    assert delivery.message.properties["expiration"] == "2000"
    assert "mandatory" not in delivery.message.properties


def test_given_a_soft_limit_above_the_hard_one_when_called_then_value_error(app: Celery) -> None:
    @app.task(soft_time_limit=10, time_limit=5)
    def one() -> None: ...

    with pytest.raises(ValueError, match="soft_time_limit"):
        one.delay()


@pytest.mark.parametrize("bad", [{"args": "text"}, {"kwargs": [1]}, {"headers": [1]}, {"priority": "high"}, {"countdown": "3"}])
def test_given_values_of_the_wrong_kind_when_called_then_type_error(app: Celery, bad: dict[str, object]) -> None:
    @app.task(typing=False)
    def one(*args: object, **kwargs: object) -> None: ...

    with pytest.raises(TypeError):
        one.apply_async(**bad)  # type: ignore[arg-type]


def test_given_a_function_then_takes_more_than_one_counts_positionals() -> None:
    def none() -> None: ...
    def one(a: int, *, b: int = 0) -> None: ...
    def two(a: int, b: int = 0) -> None: ...

    assert not takes_more_than_one(none)
    assert not takes_more_than_one(one)
    assert takes_more_than_one(two)
    assert takes_more_than_one(greedy)


def test_given_stored_arguments_then_takes_more_than_one_counts_what_is_left() -> None:
    def old_form(task_id: str, label: str) -> None: ...
    def new_form(request: object, exc: object, traceback: object, label: str) -> None: ...

    assert not takes_more_than_one(old_form, ["label"])
    assert not takes_more_than_one(old_form, (), {"label": "x"})
    assert takes_more_than_one(new_form, ["label"])
    assert takes_more_than_one(old_form, ["one", "too", "many"])


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        (((1, 2), {"c": 3}), (None, None), ((1, 2), {"c": 3})),
        (((1, 2), {"c": 3}), ((9,), {}), ((9,), {})),
        (((), {"a": 1, "c": 3}), ((9,), None), ((9,), {"c": 3})),
        (((1, 2), {}), (None, {"b": 9}), ((1, 9), {})),
        (((1,), {}), (None, {"c": 9}), ((1,), {"c": 9})),
    ],
)
def test_given_a_retry_with_one_half_of_new_arguments_then_the_other_half_is_kept(
    old: object, new: object, merged: object
) -> None:
    assert merge_changed(plain, old, new) == merged  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["time_limit", "soft_time_limit"])
def test_given_a_limit_below_nothing_then_it_is_refused_at_the_call(app: Celery, name: str) -> None:
    @app.task
    def work() -> None: ...

    with pytest.raises(ValueError, match=f"{name} must be 0"):
        work.apply_async(**{name: -3})
