"""What an app opens, and that it follows the settings."""

from __future__ import annotations

import pytest

from sedano import Celery
from sedano.app import wiring


def test_given_many_questions_then_the_settings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Celery("wired", broker="memory://wired", backend="memory://wired", set_as_current=False)
    read: list[int] = []
    real = wiring.result_terms
    monkeypatch.setattr(wiring, "result_terms", lambda conf: read.append(conf.revision) or real(conf))
    for number in range(5):
        app.backend.store_result(str(number), number, "SUCCESS")
        assert app.AsyncResult(str(number)).get(timeout=60) == number
    assert len(read) == 1
    app.conf.result_serializer = "pickle"
    app.conf.result_accept_content = ["pickle"]
    app.backend.store_result("last", {1, 2}, "SUCCESS")
    assert app.AsyncResult("last").get(timeout=60) == {1, 2}
    assert len(read) == 2
    app.close()
