"""Decorated functions, class tasks, shared tasks, names."""

from __future__ import annotations

import copy
import pickle
import sys
import warnings
from types import ModuleType
from typing import ClassVar

import pytest
from tests.apps import MakeApp

from sedano import Celery, Task, current, current_task, shared_task
from sedano.app.defining import PendingTask
from sedano.exceptions import DuplicateTaskNameWarning, ImproperlyConfigured, NotRegistered


def test_given_a_decorated_function_when_it_is_not_used_then_no_configuration_is_read(make_app: MakeApp) -> None:
    app = make_app()

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    assert not app.configured
    assert not app.finalized
    assert type(add) is PendingTask
    assert add(2, 3) == 5
    assert type(add) is not PendingTask


def test_given_a_pending_task_when_it_is_used_then_the_same_object_is_the_registered_one(app: Celery) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        """Adds."""
        return x + y

    before = id(add)
    assert app.tasks[add.name] is add
    assert id(add) == before
    assert isinstance(add, Task)
    assert isinstance(add, app.Task)
    assert add.__doc__ == "Adds."
    assert add.__name__ == "add"
    assert add.__wrapped__(1, 1) == 2  # type: ignore[attr-defined]
    assert repr(add) == f"<@task: {add.name} of proj>"


def test_given_no_name_when_a_task_is_made_then_it_is_called_module_dot_function(make_app: MakeApp) -> None:
    app = make_app(main="main_name")

    def inner() -> None: ...

    inner.__module__ = "__main__"
    assert app.task(inner).name == "main_name.inner"

    def other() -> None: ...

    other.__module__ = "pkg.tasks"
    assert app.task(other).name == "pkg.tasks.other"
    assert app.task(name="own.name")(lambda: None).name == "own.name"


def test_given_gen_task_name_overridden_when_a_task_is_made_then_it_decides(make_app: MakeApp) -> None:
    class Naming(Celery):
        def gen_task_name(self, name: str, module: str) -> str:
            return f"x.{name}"

    app = Naming(broker="memory://naming")

    @app.task
    def add() -> None: ...

    assert add.name == "x.add"
    app.close()


def test_given_options_when_a_task_is_made_then_they_are_its_attributes(app: Celery) -> None:
    @app.task(bind=True, max_retries=7, default_retry_delay=1, acks_late=True, ignore_result=True, my_own_option=3)
    def options(self: Task) -> tuple[int | None, float, object]:
        return self.max_retries, self.default_retry_delay, self.my_own_option  # type: ignore[attr-defined]

    assert options() == (7, 1, 3)
    assert options.acks_late is True
    assert options.ignore_result is True


def test_given_a_misspelt_option_when_the_task_is_used_then_the_nearest_name_is_told(app: Celery) -> None:
    @app.task(max_retrys=3)
    def misspelt() -> None: ...

    with pytest.raises(TypeError, match="max_retries"):
        _ = misspelt.name


def test_given_settings_when_a_task_is_bound_then_its_unset_attributes_take_them(make_app: MakeApp) -> None:
    app = make_app(task_acks_late=True, task_ignore_result=True, task_time_limit=9, task_serializer="pickle")

    @app.task(ignore_result=False)
    def task() -> None: ...

    assert task.acks_late is True
    assert task.ignore_result is False
    assert task.time_limit == 9
    assert task.serializer == "pickle"


def test_given_two_functions_of_one_name_when_both_are_made_then_the_first_stays_and_a_warning_says_so(app: Celery) -> None:
    @app.task(name="twice")
    def first() -> int:
        return 1

    @app.task(name="twice")
    def second() -> int:
        return 2

    assert first() == 1
    with pytest.warns(DuplicateTaskNameWarning, match="twice"):
        assert second() == 1
    assert app.tasks["twice"]() == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        app.task(name="twice")(lambda: 3).apply()


def test_given_a_class_when_it_is_registered_then_an_instance_is_in_the_registry_and_keeps_its_state(app: Celery) -> None:
    class Counting(app.Task):  # type: ignore[name-defined,misc]
        name = "counting"
        count = 0

        def run(self) -> int:
            self.count += 1
            return self.count

    task = app.register_task(Counting())
    assert app.tasks["counting"] is task
    assert [task.apply().get(), task.apply().get()] == [1, 2]
    again = app.register_task(task)
    assert again is task
    with pytest.warns(DuplicateTaskNameWarning, match="counting"):
        replaced = app.register_task(Counting)
    assert app.tasks["counting"] is replaced


def test_given_a_base_when_tasks_are_made_then_they_are_instances_of_it(make_app: MakeApp) -> None:
    class Base(Task):
        seen: ClassVar[list[str]] = []

        def __init__(self) -> None:
            self.made = True

        def on_success(self, retval: object, task_id: str, args: object, kwargs: object) -> None:
            self.seen.append(f"{retval}")

    app = make_app(task_cls=Base)

    @app.task
    def one() -> int:
        return 1

    assert isinstance(one, Base)
    assert one.made
    one.apply()
    assert Base.seen == ["1"]

    other = make_app()

    @other.task(base=Base)
    def two() -> int:
        return 2

    assert isinstance(two, Base)


def test_given_app_task_replaced_after_decorating_when_tasks_are_used_then_the_new_base_counts(app: Celery) -> None:
    @app.task
    def add() -> int:
        return 1

    class ContextTask(app.Task):  # type: ignore[name-defined,misc]
        def __call__(self, *args: object, **kwargs: object) -> object:
            return "in context", self.run(*args, **kwargs)

    app.Task = ContextTask
    assert add() == ("in context", 1)  # type: ignore[comparison-overlap]
    assert add.apply().get() == ("in context", 1)  # type: ignore[comparison-overlap]


def test_given_a_shared_task_when_two_apps_exist_then_each_has_its_own_and_the_name_means_the_current_one(
    make_app: MakeApp,
) -> None:
    early = make_app("early")
    early.finalize()

    @shared_task(name="shared.add")
    def add(x: int, y: int) -> int:
        return x + y

    late = make_app("late")
    assert early.tasks["shared.add"] is not late.tasks["shared.add"]
    assert add.app is late
    early.set_current()
    assert add.app is early
    assert add.apply((1, 2)).get() == 3
    assert isinstance(add, Task)
    with pytest.raises(TypeError, match="once"):
        shared_task(add)


def test_given_no_app_when_a_shared_task_is_used_then_the_error_says_to_make_one() -> None:
    @shared_task
    def lonely() -> None: ...

    before = current.get_app()
    current.set_app(None)
    try:
        with pytest.raises(ImproperlyConfigured, match="no app"):
            lonely.delay()
    finally:
        current.set_app(before)


def test_given_a_task_of_one_app_when_another_is_finalized_then_it_has_it_too_unless_it_is_not_shared(
    make_app: MakeApp,
) -> None:
    one, two = make_app("one"), make_app("two")
    one.task(name="both")(lambda: "one")
    one.task(name="alone", shared=False)(lambda: "one")
    two.task(name="both", shared=False)(lambda: "two")
    assert "alone" not in two.tasks
    assert two.tasks["both"].apply().get() == "two"
    assert "both" in make_app("three").tasks


def test_given_autofinalize_off_when_a_task_is_used_before_finalize_then_it_is_refused(make_app: MakeApp) -> None:
    app = make_app(autofinalize=False)

    @app.task
    def add() -> int:
        return 1

    with pytest.raises(RuntimeError, match="autofinalize"):
        add()
    with pytest.raises(RuntimeError, match="autofinalize"):
        _ = app.tasks
    app.finalize()
    assert add() == 1


def test_given_an_unknown_name_when_the_registry_is_asked_then_not_registered_is_raised(app: Celery) -> None:
    with pytest.raises(NotRegistered):
        _ = app.tasks["nope"]
    with pytest.raises(KeyError):
        app.tasks.unregister("nope")
    assert "celery.backend_cleanup" in app.tasks


def test_given_wrong_use_of_the_decorator_then_type_error(app: Celery) -> None:
    with pytest.raises(TypeError):
        app.task(lambda: 1, lambda: 2)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        app.task("name")  # type: ignore[call-overload]


def test_given_filter_when_a_task_is_made_then_it_sees_the_task(app: Celery) -> None:
    marked: list[object] = []

    def mark(task: object) -> object:
        marked.append(task)
        return task

    @app.task(filter=mark)
    def add() -> None: ...

    assert marked == [add]


def test_given_a_task_when_it_is_pickled_then_it_comes_back_by_name_from_the_current_app(make_app: MakeApp) -> None:
    app = make_app()

    def add() -> int:
        return 1

    module = ModuleType("pickled_tasks")
    sys.modules["pickled_tasks"] = module
    add.__module__ = "pickled_tasks"
    task = app.task(add)
    try:
        assert pickle.loads(pickle.dumps(task)) is task
        assert copy.deepcopy(task) is task
    finally:
        del sys.modules["pickled_tasks"]


def test_given_an_app_when_it_is_pickled_then_its_settings_come_along(make_app: MakeApp) -> None:
    app = make_app("pickled", task_default_queue="other", namespace="CELERY")
    app.conf.task_serializer = "pickle"
    again = pickle.loads(pickle.dumps(app))
    assert again.main == "pickled"
    assert again.conf.task_default_queue == "other"
    assert again.conf.task_serializer == "pickle"
    assert again.stores == app.stores
    again.close()


def test_given_a_running_task_then_current_task_is_it(app: Celery) -> None:
    @app.task(bind=True)
    def look(self: Task) -> bool:
        return bool(current_task == self) and self.app.current_task is self and self.app.current_worker_task is self

    assert look.apply().get() is True
    assert app.current_task is None
    assert app.current_worker_task is None
