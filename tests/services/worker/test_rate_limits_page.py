"""The example of docs/how-to/rate-limits.md."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from sedano import Celery
from sedano.testing.node import Node

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "rate-limits.md"
SENDER = "import shop; print(*[shop.charge.delay(n).id for n in range(20)], shop.greet.delay('you').id)"


def test_given_the_shop_of_the_page_when_20_calls_are_sent_then_they_take_four_seconds_and_greet_does_not_wait(
    tmp_path: Path,
) -> None:
    code = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[0]
    (tmp_path / "shop.py").write_text(code, encoding="utf-8")
    url = f"sqlite:///{tmp_path}/shop.db"
    app = Celery("asker", broker=url, backend=url, set_as_current=False)
    try:
        with Node("shop", cwd=tmp_path, name="w1@host", concurrency=4, environment={"C_FORCE_ROOT": "1"}).start() as node:
            node.wait_ready()
            sent = subprocess.run([sys.executable, "-c", SENDER], cwd=tmp_path, capture_output=True, text=True, check=True)
            began = time.monotonic()
            *charges, greeting = [app.AsyncResult(task_id) for task_id in sent.stdout.split()]
            assert greeting.get(timeout=60.0) == "hello you"
            assert not charges[-1].ready()
            assert charges[-1].get(timeout=60.0) == "charged 19"
            assert all(charge.get(timeout=60.0) for charge in charges)
            assert 2.5 < time.monotonic() - began < 20.0
            assert app.control.rate_limit("shop.charge", 0, reply=True, timeout=60.0, limit=1) == [
                {"w1@host": {"ok": "rate limit disabled successfully"}}
            ]
    finally:
        app.close()
