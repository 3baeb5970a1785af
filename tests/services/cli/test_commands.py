"""The command line as a user types it, on the embedded store."""

from __future__ import annotations

import json
import uuid

from tests.services.cli.conftest import Shell, lines, make_project


def test_call_prints_the_id_alone_and_result_prints_the_value(served: Shell):
    sent = served("call", "proj.add", "-a", "[2, 3]")
    assert sent.returncode == 0
    task_id = sent.stdout.strip()
    assert str(uuid.UUID(task_id)) == task_id
    shown = served("result", task_id)
    assert (shown.stdout, shown.returncode) == ("5\n", 0)


def test_the_result_of_a_failed_call_is_its_traceback_and_exit_code_one(served: Shell):
    task_id = served("call", "proj.boom").stdout.strip()
    shown = served("result", task_id)
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr
    assert "ValueError: ('boom', 42)" in shown.stderr
    assert "raise ValueError" in served("result", task_id, "--traceback").stdout
    record = json.loads(served("result", task_id, "--json").stdout)
    assert record["state"] == "FAILURE"
    assert record["id"] == task_id


def test_result_waits_no_longer_than_the_timeout(served: Shell):
    shown = served("result", str(uuid.uuid4()), "--timeout", "0.2")
    assert shown.returncode == 1
    assert "PENDING" in shown.stderr


def test_inspect_ping_names_the_nodes_in_celerys_words(served: Shell):
    shown = served("inspect", "ping")
    assert shown.stdout == "->  cli@test: OK\n        pong\n\n1 node online.\n"
    assert json.loads(served("inspect", "ping", "--json").stdout) == {"cli@test": {"ok": "pong"}}
    nobody = served("inspect", "ping", "-d", "other@test", "-t", "0.2")
    assert nobody.returncode == 69
    assert nobody.stderr == "Error: No nodes replied within time constraint\n"


def test_inspect_of_an_unknown_question_lists_the_known_ones(served: Shell):
    shown = served("inspect", "pong")
    assert shown.returncode == 2
    assert "Command pong not recognized. Available inspect commands: active, active_queues, clock" in shown.stderr


def test_queues_counts_what_waits_delayed_and_dead(shell: Shell):
    for _ in range(3):
        shell("call", "proj.add", "-a", "[1, 1]")
    shell("call", "proj.mail", "-a", '["me"]', "--queue", "mail")
    rows = json.loads(shell("queues", "--json").stdout)
    assert {row["queue"]: row["ready"] for row in rows} == {"celery": 3, "mail": 1}
    plain = lines(shell("queues").stdout)
    assert plain[0].split("\t")[:7] == ["queue", "ready", "delayed", "reserved", "running", "dead", "parked"]
    assert plain[1].split("\t")[:7] == ["celery", "3", "0", "0", "0", "0", "0"]
    assert lines(shell("queues", "-Q", "mail").stdout)[1].startswith("mail\t1")


def test_purge_asks_first_and_drops_only_what_it_is_told(shell: Shell):
    for queue in ("celery", "celery", "mail"):
        shell("call", "proj.add", "-a", "[1, 1]", "--queue", queue)
    refused = shell("purge", stdin="n\n")
    assert refused.returncode == 1
    assert "WARNING:This will remove all tasks from queue: celery." in refused.stdout
    assert shell("purge", "--dry-run").stdout == "Would purge 2 messages from 1 known task queue.\n"
    assert shell("purge", stdin="y\n").stdout.endswith("Purged 2 messages from 1 known task queue.\n")
    assert shell("purge", "-f").stdout == "No messages purged from 1 queue.\n"
    done = shell("purge", "-f", "-Q", "celery,mail", "-X", "celery", "--json")
    assert json.loads(done.stdout) == {"purged": 1, "waiting": 0, "queues": {"mail": 1}}


def test_dead_list_shows_what_failed_with_its_cause(served: Shell):
    task_id = served("call", "proj.boom").stdout.strip()
    served("result", task_id)
    letters = json.loads(served("dead", "list", "--json").stdout)
    letter = next(letter for letter in letters if letter["task_id"] == task_id)
    assert letter["task"] == "proj.boom"
    assert letter["cause"] == "failure"
    assert "boom" in letter["detail"]
    assert task_id in served("dead", "list", "-n", "1").stdout
    empty = served("dead", "list", "-Q", "mail")
    assert lines(empty.stdout)[1:] == []
    assert "no dead letters" in empty.stderr


def test_a_delayed_call_is_in_the_schedule_and_handback_returns_it(served: Shell):
    task_id = served("call", "proj.add", "-a", "[1, 1]", "--countdown", "3600").stdout.strip()
    served("result", served("call", "proj.add", "-a", "[1, 1]").stdout.strip())  # the worker has seen both by now
    row = json.loads(served("queues", "-Q", "celery", "--json").stdout)[0]
    assert row["delayed"] == 1
    assert served("handback", "-Q", "celery").stdout == "Handed back 1 call to celery.\n"
    assert json.loads(served("result", task_id, "--json").stdout)["state"] == "PENDING"


def test_a_call_with_wrong_json_names_the_place(shell: Shell):
    shown = shell("call", "proj.add", "-a", "[1, 2")
    assert shown.returncode == 2
    assert "line 1 column" in shown.stderr
    assert shell("call", "proj.add", "-a", "{}").returncode == 2


def test_unknown_commands_and_options_suggest_and_exit_with_two(shell: Shell):
    shown = shell("workr")
    assert shown.returncode == 2
    assert "Did you mean 'worker'?" in shown.stderr
    misplaced = shell("worker", "-A", "proj", app=None)
    assert misplaced.returncode == 2
    assert "stand before the command" in misplaced.stderr
    unknown = shell("worker", "--bogus")
    assert unknown.returncode == 2
    assert "--bogus" in unknown.stderr
    assert "stand before the command" not in unknown.stderr


def test_an_app_that_is_not_there_or_does_not_import_says_so(shell: Shell):
    missing = shell("report", app="nowhere")
    assert missing.returncode == 2
    assert "Unable to load celery application." in missing.stderr
    assert "nowhere" in missing.stderr
    (shell.folder / "broken.py").write_text("import math\n\nmath.nothing()\n")
    broken = shell("worker", app="broken")
    assert broken.returncode == 2
    assert "broken.py" in broken.stderr
    assert "AttributeError" in broken.stderr
    assert "sedano/cli" not in broken.stderr


def test_a_broker_that_is_not_there_is_temporary_and_its_password_secret(shell: Shell):
    url = "redis://:hunter2@127.0.0.1:1/0"
    shown = shell("-b", url, "--result-backend", url, "queues", app=None)
    assert shown.returncode == 75
    assert "127.0.0.1:1" in shown.stderr
    assert "hunter2" not in shown.stderr
    assert "Traceback" not in shown.stderr


def test_an_unknown_scheme_names_what_there_is(shell: Shell):
    shown = shell("-b", "carrier+pigeon://coop", "queues", app=None)
    assert shown.returncode == 2
    assert "carrier+pigeon" in shown.stderr
    assert "redis" in shown.stderr


def test_the_app_is_found_by_celerys_rules(tmp_path):
    app = "from sedano import Sedano\n{name} = Sedano('x', set_as_current=False)\n"
    shell = make_project(
        tmp_path,
        {
            "by_app.py": app.format(name="app"),
            "by_celery.py": app.format(name="celery"),
            "by_any.py": app.format(name="queue_app"),
            "package/__init__.py": "",
            "package/celery.py": app.format(name="anything"),
            "deep/__init__.py": "",
            "deep/place.py": app.format(name="hidden") + "other = hidden\n",
        },
    )
    for name in (
        "by_app",
        "by_celery",
        "by_any",
        "package",
        "package.celery",
        "deep.place",
        "deep.place:hidden",
        "deep.place.hidden",
    ):
        shown = shell("report", app=name)
        assert shown.returncode == 0, (name, shown.stderr)


def test_help_and_version_need_no_app(shell: Shell):
    assert "worker" in shell("--help", app=None).stdout
    assert "--concurrency" in shell("worker", "--help", app=None).stdout
    assert shell("--version", app=None).stdout.endswith("(sedano)\n")


def test_environment_variables_name_the_app_and_options(shell: Shell):
    assert shell("report", app=None, CELERY_APP="proj").returncode == 0
    limited = shell("call", "proj.add", "-a", "[1,1]", app=None, APP="proj")
    assert limited.returncode == 0


def test_given_control_and_inspect_without_a_worker_then_usage_is_told_before_anybody_is_asked(shell: Shell):
    assert "Missing argument 'COMMAND'" in shell("inspect").stderr
    assert "Command ping not recognized" in shell("control", "ping").stderr
    assert "--terminate and --signal belong to revoke" in shell("control", "--terminate", "shutdown").stderr
    assert "give stamps as NAME=VALUE" in shell("control", "revoke_by_stamped_headers", "x").stderr
    assert "n cannot be 'many'" in shell("control", "pool_grow", "many").stderr
    assert "'b' is too much" in shell("control", "cancel_consumer", "a", "b").stderr
    assert "rate_limit <task_name>" in shell("control", "--list").stdout
    gone = shell("status", "--timeout", "0.1")
    assert (gone.returncode, gone.stderr) == (69, "Error: No nodes replied within time constraint\n")


def test_given_list_bindings_then_each_queue_is_shown_with_its_exchange(shell: Shell):
    shown = shell("list", "bindings")
    assert shown.stdout.splitlines()[2].split() == ["celery", "celery", "celery"]
    assert shell("list").returncode == 2


def test_given_a_command_of_celerys_that_is_not_here_then_the_error_says_what_to_do_instead(shell: Shell):
    shown = shell("multi", "start")
    assert shown.returncode == 2
    assert "No such command 'multi': it comes in a later version; start each worker by systemd" in shown.stderr
