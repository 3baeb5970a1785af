from __future__ import annotations

import io
import logging

import pytest

from sedano import current, log


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:sec@ret@host:1/0", "redis://:**@host:1/0"),
        ("amqp://user:secret@h1//;amqp://user:other@h2//", "amqp://user:**@h1//;amqp://user:**@h2//"),
        ("sentinel://:a@h1:1;sentinel://:b@h2:2", "sentinel://:**@h1:1;sentinel://:**@h2:2"),
        ("redis://host/0?password=hidden&ssl_cert_reqs=none", "redis://host/0?password=**&ssl_cert_reqs=none"),
        ("redis://user:a/b@host/0", "redis://user:**@host/0"),
        ("redis://host/0", "redis://host/0"),
        ("could not reach redis://:pw@host:6379: refused", "could not reach redis://:**@host:6379: refused"),
    ],
)
def test_no_password_of_a_url_is_shown(url, shown):
    assert log.redact_url(url) == shown


def test_levels_are_read_in_any_case_and_wrong_ones_refused():
    assert log.mlevel("info") == logging.INFO
    assert log.mlevel("FATAL") == logging.CRITICAL
    assert log.mlevel(10) == 10
    with pytest.raises(ValueError, match="chatty"):
        log.mlevel("chatty")


def test_a_task_logger_hangs_below_celery_task_and_internal_names_are_refused():
    assert log.get_task_logger("proj.tasks.of.test").parent is log.task_logger
    with pytest.raises(RuntimeError, match="internal"):
        log.get_task_logger("celery.task")


class FakeRequest:
    id = "abc"


class FakeTask:
    name = "proj.add"
    request = FakeRequest()


def format_with(formatter: logging.Formatter) -> str:
    return formatter.format(logging.LogRecord("x", logging.INFO, "f", 1, "said %s", ("hello",), None))


def test_task_lines_carry_the_running_tasks_name_and_id():
    formatter = log.TaskFormatter("%(task_name)s[%(task_id)s]: %(message)s", use_color=False)
    assert format_with(formatter) == "???[???]: said hello"
    token = current.push_task(FakeTask())
    try:
        assert format_with(formatter) == "proj.add[abc]: said hello"
    finally:
        current.pop_task(token)


def test_colours_are_used_only_when_asked():
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "bad", (), None)
    assert "\033[" in log.ColorFormatter("%(message)s", use_color=True).format(record)
    assert log.ColorFormatter("%(message)s", use_color=False).format(record) == "bad"


def test_what_is_printed_becomes_a_line_of_the_chosen_level(caplog):
    proxy = log.LoggingProxy(logging.getLogger("printed"), "WARNING")
    with caplog.at_level(logging.DEBUG, "printed"):
        print("hello", "world", file=proxy)
        proxy.write("   \n")
        print("half", end="", file=proxy)
    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", "hello world")]
    with caplog.at_level(logging.DEBUG, "printed"):
        print(" a line", end="", file=proxy, flush=True)
    assert caplog.records[-1].message == "half a line"


def test_a_handler_that_prints_does_not_go_round_for_ever():
    logger = logging.getLogger("prints.itself")
    proxy = log.LoggingProxy(logger)
    heard = []

    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())
            print("again", file=proxy)

    handler = Printing()
    logger.addHandler(handler)
    try:
        proxy.write("once\n")
    finally:
        logger.removeHandler(handler)
    assert heard == ["once"]


def test_the_proxy_is_a_stream_without_a_terminal_or_a_file_number():
    proxy = log.LoggingProxy(logging.getLogger("printed"))
    assert not proxy.isatty()
    with pytest.raises(io.UnsupportedOperation):
        proxy.fileno()
