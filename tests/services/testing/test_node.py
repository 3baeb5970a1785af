"""A node that a test breaks: what it says about its processes while they come and go."""

from __future__ import annotations

from pathlib import Path

from sedano.testing.node import Node


def test_given_processes_that_die_while_they_are_listed_then_they_are_left_out(tmp_path: Path) -> None:
    """The moment between seeing a process and asking about it is short: most runs do not meet it, the soak does."""
    births = "while :; do (sh -c true & sh -c true & wait); done"
    node = Node("none", cwd=tmp_path, command=["sh", "-c", births])
    node.start()
    try:
        for _ in range(400):
            assert node.processes()[0] == node.pid
    finally:
        node.process.kill()
        node.wait()


def test_given_a_node_that_runs_when_a_block_is_entered_then_it_is_the_same_node_that_the_block_ends(tmp_path: Path) -> None:
    (tmp_path / "proj.py").write_text(f"from sedano import Sedano\napp = Sedano('proj', broker='sqlite:///{tmp_path}/s.db')\n")
    node = Node("proj", cwd=tmp_path, concurrency=1).start()
    first = node.process
    with node:
        assert node.process is first
    assert first.poll() is not None
