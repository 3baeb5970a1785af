"""Each example does what its README says, typed in line by line: with a Redis, and with no server."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.journeys.reader import Reader

Readers = Callable[[str], Reader]


def follow(readers: Readers, example: str) -> Reader:
    reader = readers(example)
    reader.follow()
    return reader


def end_workers(reader: Reader) -> None:
    """Control-C reaches every process of the terminal: a warm shutdown all the same, with Celery's exit code for it."""
    assert [worker.press_control_c() for worker in reader.workers] == [1] * len(reader.workers)
    for worker in reader.workers:
        assert "worker: Warm shutdown (MainProcess)" in worker.text
        assert not re.search(r"Traceback|Cold shutdown|CRITICAL", worker.text.partition("Warm shutdown")[2]), worker.text


def test_given_first_steps_when_its_readme_is_followed_then_it_holds(reader_of: Readers) -> None:
    reader = follow(reader_of, "first_steps")
    (worker,) = reader.workers
    worker.wait_for(r"WARNING/ForkPoolWorker-\d+\] a guest is at the door")
    worker.wait_for(r"Task tasks\.greet\[[-0-9a-f]{36}\] received")
    worker.wait_for(r"Task tasks\.greet\[[-0-9a-f]{36}\] succeeded in [\d.e-]+s: 'welcome'")
    assert "open-sesame" not in worker.text
    end_workers(reader)


def test_given_a_package_with_settings_when_its_readme_is_followed_then_it_holds(reader_of: Readers) -> None:
    reader = follow(reader_of, "package_config")
    (worker,) = reader.workers
    worker.wait_for(r"WARNING/ForkPoolWorker-\d+\] adding 4 numbers")
    worker.wait_for(r"Task counters\.tasks\.total\[.*\] succeeded")
    end_workers(reader)


def test_given_the_flask_example_when_its_readme_is_followed_then_it_holds(reader_of: Readers) -> None:
    reader = follow(reader_of, "flask_parcels")
    reader.workers[0].wait_for(r"WARNING/ForkPoolWorker-\d+\] 3 parcels on the scales")
    end_workers(reader)


def test_given_the_fastapi_example_when_its_readme_is_followed_then_it_holds(reader_of: Readers) -> None:
    reader = follow(reader_of, "fastapi_texts")
    (worker,) = reader.workers
    worker.wait_for(r"Task service\.tasks\.texts\.count_words\[.*\] succeeded in [\d.e-]+s: 3")
    worker.wait_for(r"WARNING/.*\] announced: tea")
    end_workers(reader)


def test_given_the_mail_room_when_its_readme_is_followed_then_it_holds(reader_of: Readers) -> None:
    reader = follow(reader_of, "fastapi_mailroom")
    letters, rest = reader.workers
    letters.wait_for(r"complaint about [-0-9a-f]{36}: the blue box cannot be found")
    rest.wait_for(r"Task desk\.stamp\[.*\] succeeded")
    assert "desk.stamp[" not in letters.text
    assert "tasks.letters.send_letter[" not in rest.text
    end_workers(reader)


def test_given_the_django_example_when_its_readme_is_followed_then_it_holds(reader_of: Readers) -> None:
    reader = follow(reader_of, "django_notices")
    log = (reader.folder / "worker.log").read_text(encoding="utf-8")
    assert re.search(r"Task notices\.tasks\.pin\[.*\] succeeded in [\d.e-]+s: 1", log)
    assert re.search(r"WARNING/ForkPoolWorker-\d+\] request: <Context: \{.*'task': 'office\.celery\.who_am_i'", log)
    end_workers(reader)
