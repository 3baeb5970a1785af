"""A project that says `from celery import Celery`, with both installed: one word decides which engine runs it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop import environments
from tests.interop.peers import PROJECT, Engine, Peer, Place, engine, see_off

pytestmark = [pytest.mark.celery, pytest.mark.redis]

BOTH = """
import os
import celery
import sedano

URL = os.environ["INTEROP_URL"]
app = sedano.Celery("both", broker=URL, backend=URL)
real = celery.Celery("both", broker=URL, backend=URL)


@app.task
@real.task
def who():
    return "ran"


@app.task
def engines():
    return [type(app).__module__, type(real).__module__]
"""


@pytest.fixture(scope="module")
def installed() -> Path:
    """The folder of commands of an environment with both."""
    return environments.python_of(environments.celery_and_sedano()).parent


@pytest.fixture
def celery_command(installed: Path) -> Engine:
    return Engine("celery", installed / "celery", ())


@pytest.fixture
def sedano_command(installed: Path) -> Engine:
    return Engine("sedano", installed / "sedano", ())


@pytest.fixture
def caller(place: Place) -> Iterator[Peer]:
    """A producer that stays as it is through the whole story: somebody else's Celery 5.4."""
    return place.peer(engine("celery5.4"))


def run(command: list[str | Path], place: Place, cwd: Path = PROJECT, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=environments.clean_environment(place.environment(**more)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_given_a_celery_project_when_started_by_either_command_then_that_engine_runs_it_there_and_back(
    place: Place, caller: Peer, celery_command: Engine, sedano_command: Engine
) -> None:
    ask = "[describe.delay().get(timeout=PATIENCE)['engine'], outcome(sell.delay('celery', 3)), flaky.delay(1).get(timeout=PATIENCE)[0]]"  # noqa: E501
    for command in (celery_command, sedano_command, celery_command):
        node = place.ready(command, f"w1@{command.name}")
        assert caller.ask(ask) == [command.name, ("raised", "OutOfStock", ("celery", 3)), 1]
        if command is sedano_command:
            assert node.stop() == 0, node.log()
        else:
            node.signal(signal.SIGTERM)
            see_off(node)


def test_given_both_installed_when_sedano_starts_then_it_says_that_its_alias_wins(place: Place, sedano_command: Engine) -> None:
    node = place.ready(sedano_command, "w1@sedano")
    said = [line for line in node.lines if "`import celery` means Sedano in this process" in line]
    assert len(said) == 1
    assert "the installed Celery is not used" in said[0]
    assert node.stop() == 0


def test_given_a_project_that_uses_both_when_started_without_alias_then_celery_is_the_real_one(
    place: Place, tmp_path: Path, sedano_command: Engine, celery_command: Engine
) -> None:
    (tmp_path / "both.py").write_text(BOTH)
    place.ready(sedano_command, "w1@both", app="both:app", cwd=tmp_path, before_app=("--no-alias",))
    sent = run([sedano_command.python, "--no-alias", "-A", "both:app", "call", "both.engines"], place, tmp_path)
    assert sent.returncode == 0, sent.stderr
    place.until(lambda: place.redis.exists(f"celery-task-meta-{sent.stdout.strip()}"))
    shown = run([sedano_command.python, "--no-alias", "-A", "both:app", "result", sent.stdout.strip()], place, tmp_path)
    assert shown.stdout.strip() == "['sedano.app.base', 'celery.app.base']"


def test_given_a_celery_project_when_started_without_alias_then_it_is_refused_with_what_to_do(
    place: Place, sedano_command: Engine
) -> None:
    done = run([sedano_command.python, "--no-alias", "-A", "calc", "report"], place)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "--no-alias" in done.stderr


def test_given_both_installed_when_python_runs_then_the_environment_decides_what_celery_means(
    place: Place, installed: Path
) -> None:
    script = "import celery; print(celery.Celery.__module__)"
    python: list[str | Path] = [installed / "python", "-c", script]
    assert run(python, place).stdout.strip() == "celery.app.base"
    assert run(python, place, SEDANO_AS_CELERY="1").stdout.strip() == "sedano.app.base"


def test_given_both_installed_when_a_script_runs_through_the_alias_then_celery_means_sedano(
    place: Place, installed: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text("import celery, sys; print(celery.Celery.__module__, sys.argv[1:])")
    done = run([installed / "python", "-m", "sedano.as_celery", script, "one", "two"], place)
    assert done.stdout.strip() == "sedano.app.base ['one', 'two']"
