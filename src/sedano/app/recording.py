"""The record that a workflow leaves in the broker's store when it is sent, and the header that its calls carry.

Plain single calls leave none, nor does what a call of a workflow sends: that is a part of it, and found by the children in the
results. See docs/decisions/0005-records-of-workflows.md.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sedano.app.context import worker_call
from sedano.canvas.nodes import Node
from sedano.canvas.outline import OutlineWriter
from sedano.canvas.plan import Send
from sedano.canvas.shapes import options_of
from sedano.contracts.workflows import WorkflowNote

if TYPE_CHECKING:
    from sedano.app.base import Celery


class Recorder:
    """Of one workflow that is being sent: `outline` is for its planner, None where nothing is to be recorded."""

    def __init__(self, app: Celery) -> None:
        self._terms = app.terms
        running = worker_call()
        self._parent = None if running is None else running[1]
        is_part = self._parent is not None and self._parent.sedano_workflow is not None
        self.outline = None if is_part or not self._terms.workflow_max_bytes else OutlineWriter()

    def note(self, sends: Sequence[Send], node: Node) -> WorkflowNote | None:
        """The record, None of a single call; `sends` are what goes out at first, `node` is the workflow's result."""
        if self.outline is None or not self.outline.is_workflow:
            return None
        now, terms = time.time(), self._terms
        parent_id = self._parent.id or "" if self._parent is not None else ""
        record = self.outline.record(node.id, now, _root_of(sends) if self._parent is None else "", parent_id)
        return WorkflowNote(node.id, record, now + terms.workflow_keep_s, terms.workflow_max_bytes)


def _root_of(sends: Sequence[Send]) -> str:
    """What all calls of the workflow name as their root: the only one that has none before it."""
    if len(sends) != 1:
        return ""
    options = {**options_of(sends[0].signature), **sends[0].options}
    root_id = options.get("root_id") or options.get("task_id")
    return root_id if isinstance(root_id, str) else ""
