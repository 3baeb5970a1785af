from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Optional

import pydantic
import pytest

from sedano import Celery
from sedano.exceptions import EncodeError, ImproperlyConfigured
from sedano.protocol.call import read_body

if TYPE_CHECKING:
    from nowhere import Unknown


class Order(pydantic.BaseModel):
    number: int
    note: str = ""


class Receipt(pydantic.BaseModel):
    number: int
    total: float


class Special(Order):
    extra: str = "x"


@pytest.fixture
def app() -> Celery:
    return Celery("models", broker="memory://", backend="cache+memory://", set_as_current=False)


@pytest.fixture
def eager(app: Celery) -> Celery:
    app.conf.update(task_always_eager=True, task_eager_propagates=True)
    return app


def sent(task: Any, *args: Any, **kwargs: Any) -> Any:
    """(args, kwargs) as they stand in the message."""
    body = read_body(task._prepare(args, kwargs, None, None, None, None, {}).draft(task.app).message)
    return list(body.args), body.kwargs


def test_given_a_map_when_the_task_runs_then_it_gets_the_model_and_its_result_is_plain(eager: Celery) -> None:
    seen: list[Any] = []

    @eager.task(pydantic=True)
    def bill(order: Order, factor: float) -> Receipt:
        seen.append(order)
        return Receipt(number=order.number, total=2 * factor)

    assert bill.delay({"number": "7"}, 1.5).get() == {"number": 7, "total": 3.0}
    assert seen == [Order(number=7)]


def test_given_models_when_called_as_a_function_then_it_is_the_wrapped_function(app: Celery) -> None:
    @app.task(pydantic=True)
    def bill(order: Order) -> Receipt:
        """The words."""
        return Receipt(number=order.number, total=1)

    assert bill(Order(number=1)) == bill(order={"number": 1}) == {"number": 1, "total": 1.0}
    assert bill.__doc__ == "The words."
    assert bill.__name__ == "bill"


def test_given_a_model_when_sent_then_the_message_holds_a_plain_map(app: Celery) -> None:
    @app.task(pydantic=True, bind=True)
    def bill(self: Any, order: Order, *rest: Any, other: Order | None = None, **more: Any) -> None: ...

    order = Order(number=1)
    plain = {"number": 1, "note": ""}
    assert sent(bill, order) == ([plain], {})
    assert sent(bill, order, 5, other=order) == ([plain, 5], {"other": plain})
    assert sent(bill, order=order, other=None) == ([], {"order": plain, "other": None})
    for args, kwargs in (((order, order), {}), ((order,), {"unknown": order}), ((Special(number=1),), {})):
        with pytest.raises(EncodeError):
            sent(bill, *args, **kwargs)


def test_given_a_model_that_says_how_it_is_sent_when_sent_then_it_is_asked(app: Celery) -> None:
    class Own(Order):
        def __json__(self) -> Any:
            return {"number": 99}

    @app.task(pydantic=True)
    def bill(order: Order) -> None: ...

    assert sent(bill, Own(number=1)) == ([{"number": 99}], {})


def test_given_pickle_when_sent_then_the_model_travels_itself(app: Celery) -> None:
    app.conf.accept_content = ["pickle"]

    @app.task(pydantic=True, serializer="pickle")
    def bill(order: Order) -> None: ...

    call = bill._prepare((Order(number=1),), {}, None, None, None, None, {})
    assert read_body(call.draft(app).message, ["pickle"]).args == (Order(number=1),)


def test_given_none_when_the_annotation_allows_it_then_it_is_not_validated(eager: Celery) -> None:
    @eager.task(pydantic=True)
    def bill(one: Optional[Order], other: Order | None = None) -> Receipt | None:  # noqa: UP045 - the old form is meant
        return None if one is None else Receipt(number=one.number, total=0)

    assert bill.delay(None).get() is None
    assert bill.delay({"number": 3}, {"number": 4}).get() == {"number": 3, "total": 0.0}


@pytest.mark.parametrize("value", [None, {"number": "x"}, "no map"])
def test_given_what_is_no_such_model_when_the_task_runs_then_it_fails_with_pydantics_error(eager: Celery, value: Any) -> None:
    @eager.task(pydantic=True)
    def bill(order: Order) -> None: ...

    with pytest.raises(pydantic.ValidationError):
        bill.delay(value).get()


def test_given_strict_when_a_value_would_have_to_be_converted_then_it_is_refused(eager: Celery) -> None:
    @eager.task(pydantic=True, pydantic_strict=True)
    def bill(order: Order) -> int:
        return order.number

    assert bill.delay({"number": 7}).get() == 7
    with pytest.raises(pydantic.ValidationError):
        bill.delay({"number": "7"}).get()


def test_given_a_context_when_validated_then_the_model_sees_it_with_the_app_and_the_name(eager: Celery) -> None:
    class Seeing(pydantic.BaseModel):
        number: int
        context: Any = None

        @pydantic.model_validator(mode="after")
        def look(self, info: pydantic.ValidationInfo) -> Seeing:
            self.context = info.context
            return self

    given = {"tenant": 5}

    def bill(seeing: Any) -> bool:
        return bool(
            seeing.context == {"tenant": 5, "celery_app": eager, "celery_task_name": "named"} and seeing.context is not given
        )

    bill.__annotations__["seeing"] = Seeing
    task = eager.task(pydantic=True, pydantic_context=given, name="named")(bill)
    assert task.delay({"number": 1}).get() is True


def test_given_dump_options_when_a_model_is_returned_then_they_are_used(eager: Celery) -> None:
    @eager.task(pydantic=True, pydantic_dump_kwargs={"exclude": {"note"}})
    def make() -> Order:
        return Order(number=1, note="secret")

    assert make.delay().get() == {"number": 1}


def test_given_a_model_that_is_not_what_the_annotation_says_when_returned_then_it_is_left(app: Celery) -> None:
    @app.task(pydantic=True)
    def other() -> Order:
        return Receipt(number=1, total=1)  # type: ignore[return-value]

    @app.task(pydantic=True)
    def unannotated():  # type: ignore[no-untyped-def]
        return Order(number=1)

    assert isinstance(other(), Receipt)
    assert isinstance(unannotated(), Order)


def test_given_an_async_task_when_it_runs_then_models_go_in_and_plain_values_come_out(eager: Celery) -> None:
    @eager.task(pydantic=True)
    async def bill(order: Order) -> Receipt:
        return Receipt(number=order.number, total=1)

    assert bill.delay({"number": 2}).get() == {"number": 2, "total": 1.0}


def test_given_autoretry_when_the_model_is_wrong_then_it_is_retried_as_any_error(eager: Celery) -> None:
    runs: list[int] = []

    @eager.task(pydantic=True, bind=True, autoretry_for=(ZeroDivisionError,), max_retries=2, default_retry_delay=0)
    def bill(self: Any, order: Order) -> int:
        runs.append(order.number)
        return 1 // self.request.retries

    assert bill.delay(Order(number=1)).get() == 1
    assert runs == [1, 1]


def test_given_arguments_that_do_not_fit_when_sent_then_it_is_the_functions_own_type_error(app: Celery) -> None:
    @app.task(pydantic=True)
    def bill(order: Order) -> None: ...

    with pytest.raises(TypeError, match="bill"):
        bill.delay()
    with pytest.raises(TypeError, match="bill"):
        bill.delay(Order(number=1), 2)


def test_given_an_annotation_that_only_type_checkers_know_when_it_runs_then_the_others_still_count(eager: Celery) -> None:
    def bill(order: Any, other: Unknown) -> Any:
        return order

    bill.__annotations__ = {"order": Order, "other": "Unknown", "return": Order}
    assert eager.task(pydantic=True)(bill).delay({"number": 1}, 2).get() == {"number": 1, "note": ""}


def test_given_no_pydantic_when_the_task_is_made_then_the_error_names_the_extra(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)

    @app.task(pydantic=True)
    def bill() -> None: ...

    with pytest.raises(ImproperlyConfigured, match=r"bill' has pydantic=True.*pip install 'sedano\[pydantic\]'"):
        app.finalize()


def test_given_a_task_without_pydantic_when_sent_then_nothing_looks_for_models(app: Celery) -> None:
    @app.task
    def plain(order: Order) -> None: ...

    assert plain._dump_arguments is None
    with pytest.raises(EncodeError):
        sent(plain, Order(number=1))
