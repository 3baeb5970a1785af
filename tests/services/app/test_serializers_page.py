"""The examples of docs/how-to/serializers.md run as they are written there, and print what is written there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.certificates import identity

from sedano.testing.node import Node

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "serializers.md"
BLOCK = re.compile(r"```python\n# (\w+\.py)\n(.*?)```(?:\n\n(?:It prints\n\n)?```text\n(.*?)```)?", re.DOTALL)


def examples() -> dict[str, tuple[str, str]]:
    """file name -> (code, what it prints)"""
    return {name: (code, printed) for name, code, printed in BLOCK.findall(PAGE.read_text())}


@pytest.mark.parametrize("module", ["choosing", "own", "signing", "modelled"])
def test_given_an_example_of_the_manual_when_its_call_is_run_then_it_prints_what_the_page_says(
    module: str, tmp_path: Path
) -> None:
    for name, (code, _) in examples().items():
        (tmp_path / name).write_text(code)
    made = identity("example")
    (tmp_path / "trusted").mkdir()
    (tmp_path / "key.pem").write_text(made.key)
    (tmp_path / "certificate.pem").write_text(made.cert)
    (tmp_path / "trusted" / "certificate.pem").write_text(made.cert)
    environment = {"URL": f"sqlite:///{tmp_path}/store.db", "PYTHONDONTWRITEBYTECODE": "1"}
    with Node(module, cwd=tmp_path, name="example", concurrency=1, environment=environment).start() as node:
        node.wait_ready(120)
        done = subprocess.run(
            [sys.executable, f"call_{module}.py"],
            cwd=tmp_path,
            env={"PATH": "", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr + node.log()
    assert done.stdout == examples()[f"call_{module}.py"][1]
