from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from sedano.exceptions import ImproperlyConfigured
from sedano.settings import Settings, load_object, module_named_in, read_words
from sedano.settings.loading import read_source


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the current directory, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def settings(source: Any, **keywords: Any) -> Settings:
    return Settings(source=source, environ={}, **keywords)


def test_given_the_name_of_a_module_in_the_current_directory_when_read_then_its_settings_hold(project: Path) -> None:
    (project / "my_celeryconfig.py").write_text("import os\nbroker_url = 'redis://m'\n_private = 1\ntask_acks_late = True\n")
    conf = settings("my_celeryconfig")

    assert conf.broker_url == "redis://m"
    assert conf.table() == {"broker_url": "redis://m", "task_acks_late": True}
    assert str(project) not in sys.path


@pytest.mark.parametrize("path", ["my_package.config:Production", "my_package.config.Production"])
def test_given_an_attribute_of_a_module_when_read_then_its_settings_hold(project: Path, path: str) -> None:
    package = project / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "config.py").write_text(
        "class Base:\n    task_serializer = 'yaml'\nclass Production(Base):\n    task_default_queue = 'p'\n"
    )
    conf = settings(path)

    assert (conf.task_serializer, conf.task_default_queue) == ("yaml", "p")


def test_given_a_missing_attribute_when_read_then_the_error_is_an_import_error_that_names_it(project: Path) -> None:
    (project / "my_config.py").write_text("")

    with pytest.raises(ModuleNotFoundError, match=r"my_config:nothing.*has no attribute 'nothing'"):
        _ = settings("my_config:nothing").task_serializer


def test_given_the_name_of_a_file_when_read_then_the_error_says_what_to_write(project: Path) -> None:
    (project / "my_config.py").write_text("")

    with pytest.raises(ModuleNotFoundError, match="write the name of the module, 'my_config'"):
        load_object("my_config.py")


def test_given_a_module_that_fails_to_import_when_read_then_its_own_error_is_raised(project: Path) -> None:
    (project / "my_config.py").write_text("import not_installed_anywhere\n")
    (project / "my_other.py").write_text("1 / 0\n")

    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load_object("my_config")
    with pytest.raises(ZeroDivisionError):
        _ = settings("my_other").task_serializer


def test_given_a_module_that_reads_the_settings_while_it_is_imported_when_read_then_nothing_recurses(project: Path) -> None:
    (project / "my_app.py").write_text("conf = None\n")
    (project / "my_config.py").write_text(
        "import my_app\nbroker_url = 'redis://m'\nseen = my_app.conf.broker_url, my_app.conf.task_default_queue\n"
    )
    app = load_object("my_app")
    app.conf = settings("my_config", changes={"task_default_queue": "assigned"})

    assert app.conf.broker_url == "redis://m"
    assert app.conf.seen == (None, "assigned")


def test_given_imported_things_in_a_module_when_they_are_called_like_settings_then_they_are_none(project: Path) -> None:
    (project / "my_config.py").write_text(
        "from datetime import timezone\nfrom functools import reduce as include\nimport json as task_serializer\n"
        "def task_routes(name, *args, **options): return 'routed'\n"
    )
    conf = settings("my_config")

    assert conf.timezone is None
    assert conf.include == ()
    assert conf.task_serializer == "json"
    assert conf.task_routes("a") == "routed"


def test_given_an_object_a_class_and_a_dict_when_read_then_all_are_sources() -> None:
    class Config:
        task_default_queue = "c"

        @property
        def task_serializer(self) -> str:
            return "computed"

        @property
        def broken(self) -> str:
            raise AttributeError("later")

    conf = settings(Config())
    assert (conf.task_default_queue, conf.task_serializer) == ("c", "computed")
    with pytest.raises(AttributeError, match="broken"):
        _ = conf.broken
    assert settings(Config).task_default_queue == "c"
    assert settings({"task_default_queue": "d", 5: "not text"}).task_default_queue == "d"


def test_given_a_source_when_it_changes_after_it_was_read_then_that_is_not_seen() -> None:
    source = {"task_serializer": "yaml"}
    conf = settings(source)
    conf.finalize()

    source["task_serializer"] = "pickle"

    assert conf.task_serializer == "yaml"


def test_given_a_variable_that_names_a_module_when_asked_then_its_name_is_told() -> None:
    assert module_named_in("PROJECT_CONFIG", {"PROJECT_CONFIG": "proj.config"}) == "proj.config"


@pytest.mark.parametrize("environ", [{}, {"PROJECT_CONFIG": ""}])
def test_given_a_variable_that_names_nothing_when_asked_then_the_error_says_what_to_set(environ: dict[str, str]) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'PROJECT_CONFIG' is not set.*PROJECT_CONFIG=proj\.celeryconfig"):
        module_named_in("PROJECT_CONFIG", environ)


def test_given_old_and_new_names_when_mixed_then_the_error_lists_the_renames_of_the_fewer() -> None:
    mostly_new = {"task_serializer": "x", "result_serializer": "y", "CELERY_ACKS_LATE": True}
    mostly_old = {"CELERY_TASK_SERIALIZER": "x", "CELERY_ACKS_LATE": True, "result_serializer": "y"}

    with pytest.raises(ImproperlyConfigured, match=r"new form:\n\nCELERY_ACKS_LATE +-> task_acks_late$"):
        settings(mostly_new).finalize()
    with pytest.raises(
        ImproperlyConfigured, match=r"old form:\n\nresult_serializer +-> CELERY_RESULT_SERIALIZER\n\nor change all"
    ):
        settings(mostly_old).finalize()


def test_given_settings_without_an_old_name_when_beside_old_names_then_nothing_is_mixed() -> None:
    conf = settings({"CELERY_ACKS_LATE": True, "worker_lease_time": 5, "worker_logfile": "x"})

    assert conf.worker_lease_time == 5


def test_given_several_spellings_of_one_setting_when_read_then_prefixed_wins_over_new_over_old() -> None:
    everything = {"CELERY_ACKS_LATE": "old", "task_acks_late": "new", "CELERY_TASK_ACKS_LATE": "prefixed"}

    assert read_source(everything, "CELERY").values == {"task_acks_late": "prefixed"}
    del everything["CELERY_TASK_ACKS_LATE"]
    assert read_source(everything, "CELERY").values == {"task_acks_late": "new"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        # As Celery casts them.
        ("worker_prefetch_multiplier=3", {"worker_prefetch_multiplier": 3}),
        (".max_tasks_per_child=4", {"worker_max_tasks_per_child": 4}),
        ("_pool=solo", {"worker_pool": "solo"}),
        ('task_routes=(dict){"a":"b"}', {"task_routes": {"a": "b"}}),
        ("task_acks_late=yes", {"task_acks_late": True}),
        ("foo_x=(int)3", {"foo_x": 3}),
        ("worker.max_tasks_per_child=2", {"worker_max_tasks_per_child": 2}),
        ("CONTROL_EXCHANGE=xx", {"control_exchange": "xx"}),
        ("broker_url=redis://a=b", {"broker_url": "redis://a=b"}),
        ("result_expires=30", {"result_expires": 30.0}),
        ('task_publish_retry_policy=(json){"a":1}', {"task_publish_retry_policy": {"a": 1}}),
        ('accept_content=(list)["json"]', {"accept_content": ["json"]}),
        ("broker_connection_max_retries=(any)z", {"broker_connection_max_retries": "z"}),
        ("worker_log_color=(bool)no", {"worker_log_color": False}),
        ("TASK_SERIALIZER=x", {"task_serializer": "x"}),
        ("task_annotations=a", {"task_annotations": "a"}),
        # Which Celery's parser refuses or leaves as text.
        (".concurrency=4", {"worker_concurrency": 4}),
        (".concurrency=auto", {"worker_concurrency": "auto"}),
        ("timezone=Europe/Rome", {"timezone": "Europe/Rome"}),
        ("enable_utc=0", {"enable_utc": False}),
        ("accept_content=json,pickle", {"accept_content": ("json", "pickle")}),
        ("imports=a,b", {"imports": ("a", "b")}),
        ("result_compression=gzip", {"result_compression": "gzip"}),
        ("security_key_password=a", {"security_key_password": b"a"}),
        ("CELERY_DEFAULT_QUEUE=x", {"task_default_queue": "x"}),
        ('broker_transport_options={"a": [1]}', {"broker_transport_options": {"a": [1]}}),
        ("task_default_delivery_mode=transient", {"task_default_delivery_mode": 1}),
        ("worker_log_format=[%(message)s]", {"worker_log_format": "[%(message)s]"}),
        ("worker_redirect_stdouts_level=info", {"worker_redirect_stdouts_level": "info"}),
        ("broker_url=redis://a;redis://b", {"broker_url": "redis://a;redis://b"}),
        ('imports=(tuple)["a"]', {"imports": ("a",)}),
    ],
)
def test_given_a_word_of_the_command_line_when_read_then_it_is_a_setting_of_its_type(
    word: str, expected: dict[str, Any]
) -> None:
    values = read_words([word], "worker")

    assert values == expected
    assert [type(value) for value in values.values()] == [type(value) for value in expected.values()]


def test_given_wrong_words_when_read_then_all_are_named_with_what_is_expected() -> None:
    words = [
        "novalue",
        "=5",
        "worker_max_tasks_per_child=abc",
        "task_acks_late=maybe",
        "task_serialiser=json",
        "nothing_like_it=1",
        "worker_pool=(foo)1",
        "worker_pool=(int)x",
        "task_publish_retry_policy=text",
        "broker_transport_options={broken",
        "task_time_limit=5",
    ]

    with pytest.raises(ImproperlyConfigured) as caught:
        read_words(words, "worker")

    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == len(words) - 1
    for line, word in zip(lines, words, strict=False):
        assert line.strip().startswith(word)
    text = str(caught.value)
    assert "novalue: expected key=value" in text
    assert "expected a whole number" in text
    assert "did you mean task_serializer?" in text
    assert "(foo) is no type" in text
