"""The suite of `contracts/broker.py`, sentence by sentence in the classes of the modules beside it."""

from __future__ import annotations

from sedano.testing.contracts.beginnew import BeginNewContract
from sedano.testing.contracts.chords import ChordSettlingContract, SeparateChordContract
from sedano.testing.contracts.deadletters import DeadLetterContract
from sedano.testing.contracts.holdings import HoldingsContract
from sedano.testing.contracts.leases import LeaseContract, LostLeaseContract, RefencingContract, RetiringContract
from sedano.testing.contracts.opening import OpeningContract
from sedano.testing.contracts.parking import ParkingContract
from sedano.testing.contracts.pauses import PauseContract, PauseScheduleContract, PauseWakingContract, WaitingSinceContract
from sedano.testing.contracts.pendings import PendingContract
from sedano.testing.contracts.processes import ProcessContract
from sedano.testing.contracts.publishing import ExchangeContract, PriorityContract, PublishingContract, QueueListContract
from sedano.testing.contracts.schedule import HandbackContract, ScheduleContract
from sedano.testing.contracts.settlements import MessagesOutContract, SettlingContract, SharedResultsContract
from sedano.testing.contracts.takeovers import (
    TakeOverContract,
    TakeOverPagesContract,
    TakeOverRacesContract,
    TakeOverRefusedContract,
)
from sedano.testing.contracts.turns import (
    BeginningContract,
    ReleasingContract,
    ReservingContract,
    TurnOrderContract,
    UnbeginningContract,
)
from sedano.testing.contracts.unreadable import UnreadableContract
from sedano.testing.contracts.waking import WaitFdsContract, WakingByProcessContract, WakingByScheduleContract, WakingContract
from sedano.testing.contracts.workflows import LocatingContract, WorkflowRecordContract


class BrokerContract(
    OpeningContract,
    PublishingContract,
    PriorityContract,
    ExchangeContract,
    QueueListContract,
    ReservingContract,
    BeginningContract,
    BeginNewContract,
    TurnOrderContract,
    ReleasingContract,
    UnbeginningContract,
    SettlingContract,
    MessagesOutContract,
    SharedResultsContract,
    ChordSettlingContract,
    SeparateChordContract,
    LeaseContract,
    RetiringContract,
    RefencingContract,
    LostLeaseContract,
    TakeOverContract,
    TakeOverRefusedContract,
    TakeOverPagesContract,
    TakeOverRacesContract,
    ScheduleContract,
    HandbackContract,
    ParkingContract,
    PauseContract,
    PauseScheduleContract,
    PauseWakingContract,
    WaitingSinceContract,
    DeadLetterContract,
    PendingContract,
    UnreadableContract,
    ProcessContract,
    WakingContract,
    WakingByScheduleContract,
    WakingByProcessContract,
    WaitFdsContract,
    WorkflowRecordContract,
    LocatingContract,
    HoldingsContract,
):
    """Everything that `contracts/broker.py` promises."""
