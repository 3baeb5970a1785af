"""What a slot knows of revoked ids."""

from __future__ import annotations

from sedano.contracts import Revoke
from sedano.exceptions import BrokerUnavailable
from sedano.worker.revocations import Revocations


class Orders:
    """The store's set, counting how often it is read."""

    def __init__(self) -> None:
        self.revision, self.ids, self.reads, self.away = 0, list[str](), 0, False

    def revoke(self, task_id: str) -> None:
        self.ids.append(task_id)
        self.revision += 1

    def read(self) -> tuple[int, list[Revoke]]:
        self.reads += 1
        if self.away:
            raise BrokerUnavailable("away")
        return self.revision, [Revoke(task_id) for task_id in self.ids]


def test_given_a_store_without_revokes_then_the_set_is_never_read() -> None:
    orders = Orders()
    revocations = Revocations(orders.read)

    assert not revocations.follow(0)
    assert orders.reads == 0


def test_given_a_new_revision_then_the_set_is_read_once() -> None:
    orders = Orders()
    revocations = Revocations(orders.read)
    orders.revoke("a")

    assert revocations.follow(1)
    assert not revocations.follow(1)
    assert revocations.ids == {"a"}
    assert orders.reads == 1


def test_given_a_connection_that_turns_out_to_be_broken_then_the_set_is_read_over_the_next_one_at_once() -> None:
    orders = Orders()
    broken = [BrokerUnavailable("closed by the server")]

    def read() -> tuple[int, list[Revoke]]:
        if broken:
            raise broken.pop()
        return orders.read()

    revocations = Revocations(read)
    orders.revoke("a")

    assert revocations.follow(1)
    assert revocations.ids == {"a"}


def test_given_a_store_that_cannot_be_asked_then_what_is_known_holds_and_it_is_asked_again() -> None:
    orders = Orders()
    revocations = Revocations(orders.read)
    orders.revoke("a")
    revocations.follow(1)
    orders.revoke("b")
    orders.away = True

    assert not revocations.follow(2)
    assert revocations.ids == {"a"}

    orders.away = False
    assert revocations.follow(2)
    assert revocations.ids == {"a", "b"}
