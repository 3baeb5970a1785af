from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from sedano.exceptions import CDeprecationWarning, ImproperlyConfigured
from sedano.settings import NOT_GIVEN, OPTIONS, Settings, UnknownSettingWarning


def settings(source: Any = None, **keywords: Any) -> Settings:
    return Settings(source=source, environ={}, **keywords)


class Counting:
    """Counts how often it is called."""

    def __init__(self, then: Callable[[], object] | None = None) -> None:
        self.calls = 0
        self._then = then

    def __call__(self) -> None:
        self.calls += 1
        if self._then is not None:
            self._then()


# -- reading ----------------------------------------------------------------------------------------------------------


def test_given_a_setting_when_read_by_attribute_item_or_get_then_it_is_the_same() -> None:
    conf = settings({"task_serializer": "yaml"})

    assert (
        conf.task_serializer == conf["task_serializer"] == conf.get("task_serializer") == conf.CELERY_TASK_SERIALIZER == "yaml"
    )


def test_given_an_unknown_name_when_read_then_the_error_has_the_nearest_name() -> None:
    conf = settings()

    with pytest.raises(AttributeError, match=r"'task_serialiser'.*did you mean task_serializer\?"):
        _ = conf.task_serialiser
    with pytest.raises(KeyError, match="nothing_like_it"):
        conf["nothing_like_it"]
    assert conf.get("nothing_like_it", 5) == 5


def test_given_a_value_and_its_default_when_asked_what_was_given_then_the_two_are_told_apart() -> None:
    conf = settings({"task_default_queue": "celery"})

    assert conf.task_default_queue == OPTIONS["task_default_queue"].default
    assert conf.given("task_default_queue") == "celery"
    assert conf.value_set_for("CELERY_DEFAULT_QUEUE")
    assert conf.given("worker_prefetch_multiplier") is NOT_GIVEN
    assert conf.worker_prefetch_multiplier == 4
    assert not conf.value_set_for("worker_prefetch_multiplier")
    assert not NOT_GIVEN


def test_given_the_environment_when_asked_what_was_given_then_it_counts() -> None:
    conf = Settings(environ={"CELERY_BROKER_URL": "redis://e"})

    assert conf.value_set_for("broker_url")
    assert conf["broker_url"] == conf.table()["broker_url"] == "redis://e"
    assert not conf.value_set_for("result_backend")


def test_given_values_as_people_write_them_when_read_typed_then_they_are_plain() -> None:
    conf = settings(
        {
            "result_expires": timedelta(minutes=2),
            "task_time_limit": "30",
            "worker_concurrency": "4",
            "task_acks_late": "yes",
            "accept_content": {"json"},
            "imports": "proj.tasks",
            "broker_url": "redis://a;redis://b",
            "task_default_delivery_mode": "transient",
            "worker_redirect_stdouts_level": "error",
        }
    )

    assert conf.typed("result_expires") == 120.0
    assert conf.typed("task_time_limit") == 30.0
    assert conf.typed("worker_concurrency") == 4
    assert conf.typed("task_acks_late") is True
    assert conf.typed("accept_content") == ("json",)
    assert conf.typed("imports") == ("proj.tasks",)
    assert conf.typed("broker_url") == ("redis://a", "redis://b")
    assert conf.typed("task_default_delivery_mode") == 1
    assert conf.typed("worker_redirect_stdouts_level") == 40
    assert conf.typed("task_soft_time_limit") is None
    assert conf.task_time_limit == "30"


def test_given_none_when_read_typed_then_it_is_no_limit_for_numbers_and_the_default_for_the_rest() -> None:
    conf = settings({"result_expires": None, "broker_transport_options": None, "task_acks_late": None, "task_serializer": None})

    assert conf.typed("result_expires") is None
    assert conf.typed("broker_transport_options") == {}
    assert conf.typed("task_acks_late") is False
    assert conf.typed("task_serializer") == "json"


def test_given_a_wrong_value_when_read_typed_then_the_error_names_setting_value_and_what_is_expected() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"task_time_limit='soon': expected seconds"):
        settings({"task_time_limit": "soon"}).typed("task_time_limit")


def test_given_the_settings_when_used_as_a_mapping_then_they_are_one() -> None:
    conf = settings({"task_serializer": "yaml", "mine": 1})

    assert "task_serializer" in conf
    assert "CELERY_TASK_SERIALIZER" in conf
    assert "nothing" not in conf
    assert 5 not in conf
    assert len(conf) == len(list(conf)) == len(OPTIONS) + 1
    assert dict(conf)["task_serializer"] == "yaml"
    assert conf.first("nothing", "task_queues", "task_serializer") == "yaml"
    assert conf.first("nothing") is None


def test_given_parts_of_a_name_when_looked_up_then_the_value_is_found() -> None:
    conf = settings({"worker_disable_rate_limits": True})

    assert conf.find_option("disable_rate_limits")[:2] == ("worker", "disable_rate_limits")
    assert conf.find_option("disable_rate_limits").type.default is False
    assert conf.find_value_for_key("disable_rate_limits") is True
    assert conf.find_value_for_key("default_queue", "task") == "celery"
    assert conf.get_by_parts("worker", None, "disable_rate_limits") is True


# -- changing ---------------------------------------------------------------------------------------------------------


def test_given_an_assignment_when_it_is_taken_back_then_the_value_below_comes_to_light() -> None:
    conf = settings({"task_serializer": "yaml"})
    conf.task_serializer = "pickle"
    assert conf.changes == {"task_serializer": "pickle"}

    del conf.CELERY_TASK_SERIALIZER

    assert conf.task_serializer == "yaml"
    with pytest.raises(KeyError):
        del conf["task_serializer"]
    assert conf.pop("task_serializer", None) is None


def test_given_assignments_when_cleared_then_the_source_is_left() -> None:
    conf = settings({"task_serializer": "yaml"}, changes={"task_default_queue": "q"})
    conf.update({"task_serializer": "pickle"}, result_serializer="pickle")

    conf.clear()

    assert (conf.task_serializer, conf.result_serializer, conf.task_default_queue) == ("yaml", "json", "celery")


def test_given_setdefault_when_the_setting_is_there_then_it_stays() -> None:
    conf = settings({"task_serializer": "yaml"})

    assert conf.setdefault("mine", 1) == 1
    assert conf.setdefault("mine", 2) == 1
    conf.finalize()
    assert conf.setdefault("task_serializer", "pickle") == "yaml"
    assert conf.setdefault("other", 3) == conf.other == 3


def test_given_a_copy_when_it_is_changed_then_the_original_is_not() -> None:
    conf = settings({"task_serializer": "yaml"})
    conf.beat_schedule["a"] = 1
    twin = conf.copy()

    twin.task_serializer = "pickle"
    twin.beat_schedule["b"] = 2

    assert conf.task_serializer == "yaml"
    assert conf.beat_schedule == {"a": 1}
    assert twin.beat_schedule == {"a": 1, "b": 2}


def test_given_two_apps_when_one_fills_a_dict_that_is_a_default_then_the_other_has_its_own() -> None:
    first, second = settings(), settings()

    first.beat_schedule["entry"] = {}
    first.broker_transport_options["x"] = 1

    assert second.beat_schedule == {}
    assert second.broker_transport_options == {}
    assert OPTIONS["beat_schedule"].default == {}


def test_given_any_change_when_it_is_made_then_the_revision_grows() -> None:
    conf = settings({"task_serializer": "yaml"})
    seen = [conf.revision]
    for change in (
        lambda: conf.update(task_serializer="x"),
        lambda: conf.pop("task_serializer"),
        lambda: conf.clear(),
        lambda: conf.finalize().add_defaults({"task_serializer": "y"}),
        lambda: conf.use_source({"task_serializer": "z"}),
    ):
        change()
        seen.append(conf.revision)

    assert seen == sorted(set(seen))


def test_given_a_name_of_ones_own_when_assigned_then_it_is_kept_without_a_word() -> None:
    conf = settings()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conf.my_own_setting = 5
        conf["SECRET_KEY"] = "x"

    assert conf.my_own_setting == 5


def test_given_a_name_that_looks_misspelt_when_assigned_then_it_is_kept_and_reported_with_the_nearest() -> None:
    conf = settings()

    with pytest.warns(UnknownSettingWarning, match=r"worker_prefetch_multipler .*worker_prefetch_multiplier"):
        conf.worker_prefetch_multipler = 1

    assert conf.worker_prefetch_multipler == 1


def test_given_a_dict_of_flask_when_it_repeats_what_the_constructor_was_given_then_nothing_is_said() -> None:
    conf = settings(automatic={"broker_url": "redis://h"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conf.update({"CELERY_BROKER_URL": "redis://h", "SECRET_KEY": "x", "TESTING": True})

    with pytest.warns(UnknownSettingWarning, match="here the name is broker_url"):
        conf.update({"CELERY_BROKER_URL": "redis://other"})


def test_given_a_namespace_that_comes_later_when_prefixed_names_were_assigned_then_they_mean_their_settings() -> None:
    conf = settings()
    with pytest.warns(UnknownSettingWarning):
        conf.CELERY_TASK_DEFAULT_QUEUE = "early"

    conf.use_source({"CELERY_TASK_DEFAULT_QUEUE": "late"}, namespace="CELERY")

    assert conf.task_default_queue == "early"


# -- the source -------------------------------------------------------------------------------------------------------


def test_given_a_source_when_only_assigned_to_then_it_is_not_read() -> None:
    before, after = Counting(), Counting()
    conf = settings({"task_serializer": "yaml"}, before_load=before, after_load=after)
    conf.task_default_queue = "q"
    conf.add_defaults(lambda: pytest.fail("called before the source was needed"))
    assert not conf.is_loaded
    assert repr(conf) == "<Settings: not read yet>"
    assert before.calls == after.calls == 0


def test_given_a_source_when_asked_twice_then_it_is_read_once_with_the_callbacks_around_it() -> None:
    before, after = Counting(), Counting()
    conf = settings({"task_serializer": "yaml"}, before_load=before, after_load=after)

    assert (conf.task_serializer, conf.task_default_queue) == ("yaml", "celery")

    assert before.calls == after.calls == 1


def test_given_callbacks_when_they_use_the_settings_then_the_first_sees_no_source_and_the_second_does() -> None:
    seen: list[Any] = []
    conf = settings(
        {"task_serializer": "yaml", "task_default_queue": "q"},
        before_load=lambda: seen.append(conf.task_serializer) or conf.update(task_default_queue="assigned"),
        after_load=lambda: seen.append(conf.task_serializer),
    )

    assert conf.task_default_queue == "assigned"
    assert seen == ["json", "yaml"]


def test_given_a_source_that_cannot_be_read_when_asked_again_then_it_is_tried_again() -> None:
    conf = settings("no_such_module_at_all")

    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
            _ = conf.task_serializer

    conf.use_source(None)
    assert conf.task_serializer == "json"


def test_given_a_missing_module_when_silent_then_it_is_as_if_none_was_given() -> None:
    assert settings("no_such_module_at_all", silent=True).task_serializer == "json"


def test_given_force_when_a_source_is_taken_then_it_is_read_at_once() -> None:
    conf = settings()

    conf.use_source({"task_serializer": "yaml"}, force=True)

    assert conf.is_loaded


def test_given_another_source_when_something_was_assigned_in_between_then_it_stays() -> None:
    conf = settings({"task_serializer": "yaml"})
    conf.finalize()
    conf.task_serializer = "pickle"

    conf.use_source({"task_serializer": "msgpack"})

    assert conf.task_serializer == "pickle"


def test_given_threads_that_ask_at_once_when_the_source_is_slow_then_it_is_read_once_and_all_see_it() -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        reading.set()
        go_on.wait(10)

    before = Counting(slow)
    conf = settings({"task_serializer": "yaml"}, before_load=before)
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(conf.task_serializer)) for _ in range(4)]
    threads[0].start()
    assert reading.wait(10)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(10)

    assert answers == ["yaml"] * 4
    assert before.calls == 1


def test_given_a_misspelt_name_in_a_source_when_it_is_read_then_all_are_reported_together() -> None:
    conf = settings({"task_serialiser": "x", "worker_max_task_per_child": 5, "mine": 1})

    with pytest.warns(UnknownSettingWarning) as caught:
        conf.finalize()

    assert len(caught) == 1
    text = str(caught[0].message)
    assert "task_serialiser is no setting: did you mean task_serializer?" in text
    assert "worker_max_task_per_child is no setting: did you mean worker_max_tasks_per_child?" in text
    assert "mine" not in text


def test_given_old_names_when_asked_then_they_are_known_and_each_is_warned_of() -> None:
    conf = settings({"CELERY_DEFAULT_QUEUE": "q", "CELERYD_LOG_FILE": "w.log", "BROKER_URL": "redis://h"})

    assert conf.deprecated_settings == {"CELERY_DEFAULT_QUEUE", "CELERYD_LOG_FILE", "BROKER_URL"}
    with pytest.warns(CDeprecationWarning) as caught:
        assert conf.maybe_warn_deprecated_settings()
    assert [str(warning.message) for warning in caught] == [
        "The setting 'BROKER_URL' has its old name: rename it to 'broker_url'",
        "The setting 'CELERYD_LOG_FILE' has its old name: rename it to 'worker_logfile'",
        "The setting 'CELERY_DEFAULT_QUEUE' has its old name: rename it to 'task_default_queue'",
    ]


def test_given_new_names_when_asked_for_old_ones_then_there_are_none() -> None:
    assert not settings({"task_default_queue": "q"}).maybe_warn_deprecated_settings()
    assert not settings({"CELERY_TASK_DEFAULT_QUEUE": "q"}, namespace="CELERY").maybe_warn_deprecated_settings()


def test_given_names_that_are_only_documented_when_mixed_with_new_ones_then_they_count_and_nothing_is_refused() -> None:
    conf = settings({"CELERY_ENABLE_UTC": False, "CELERY_TASK_ALWAYS_EAGER": True, "task_serializer": "json"})

    assert conf.enable_utc is False
    assert conf.task_always_eager is True


def test_given_both_a_documented_and_an_old_name_when_read_then_the_one_that_celery_reads_wins() -> None:
    conf = settings({"CELERY_RESULT_EXPIRES": 1, "CELERY_TASK_RESULT_EXPIRES": 2})

    assert conf.result_expires == 2


# -- showing ----------------------------------------------------------------------------------------------------------

SECRETS = {
    "broker_url": "redis://user:hidden@h/1",
    "broker_read_url": ["redis://:hidden@a", "redis://:hidden@b"],
    "result_backend": "redis://:hidden@h/2?password=hidden",
    "cache_backend": "memcached://u:hidden@h",
    "redis_password": "hidden",
    "s3_secret_access_key": "hidden",
    "my_token": "hidden",
    "nested": {"api_key": "hidden", "harmless": 2},
}


def test_given_secrets_when_shown_then_none_is_to_be_seen() -> None:
    conf = settings(SECRETS)

    for text in (conf.humanize(), repr(conf.table()), repr(conf), repr(conf.table(with_defaults=True))):
        assert "hidden" not in text
    assert conf.table()["broker_url"] == "redis://user:**@h/1"
    assert conf.table()["nested"] == {"api_key": "********", "harmless": 2}
    assert conf.table(censored=False) == SECRETS


def test_given_the_table_when_shown_then_it_has_what_was_given_by_todays_names_and_all_on_request() -> None:
    conf = settings({"CELERY_DEFAULT_QUEUE": "q", "mine": 1}, changes={"task_serializer": "yaml"})

    assert conf.table() == {"task_default_queue": "q", "mine": 1, "task_serializer": "yaml"}
    assert conf.humanize() == "task_default_queue: 'q'\nmine: 1\ntask_serializer: 'yaml'"
    assert set(conf.table(with_defaults=True)) == {*OPTIONS, "mine"}


def test_given_a_namespace_when_shown_then_settings_of_others_in_the_same_module_are_left_out() -> None:
    module = SimpleNamespace(CELERY_TASK_SERIALIZER="yaml", CELERY_MINE=1, DATABASES={"PASSWORD": "hidden"}, DEBUG=True)
    conf = settings(module, namespace="CELERY")

    assert conf.table() == {"task_serializer": "yaml", "CELERY_MINE": 1}
    assert conf.DEBUG is True


def test_given_the_settings_without_defaults_when_read_then_only_what_was_given_is_there() -> None:
    bare = settings({"task_serializer": "yaml"}, changes={"mine": 1}).without_defaults()

    assert dict(bare) == {"task_serializer": "yaml", "mine": 1}
    assert bare.CELERY_TASK_SERIALIZER == "yaml"
    assert "task_default_queue" not in bare


# -- effects that this room alone has ---------------------------------------------------------------------------------


@pytest.mark.setting("TIME_ZONE")
def test_given_a_time_zone_of_django_when_none_is_set_then_it_is_the_time_zone() -> None:
    conf = settings({"CELERY_TASK_SERIALIZER": "json", "TIME_ZONE": "Europe/Rome"}, namespace="CELERY")

    assert conf.timezone == "Europe/Rome"
    assert str(conf.typed("timezone")) == "Europe/Rome"
