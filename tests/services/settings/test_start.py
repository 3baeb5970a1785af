"""What a worker says about its settings at its start, and which of those given in several places wins."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.services.settings.apps import Apps
from tests.services.settings.nodes import PATIENCE_S, NodeProject

from sedano.exceptions import ImproperlyConfigured
from sedano.settings import accepted_without_effect
from sedano.testing.faults import without_crashes
from sedano.testing.worker import start_worker


@pytest.fixture
def project(tmp_path: Path) -> Iterator[NodeProject]:
    project = NodeProject(tmp_path / "project")
    yield project
    project.close()


def sedano(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "sedano", *words], cwd=folder, env={**without_crashes(), **environment},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


# -- mistakes and advice -----------------------------------------------------------------------------------------------------


def test_given_wrong_settings_when_a_worker_starts_then_it_names_them_all_and_ends(project: NodeProject) -> None:
    node = project.start({"worker_concurrency": "many", "task_time_limit": "soon", "worker_lease_time": 0.1}, concurrency=None)

    assert node.wait(PATIENCE_S) == 2
    log = node.log()
    assert "3 settings are wrong" in log
    for name in ("worker_concurrency='many'", "task_time_limit='soon'", "worker_lease_time=0.1"):
        assert log.count(name) == 1
    assert "Traceback" not in log


def test_given_wrong_settings_when_a_worker_starts_in_a_program_then_it_raises_them(apps: Apps) -> None:
    app = apps.make(worker_lease_time="long", task_acks_late="perhaps")

    with pytest.raises(ImproperlyConfigured, match=r"(?s)task_acks_late.*worker_lease_time"), start_worker(app):
        pass


def test_given_odd_settings_when_a_worker_starts_then_it_says_each_once_and_works(project: NodeProject) -> None:
    node = project.ready({"task_serialiser": "json", "worker_lost_wait": 5.0, "worker_pool_putlocks": False})

    node.wait_for_line(r"WARNING/.*Settings: task_serialiser is no setting: did you mean task_serializer\?$")
    line = node.wait_for_line("INFO/.*Settings that have no effect here")
    assert line.endswith(": worker_lost_wait, worker_pool_putlocks")
    assert node.log().count("task_serialiser") == 1
    assert project.get("pid")


OLD_NAMES = {"CELERY_TASK_RESULT_EXPIRES": 60, "CELERYD_CONCURRENCY": 1}


def test_given_old_names_when_a_worker_starts_then_it_says_what_they_are_called_today(project: NodeProject) -> None:
    more = f"app.config_from_object({OLD_NAMES!r})"
    node = project.ready({}, more=more, concurrency=None)

    line = node.wait_for_line("Settings with their old names")
    assert "CELERYD_CONCURRENCY -> worker_concurrency" in line
    assert "CELERY_TASK_RESULT_EXPIRES -> result_expires" in line
    assert project.get("setting", "result_expires") == 60


# -- who wins ----------------------------------------------------------------------------------------------------------------


def test_given_words_on_the_command_line_when_a_worker_starts_then_they_win_also_in_slots_made_later(
    project: NodeProject,
) -> None:
    words = ("--", "task_acks_late=yes", ".redirect.stdouts.level=INFO", "result_expires=(int)77")
    node = project.ready({"task_acks_late": False, "result_expires": 5}, options=words)

    def seen() -> list[object]:
        return [project.get("setting", name) for name in ("task_acks_late", "worker_redirect_stdouts_level", "result_expires")]

    assert seen() == [True, "INFO", 77]
    first = project.get("pid")
    os.kill(node.template(), signal.SIGKILL)
    project.until(lambda: not Path(f"/proc/{first}").exists())
    assert seen() == [True, "INFO", 77]


def test_given_wrong_words_on_the_command_line_when_a_worker_starts_then_all_are_named_with_what_is_near(
    project: NodeProject,
) -> None:
    node = project.start({}, options=("--", "task_acks_lat=yes", "worker_concurrency=some"))

    assert node.wait(PATIENCE_S) == 2
    log = node.log()
    assert "did you mean task_acks_late?" in log
    assert "worker_concurrency=some" in log


def test_given_a_word_that_sets_nothing_when_a_worker_starts_then_it_is_a_wrong_command_line(project: NodeProject) -> None:
    node = project.start({}, options=("--", "task_acks_late"))

    assert node.wait(PATIENCE_S) == 2
    assert "'task_acks_late'" in node.log()


def test_given_urls_in_the_environment_when_a_worker_starts_then_they_win(project: NodeProject) -> None:
    given = {"broker_url": "memory://nowhere", "result_backend": "redis://nowhere"}
    project.ready(given, environment={"CELERY_BROKER_URL": project.url, "CELERY_RESULT_BACKEND": project.url})

    assert project.get("pid")


def test_given_no_app_when_a_command_runs_then_the_module_celeryconfig_configures_it(tmp_path: Path) -> None:
    (tmp_path / "celeryconfig.py").write_text("task_default_queue = 'house'")
    (tmp_path / "other.py").write_text("task_default_queue = 'yard'")
    (tmp_path / "proj.py").write_text("import sedano\napp = sedano.Celery()")

    def default_queue(*words: str, **environment: str) -> str | None:
        text = sedano(tmp_path, *words, "report", **environment).stdout
        found = re.search("task_default_queue: '(.*)'", text)
        return found and found[1]

    assert default_queue() == "house"
    assert default_queue("--config", "other") == "yard"
    assert default_queue(CELERY_CONFIG_MODULE="other") == "yard"
    assert default_queue("-A", "proj") is None
    assert default_queue("-A", "proj", CELERY_CONFIG_MODULE="other") == "yard"


@pytest.mark.parametrize(
    ("file", "words", "told"),
    [
        ("import no_such_module_xyz", (), "celeryconfig.*is not used.*no_such_module_xyz"),
        ("", ("--config", "no_such_module_xyz"), "CELERY_CONFIG_MODULE names the module 'no_such_module_xyz'"),
    ],
)
def test_given_a_configuration_that_cannot_be_read_when_a_command_runs_then_it_says_so(
    tmp_path: Path, file: str, words: tuple[str, ...], told: str
) -> None:
    (tmp_path / "celeryconfig.py").write_text(file)

    assert re.search(told, sedano(tmp_path, *words, "report").stderr)


# -- the report --------------------------------------------------------------------------------------------------------------


def test_given_an_app_when_it_reports_then_every_setting_without_effect_is_listed_and_those_given_are_marked(
    project: NodeProject,
) -> None:
    text = (
        "import sedano\napp = sedano.Celery('proj', broker='redis://u:sesame@h/1')\n"
        "app.conf.update(worker_lost_wait=5, task_serialiser='json', worker_concurrency='many', security_key_password='sesame')"
    )
    (project.folder / "proj.py").write_text(text)

    done = sedano(project.folder, "-A", "proj", "report")
    plain = done.stdout

    assert done.returncode == 0
    assert re.match(r"software -> sedano:\S+ py:\d", plain)
    for expected in (
        "\nplatform -> system:",
        "\nloader   -> ",
        "\nsettings -> transport:redis://u:**@h/1 results:disabled\n",
        "\nworker_lost_wait: 5\n",
        "worker_concurrency='many': expected a whole number, or 'auto'",
        "task_serialiser is no setting: did you mean task_serializer?",
    ):
        assert expected in plain
    given = ("worker_lost_wait", "security_key_password")
    for option in accepted_without_effect():
        mark = r"\*" if option.name in given else " "
        assert re.search(rf"(?m)^{mark} {option.name} +{re.escape(option.effect)}$", plain), option.name
    assert "sesame" not in plain
    as_json = sedano(project.folder, "-A", "proj", "report", "--json")
    assert json.loads(as_json.stdout)["report"] == plain.removesuffix("\n")
