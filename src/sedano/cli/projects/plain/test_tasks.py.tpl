from pathlib import Path

from sedano.testing.worker import start_worker
from tasks import add, app, count_words

app.conf.update(broker_url="memory://", result_backend="cache+memory://")


def test_tasks_are_functions(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("three small words")
    assert add(2, 3) == 5
    assert count_words(str(tmp_path / "text")) == 3


def test_a_call_goes_through_a_worker() -> None:
    with start_worker(app):
        assert add.delay(2, 3).get(timeout=60) == 5
