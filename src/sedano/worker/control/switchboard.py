"""All that a node answers, by the command's name: put together from the modules beside this one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sedano.contracts import Coordination
from sedano.worker.answers import NodeAnswers
from sedano.worker.consumption import Consumption
from sedano.worker.control.consumers import ConsumerCommands
from sedano.worker.control.diagnosis import COMMANDS as DIAGNOSIS
from sedano.worker.control.events import EventCommands
from sedano.worker.control.health import health_command
from sedano.worker.control.held import HeldAnswers
from sedano.worker.control.limits import LimitCommands
from sedano.worker.control.pauses import PauseCommands
from sedano.worker.control.pool import PoolCommands
from sedano.worker.control.revokes import Revokes
from sedano.worker.control.stores import ControlStores
from sedano.worker.desk import OrderDesk
from sedano.worker.gossip import act
from sedano.worker.herald import Herald
from sedano.worker.plan import NodePlan
from sedano.worker.pools.processes import ProcessPool
from sedano.worker.records import Records
from sedano.worker.supervisor import Supervisor
from sedano.worker.table import SharedTable

if TYPE_CHECKING:
    from sedano.app.base import Celery


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What commands reach of a node. `records` is not the one that settles: another thread uses it. `loader` is the pool where
    it can load the app anew, else None."""

    app: Celery
    plan: NodePlan
    table: SharedTable
    supervisor: Supervisor
    herald: Herald
    desk: OrderDesk
    consumption: Consumption
    stores: ControlStores
    records: Records
    loader: ProcessPool | None
    open_coordination: Callable[[], Coordination]


def commands_of(parts: NodeParts) -> dict[str, Callable[..., Any]]:
    """Each takes the arguments of the message by name, in the mailbox's thread."""
    app, plan, table, supervisor, desk = parts.app, parts.plan, parts.table, parts.supervisor, parts.desk

    def paused() -> set[str]:
        with contextlib.closing(parts.open_coordination()) as coordination:
            return {pause.queue for pause in coordination.pauses()}

    pools = PoolCommands(app, plan, supervisor, desk, parts.loader, parts.consumption.know)
    revokes = Revokes(plan.node, table, parts.stores, supervisor.terminate, parts.records, app.clock.forward)
    events = EventCommands(
        plan.node,
        table,
        parts.herald,
        lambda topic, action: act(app, topic, action),
        always=plan.events,
        vote=None if plan.gossips else parts.open_coordination,
    )
    groups = (
        NodeAnswers(app, plan, table, table.supervisor_pid, pools, paused).commands,
        events.commands,
        HeldAnswers(plan.node, table, parts.stores, lambda: parts.consumption.queues).commands,
        revokes.commands,
        PauseCommands(parts.stores).commands,
        ConsumerCommands(app, parts.consumption.consume).commands,
        pools.commands,
        LimitCommands(app, desk).commands,
        DIAGNOSIS,
    )

    def hello(**arguments: Any) -> Any:
        known = revokes.hello(**arguments)
        if known is not None:  # somebody else: another node, which will want to see this one alive
            parts.herald.beat()
        return known

    return {name: command for group in groups for name, command in group.items()} | {
        "health": health_command(supervisor.unready),
        "hello": hello,
    }
