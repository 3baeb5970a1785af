"""`celery.canvas` and the workflows of `celery`: what programs and libraries import, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import sedano.as_celery
import celery, celery.canvas, sedano.canvas
from celery import chain, chord, chunks, group, maybe_signature, signature, subtask, xmap, xstarmap, Signature, canvas
from celery.canvas import (
    Signature, StampingVisitor, _basemap, _chain, _chord, chain, chord, chunks, group, maybe_signature, maybe_subtask,
    maybe_unroll_group, signature, subtask, task_name_from, xmap, xstarmap,
)

assert canvas is celery.canvas and celery.chain is chain is sedano.canvas.chain
app = celery.Celery("proj", broker="memory://", backend="memory://")

@app.task
def add(x, y):
    return x + y

one, two = add.s(1, 1), add.s(2, 2)
assert isinstance(one | two, _chain) and isinstance(chain(one, two), _chain) and not isinstance(group(one), _chain)
folded, kept = chain(group(one, two), add.s()), _chain(group(one, two), add.s(), app=app)
assert isinstance(folded, chord) and isinstance(folded, _chord)
assert isinstance(kept, chain) and [step.task for step in kept.tasks] == ["celery.group", add.name]
assert dict(signature(dict(kept))) == dict(kept)
assert isinstance(add.map([1]), _basemap) and isinstance(add.starmap([(1, 2)]), _basemap)
assert maybe_unroll_group(group(one)) == one and len(maybe_unroll_group(group(one, two)).tasks) == 2
assert task_name_from(one) == task_name_from(add) == task_name_from("proj.add".replace("proj", add.name.rpartition(".")[0]))
"""


def test_given_the_alias_when_canvas_names_are_imported_then_they_are_ours_and_work() -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY_", "SEDANO_"))}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=clean, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
