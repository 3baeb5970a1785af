"""Apps that patch the process which imports them, in a pool that knows nothing of greenlets."""

from __future__ import annotations

from pathlib import Path

import pytest

from sedano import Sedano
from sedano.testing.node import Node

APP = """
{patch}
from sedano import Sedano
app = Sedano("patched", broker="{url}", backend="{url}")
@app.task
def add(x, y):
    return x + y
"""


@pytest.mark.parametrize(
    "patch",
    ["from gevent import monkey; monkey.patch_all()", "import eventlet; eventlet.monkey_patch()"],
    ids=["gevent", "eventlet"],
)
def test_given_an_app_that_patches_the_process_when_it_runs_in_pool_processes_then_it_works_and_stops(
    tmp_path: Path, patch: str
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    (tmp_path / "patched.py").write_text(APP.format(patch=patch, url=url))
    app = Sedano("asker", broker=url, backend=url, set_as_current=False)
    with Node("patched", cwd=tmp_path, concurrency=2) as node:
        node.wait_ready()
        assert app.send_task("patched.add", (2, 3)).get(timeout=60) == 5
        assert node.stop() == 0, node.log()
    app.close()
