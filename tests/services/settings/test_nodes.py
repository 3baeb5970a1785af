"""Settings of pool processes, as real nodes show them. A node takes a second to start: each is asked as much as it can tell."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.services.settings.nodes import PATIENCE_S, NodeProject

from sedano.exceptions import WorkerLostError
from sedano.testing.node import Node


@pytest.fixture
def project(tmp_path: Path) -> Iterator[NodeProject]:
    project = NodeProject(tmp_path / "project")
    yield project
    project.close()


# -- calls that lose their process, or take too long -------------------------------------------------------------------------


@pytest.mark.setting("task_acks_late", "task_retry_on_worker_lost")
@pytest.mark.parametrize(
    ("settings", "retries"),
    [
        ({"task_acks_late": "true"}, 0),
        ({"task_retry_on_worker_lost": True}, 1),
        ({"task_retry_on_worker_lost": True, "task_acks_late": True}, 1),
    ],
    ids=str,
)
def test_given_that_lost_calls_come_again_when_a_process_dies_then_its_call_runs_twice(
    project: NodeProject, settings: dict[str, Any], retries: int
) -> None:
    project.ready(settings)

    assert project.get("die", "once") == f"lived at retry {retries}"
    assert project.runs("once") == 2


@pytest.mark.setting("task_reject_on_worker_lost", "task_max_deliveries")
@pytest.mark.parametrize(
    ("settings", "runs"), [({"task_reject_on_worker_lost": False}, 1), ({"task_max_deliveries": "2"}, 2)], ids=str
)
def test_given_a_late_call_when_its_processes_die_then_it_comes_again_as_often_as_it_may(
    project: NodeProject, settings: dict[str, Any], runs: int
) -> None:
    project.ready({"task_acks_late": True, **settings})

    with pytest.raises(WorkerLostError):
        project.get("die", "always", True)
    assert project.runs("always") == runs


@pytest.mark.setting("task_time_limit", "task_acks_on_timeout", "task_acks_on_failure_or_timeout")
@pytest.mark.parametrize("settings", [{"task_acks_on_timeout": False}, {"task_acks_on_failure_or_timeout": "no"}], ids=str)
def test_given_a_late_call_when_its_time_limit_ends_it_then_it_comes_again_if_that_is_not_acknowledged(
    project: NodeProject, settings: dict[str, Any]
) -> None:
    node = project.ready({"task_acks_late": True, "task_time_limit": timedelta(seconds=0.3), **settings})

    result = project.send("hang", "limited")
    node.wait_for_line(r"Hard time limit \(0\.3s\) exceeded for tasks\.hang")
    project.until(lambda: project.runs("limited") == 2)

    # The first run's FAILURE is a result too: whoever has seen it keeps it.
    assert project.until(lambda: project.app.backend.get_state(result.id) == "SUCCESS")


# -- the log -----------------------------------------------------------------------------------------------------------------

LOG_SETTINGS = {
    "worker_log_format": "W|%(levelname)s|%(asctime)s|%(message)s",
    "worker_log_datefmt": "year %Y",
    "worker_task_log_format": "T|%(task_name)s|%(asctime)s|%(message)s",
    "worker_task_log_datefmt": "hour %H",
    "worker_redirect_stdouts_level": "error",
    "worker_log_color": "yes",
    "worker_concurrency": "3",
    "worker_max_tasks_per_child": "2",
    "worker_proc_alive_timeout": 0.01,
    "task_soft_time_limit": 0.2,
}
SLOW_INIT = """
@signals.worker_process_init.connect
def prepare(**_):
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProject, Node]]:
    """One node for the tests below; they leave it as they find it."""
    project = NodeProject(tmp_path_factory.mktemp("talker"))
    node = project.ready(LOG_SETTINGS, more=SLOW_INIT, concurrency=None)
    project.get("say", "hello")
    yield project, node
    project.close()


RED, YELLOW, PLAIN = "\033\\[1;31m", "\033\\[1;33m", "\033\\[0m"


@pytest.mark.setting(
    "worker_log_format", "worker_log_datefmt", "worker_redirect_stdouts", "worker_redirect_stdouts_level", "worker_log_color"
)
def test_given_a_format_for_the_log_when_a_worker_speaks_then_its_lines_have_it(talker: tuple[NodeProject, Node]) -> None:
    _, node = talker

    node.wait_for_line(r"^W\|INFO\|year \d{4}\|w1@test ready\.$")
    node.wait_for_line(rf"^{RED}W\|ERROR\|year \d{{4}}\|hello{PLAIN}$")
    node.wait_for_line(rf"^{YELLOW}W\|WARNING\|year \d{{4}}\|root says hello{PLAIN}$")


@pytest.mark.setting("worker_task_log_format", "worker_task_log_datefmt")
def test_given_a_format_for_tasks_when_a_task_logs_then_its_lines_have_it(talker: tuple[NodeProject, Node]) -> None:
    _, node = talker

    node.wait_for_line(rf"^{YELLOW}T\|tasks\.say\|hour \d\d\|task says hello{PLAIN}$")


@pytest.mark.setting("worker_concurrency", "worker_proc_alive_timeout")
def test_given_a_concurrency_when_a_worker_starts_then_so_many_processes_come_up_and_slow_ones_are_named(
    talker: tuple[NodeProject, Node],
) -> None:
    project, node = talker

    slow = r"ForkPoolWorker-{}: the receivers of worker_process_init took 0\.\d s; .* worker_proc_alive_timeout=0\.01 s"
    for number in (1, 2, 3):
        node.wait_for_line(slow.format(number))
    assert "prefork, 3 processes" in node.log()
    project.until(lambda: len(node.slots()) == 3)  # one may just be replaced: its tasks per child were run


@pytest.mark.setting("worker_max_tasks_per_child")
def test_given_tasks_per_child_when_a_process_has_run_them_then_another_takes_its_place(
    talker: tuple[NodeProject, Node],
) -> None:
    project, _ = talker

    pids = [project.get("pid") for _ in range(9)]

    assert len(set(pids)) >= 4
    assert max(pids.count(pid) for pid in pids) <= 2


@pytest.mark.setting("task_soft_time_limit")
def test_given_a_soft_limit_when_a_call_is_over_it_then_the_task_is_told(talker: tuple[NodeProject, Node]) -> None:
    project, node = talker

    assert project.get("hang", "soft") == "was told"
    node.wait_for_line(r"Soft time limit \(0\.2s\) exceeded for tasks\.hang")


@pytest.mark.setting("worker_pool", "worker_logfile", "worker_pidfile", "worker_redirect_stdouts")
def test_given_files_and_a_pool_when_a_worker_starts_then_it_writes_there_and_runs_as_told(project: NodeProject) -> None:
    logfile, pidfile = project.folder / "worker-w1.log", project.folder / "w1.pid"
    settings = {
        "worker_logfile": str(project.folder / "worker-%n.log"),
        "worker_pidfile": str(project.folder / "%n.pid"),
        "worker_pool": "solo",
        "worker_redirect_stdouts": "off",
    }
    node = project.start(settings, concurrency=None)

    assert project.get("pid") == node.pid
    assert pidfile.read_text().strip() == str(node.pid)
    project.get("say", "hello")
    node.wait_for_line("^hello$")
    project.until(lambda: "w1@test ready." in logfile.read_text())  # calls are run before the mailbox hears
    assert node.stop() == 0
    text = logfile.read_text()
    assert "task says hello" in text
    assert "ready." not in node.log()
    assert not pidfile.exists()


OWN_LOG = "logging.basicConfig(format='OWN|%(message)s', level=logging.INFO)"


@pytest.mark.setting("worker_hijack_root_logger")
@pytest.mark.parametrize(
    ("hijacks", "line"), [(False, r"^OWN\|w1@test ready\.$"), (True, r"^\[.*: INFO/.*\] w1@test ready\.$")]
)
def test_given_a_root_logger_of_the_users_when_a_worker_starts_then_it_takes_it_over_or_leaves_it(
    project: NodeProject, hijacks: bool, line: str
) -> None:
    node = project.start({"worker_hijack_root_logger": hijacks, "worker_pool": "solo"}, more=OWN_LOG)

    node.wait_for_line(line)


# -- the end -----------------------------------------------------------------------------------------------------------------


@pytest.mark.setting("worker_drain_timeout")
def test_given_a_drain_timeout_when_a_call_outlasts_a_warm_stop_then_it_becomes_a_cold_one(project: NodeProject) -> None:
    node = project.ready({"worker_drain_timeout": timedelta(seconds=0.2)})
    hanging = project.send("hang", "stubborn")
    project.until(lambda: project.runs("stubborn") == 1)

    node.signal(signal.SIGTERM)

    node.wait(PATIENCE_S)
    assert re.search("Cold shutdown", node.log())
    with pytest.raises(WorkerLostError):
        hanging.get(timeout=PATIENCE_S)
