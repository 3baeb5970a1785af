"""`worker_direct`: a queue of its own for each node, by which a call reaches that one."""

from __future__ import annotations

import pytest
from tests.apps import MakeApp

from sedano.app.nodenames import worker_direct
from sedano.testing.worker import start_worker
from sedano.worker.plan import WorkerOptions, plan_node


def test_given_the_setting_when_a_node_is_planned_then_it_takes_from_its_own_queue_besides(
    make_app: MakeApp,
) -> None:
    app = make_app(worker_direct=True)
    plan = plan_node(app, WorkerOptions(pool="solo", hostname="w1@here"))
    assert plan.slot.queues == ("celery", "w1@here.dq2")
    (spec,) = [spec for spec in plan.specs if spec.name == "w1@here.dq2"]
    assert (spec.exchange, spec.exchange_type, spec.routing_key) == ("C.dq2", "direct", "w1@here")


def test_given_it_is_off_when_a_node_is_planned_then_there_is_no_such_queue(make_app: MakeApp) -> None:
    app = make_app()
    assert plan_node(app, WorkerOptions(pool="solo", hostname="w1@here")).slot.queues == ("celery",)


@pytest.mark.setting("worker_direct")
def test_given_a_running_node_when_a_call_is_sent_to_it_by_name_then_it_runs_there(make_app: MakeApp) -> None:
    app = make_app(worker_direct=True)

    @app.task
    def where() -> str:
        return str(where.request.hostname)

    with start_worker(app, hostname="w1@here"):
        assert where.apply_async(queue=worker_direct("w1@here")).get(timeout=30) == "w1@here"
