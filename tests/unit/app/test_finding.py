"""`-A NAME`, discovery of task modules, configuration from code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType

import pytest
from tests.apps import MakeApp

from sedano import Celery, Task, current
from sedano.app import late
from sedano.app.discovery import find_related
from sedano.app.finding import cwd_in_path, find_app, symbol_by_name
from sedano.exceptions import ImproperlyConfigured

MAKE = "from sedano import Celery\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[..., None]]:
    """`files({"pkg/mod.py": text})` in the current directory; their modules are forgotten afterwards."""
    before, app = set(sys.modules), current.get_app()
    monkeypatch.chdir(tmp_path)

    def write(contents: dict[str, str]) -> None:
        for name, text in contents.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    current.set_app(app)


@pytest.mark.parametrize(
    ("contents", "name", "main"),
    [
        ({"m.py": MAKE + "app = Celery('a')"}, "m", "a"),
        ({"m.py": MAKE + "celery = Celery('a')"}, "m", "a"),
        ({"m.py": MAKE + "import json as app\ncelery = Celery('a')"}, "m", "a"),
        ({"m.py": MAKE + "anything = Celery('a')"}, "m", "a"),
        ({"m.py": MAKE + "app = Celery('a')\nother = Celery('b')"}, "m:other", "b"),
        ({"m.py": MAKE + "app = Celery('a')\nother = Celery('b')"}, "m.other", "b"),
        ({"m.py": MAKE + "class Box:\n    inner = Celery('b')"}, "m:Box.inner", "b"),
        ({"p/__init__.py": "", "p/celery.py": MAKE + "app = Celery('a')"}, "p", "a"),
        ({"p/__init__.py": MAKE + "app = Celery('a')"}, "p", "a"),
        ({"p/__init__.py": "from .celery import app as celery_app", "p/celery.py": MAKE + "app = Celery('a')"}, "p", "a"),
        ({"p/__init__.py": "", "p/core/__init__.py": "", "p/core/celery.py": MAKE + "app = Celery('a')"}, "p.core.celery", "a"),
        ({"p/__init__.py": "", "p/core/__init__.py": "", "p/core/celery.py": MAKE + "app = Celery('a')"}, "p.core", "a"),
        ({"p/__init__.py": MAKE + "app = Celery('a')", "p/app.py": ""}, "p.app", "a"),
    ],
)
def test_given_a_project_then_the_app_is_found(
    files: Callable[..., None], contents: dict[str, str], name: str, main: str
) -> None:
    files(contents)
    found = find_app(name)
    assert isinstance(found, Celery)
    assert found.main == main


def test_given_a_name_that_leads_nowhere_then_the_error_says_what_was_tried(files: Callable[..., None]) -> None:
    files({"m.py": "x = 1"})
    with pytest.raises(ImproperlyConfigured, match=r"m\.app, m\.celery, an app among"):
        find_app("m")
    with pytest.raises(ImproperlyConfigured, match="module nowhere"):
        find_app("nowhere")
    with pytest.raises(ImproperlyConfigured, match=r"m\.nope"):
        find_app("m:nope")
    with pytest.raises(ImproperlyConfigured, match="not an app"):
        find_app("m:x")


def test_given_an_app_of_the_installed_celery_then_the_error_says_how_to_make_it_ours(files: Callable[..., None]) -> None:
    files({"theirs.py": "app = type('Celery', (), {'__module__': 'celery.app.base'})()"})
    with pytest.raises(ImproperlyConfigured, match=r"is celery\.app\.base\.Celery, not an app\. .*leave --no-alias out"):
        find_app("theirs")


def test_given_a_module_that_fails_then_its_own_error_comes_through(files: Callable[..., None]) -> None:
    files({"m.py": "import missing_module_xyz", "n.py": "raise ValueError('inside')", "p/__init__.py": "import gone_xyz"})
    with pytest.raises(ModuleNotFoundError, match="missing_module_xyz"):
        find_app("m")
    with pytest.raises(ValueError, match="inside"):
        find_app("n")
    with pytest.raises(ModuleNotFoundError, match="gone_xyz"):
        find_app("p.celery")


def test_given_dotted_paths_then_symbol_by_name_finds_what_they_name() -> None:
    assert symbol_by_name("os.path:join") is symbol_by_name("os.path.join")
    assert symbol_by_name(len) is len
    with pytest.raises(ImportError):
        symbol_by_name("no_such_module_xyz.name")


def test_given_include_and_imports_then_their_modules_are_imported_once(files: Callable[..., None], make_app: MakeApp) -> None:
    files({"one.py": "from sedano import shared_task\n@shared_task\ndef a(): ...", "two.py": "", "three.py": ""})
    app = make_app(include=["one", "two"], imports=("two", "three"))
    modules = app.loader.import_default_modules()
    assert [module.__name__ for module in modules] == ["two", "three", "one"]
    assert "one.a" in app.tasks


def test_given_an_include_that_does_not_exist_then_importing_says_so(files: Callable[..., None], make_app: MakeApp) -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere_xyz"):
        make_app(include="nowhere_xyz").loader.import_default_modules()


def test_given_entries_that_are_modules_themselves_then_autodiscovery_imports_them(
    files: Callable[..., None], make_app: MakeApp
) -> None:
    """As seed S0 does: each entry is a module, and `<entry>.tasks` does not exist."""
    task = "from sedano import shared_task\n@shared_task\ndef {}(): ..."
    files(
        {
            "ap/__init__.py": "",
            "ap/tasks/__init__.py": "",
            "ap/tasks/tasks.py": task.format("a"),
            "ap/tasks/more.py": task.format("b"),
        }
    )
    app = make_app()
    app.autodiscover_tasks(["ap.tasks.tasks", "ap.tasks.more"])
    assert "ap.tasks.tasks.a" not in app.registry
    app.loader.import_default_modules()
    assert {"ap.tasks.tasks.a", "ap.tasks.more.b"} <= set(app.tasks)


def test_given_packages_then_their_related_modules_are_found_lazily_or_at_once(
    files: Callable[..., None], make_app: MakeApp
) -> None:
    files({"pa/__init__.py": "", "pa/tasks.py": "", "pb/__init__.py": "", "pc/__init__.py": "", "pc/jobs.py": ""})
    app = make_app()
    app.autodiscover_tasks(lambda: ["pa", "pb"])
    assert "pa" not in sys.modules
    app.autodiscover_tasks(["pc"], related_name="jobs", force=True)
    assert "pc.jobs" in sys.modules
    app.loader.import_default_modules()
    assert "pa.tasks" in sys.modules
    app.autodiscover_tasks(["pb"], related_name=None, force=True)
    app.autodiscover_tasks("pa", force=True)


def test_given_a_tasks_module_that_fails_then_its_error_comes_through(files: Callable[..., None], make_app: MakeApp) -> None:
    files({"pa/__init__.py": "", "pa/tasks.py": "import missing_inside_xyz", "pb/__init__.py": "import gone_xyz"})
    app = make_app()
    app.autodiscover_tasks(["pa"])
    with pytest.raises(ModuleNotFoundError, match="missing_inside_xyz"):
        app.loader.import_default_modules()
    with pytest.raises(ModuleNotFoundError):
        app.autodiscover_tasks(["nowhere_xyz"], force=True)


def test_given_a_class_in_a_package_then_the_packages_module_is_found(files: Callable[..., None]) -> None:
    """Django's INSTALLED_APPS may name `package.apps.Config`; the entry one level up counts."""
    files({"pa/__init__.py": "", "pa/tasks.py": ""})
    with cwd_in_path():
        found = find_related("pa.SomeConfig", "tasks")
    assert found is not None
    assert found.__name__ == "pa.tasks"


def test_given_no_packages_and_no_framework_then_nothing_is_discovered(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    make_app().autodiscover_tasks(force=True)


def test_given_fixups_then_they_are_made_with_the_app_and_may_name_packages(
    files: Callable[..., None], make_app: MakeApp
) -> None:
    files({"pf/__init__.py": "", "pf/tasks.py": ""})

    class Fixup:
        def __init__(self, app: Celery) -> None:
            self.app = app

        def autodiscover_tasks(self) -> list[str]:
            return ["pf"]

    make_app(fixups=[Fixup]).autodiscover_tasks(force=True)
    assert "pf.tasks" in sys.modules


def test_given_a_configuration_module_then_it_is_read_at_first_use_and_signals_tell(
    files: Callable[..., None], make_app: MakeApp
) -> None:
    files({"conf_xyz.py": "task_default_queue = 'from-module'\nbroker_url = 'memory://conf'"})
    heard: list[str] = []
    app = make_app(broker=None)
    app.on_configure.connect(lambda **_: heard.append("configure"), weak=False)
    app.on_after_configure.connect(lambda sender, source, **_: heard.append(source.task_default_queue), weak=False)
    app.on_after_finalize.connect(lambda **_: heard.append("finalize"), weak=False)
    app.config_from_object("conf_xyz")
    assert "conf_xyz" not in sys.modules
    assert app.conf.task_default_queue == "from-module"
    app.finalize()
    assert heard == ["configure", "from-module", "finalize"]


def test_given_envvar_cmdline_and_defaults_then_they_configure(
    files: Callable[..., None], make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    files({"conf_env_xyz.py": "task_default_queue = 'from-env'"})
    monkeypatch.setenv("MY_CONF", "conf_env_xyz")
    app = make_app()
    assert app.config_from_envvar("MY_CONF")
    assert app.conf.task_default_queue == "from-env"
    with pytest.raises(ImproperlyConfigured):
        app.config_from_envvar("NO_SUCH_VARIABLE_XYZ")
    assert not app.config_from_envvar("NO_SUCH_VARIABLE_XYZ", silent=True)
    app.config_from_cmdline(["task_default_priority=3"])
    assert app.conf.task_default_priority == 3
    app.add_defaults(lambda: {"worker_concurrency": 7})
    assert app.conf.worker_concurrency == 7
    assert app.either("worker_concurrency", None, 9) == 9
    assert app.either("worker_concurrency", None) == 7


def test_given_the_default_loader_then_the_module_of_the_environment_configures(
    files: Callable[..., None], make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    files({"conf_default_xyz.py": "task_default_queue = 'by-default'"})
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "conf_default_xyz")
    assert make_app(loader="default").conf.task_default_queue == "by-default"
    assert make_app().conf.task_default_queue == "by-default"  # as Celery, where nobody gave another source
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "")
    assert make_app(loader="default").conf.task_default_queue == "celery"


def test_given_annotations_in_every_form_then_they_rewrite_tasks(make_app: MakeApp) -> None:
    class ByObject:
        def annotate(self, task: type[Task]) -> dict[str, object] | None:
            return {"max_retries": 9} if task.name == "t" else None

    heard: list[str] = []
    app = make_app(
        task_annotations=[
            {"*": {"rate_limit": "10/s"}, "t": {"on_success": lambda self, *_: heard.append(self.name)}},
            ByObject,
            {"t": {"@run": lambda run: lambda *args: ("wrapped", run(*args))}},
        ]
    )
    task = app.task(name="t")(lambda x: x)
    other = app.task(name="other")(lambda: 1)
    assert task.apply((1,)).get() == ("wrapped", 1)  # type: ignore[comparison-overlap]
    assert (task.rate_limit, task.max_retries, heard) == ("10/s", 9, ["t"])
    assert (other.rate_limit, other.max_retries) == ("10/s", 3)


def test_given_periodic_tasks_then_they_are_entries_of_the_schedule(make_app: MakeApp) -> None:
    app = make_app()
    task = app.task(name="t")(lambda x: x)

    @app.on_after_configure.connect
    def setup(sender: Celery, **_: object) -> None:
        sender.add_periodic_task(10.0, task.s("hello"), name="every 10")
        sender.add_periodic_task(30.0, task.s("world"), expires=10)

    entries = app.conf.beat_schedule
    assert entries["every 10"] == {"schedule": 10.0, "task": "t", "args": ("hello",), "kwargs": {}, "options": {}}
    assert entries["t('world')"]["options"] == {"expires": 10}
    with pytest.warns(UserWarning, match="twice"):
        app.add_periodic_task(5.0, task.s("world"))


def test_given_app_as_context_then_leaving_it_closes_it() -> None:
    before = current.get_app()
    with Celery("x", broker="memory://context") as app:
        assert current.get_app() is app
    assert current.get_app() is None
    current.set_app(before)


def test_given_worker_main_without_the_word_worker_then_value_error(make_app: MakeApp) -> None:
    with pytest.raises(ValueError, match="worker"):
        make_app().worker_main(["beat"])


def test_given_kombu_connections_asked_for_then_the_error_says_what_to_use(make_app: MakeApp) -> None:
    app = make_app()
    with pytest.raises(NotImplementedError, match="Kombu"):
        app.producer_or_acquire()
    with pytest.raises(AttributeError, match="Kombu"):
        _ = app.connection().SimpleQueue


def test_given_an_app_then_its_bug_report_hides_passwords(make_app: MakeApp) -> None:
    text = make_app(broker="redis://:sesame@h:1/0").bugreport()
    assert "sedano" in text
    assert "sesame" not in text


def test_given_an_app_in_a_variable_or_in_none_then_the_command_line_finds_it(
    make_app: MakeApp, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app()
    module = ModuleType("held_xyz")
    module.__dict__["held"] = app
    sys.modules["held_xyz"] = module
    try:
        assert late.name_of(app) == "held_xyz:held"
    finally:
        del sys.modules["held_xyz"]
    app.send_task("t", queue="feeds")
    assert app.start(["queues", "--json"]) == 0
    assert "feeds" in capsys.readouterr().out


def test_given_what_is_not_built_yet_then_asking_for_it_says_with_what_it_comes(make_app: MakeApp) -> None:
    app = make_app()
    with pytest.raises(AttributeError, match="comes with Kombu"):
        _ = app.producer_pool
    assert not hasattr(app, "no_such_thing")


def test_given_a_configuration_that_cannot_be_read_then_it_is_said_at_each_use_and_nothing_is_half_made(
    files: Callable[..., None], make_app: MakeApp
) -> None:
    app = make_app()
    task = app.task(name="t")(lambda: 1)
    app.config_from_object("conf_broken_xyz")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="conf_broken_xyz"):
            _ = task.name
        with pytest.raises(ModuleNotFoundError, match="conf_broken_xyz"):
            _ = app.tasks
    files({"conf_broken_xyz.py": "task_acks_late = True"})
    importlib.invalidate_caches()
    assert task.acks_late is True
    assert app.tasks["t"] is task
