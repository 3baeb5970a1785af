"""The programs of docs/how-to/rabbitmq.md do what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.rabbitmq
PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "rabbitmq.md"
URL = "amqp://guest:guest@localhost:5672//"

USE = """
import queues
from contextlib import closing
from queues import app

with closing(app.stores.open_broker()) as broker:
    broker.declare(app.amqp.queues.specs())
    app.send_task("shop.eu.sell")
    app.send_task("strange", exchange="orders", exchange_type="topic", routing_key="us.any")
    app.send_task("now", queue="urgent", priority=9)
    app.send_task("all", queue="news")
    app.send_task("plain")
    names = ["eu", "stray", "urgent", app.amqp.queues["news"].name, "default"]
    print([depth.ready for depth in broker.depth(names)])
"""


def test_given_the_page_when_its_programs_run_then_calls_arrive_where_it_says(rabbit_url: str, tmp_path: Path) -> None:
    for name, text in re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        (tmp_path / name).write_text(text.replace(URL, rabbit_url))
    (tmp_path / "use.py").write_text(USE)
    assert rabbit_url in (tmp_path / "shop.py").read_text()

    for program, printed in (("use.py", "[1, 1, 1, 1, 1]\n"), ("declare.py", "0\n")):
        done = subprocess.run([sys.executable, program], cwd=tmp_path, capture_output=True, text=True)
        assert (done.stdout, done.returncode) == (printed, 0), done.stderr
