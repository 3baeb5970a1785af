"""Names that stand for something that is found when they are used."""

from __future__ import annotations

import pytest

from sedano.app.proxy import Proxy


def nothing() -> object:
    raise LookupError("there is nothing yet")


def test_given_a_proxy_of_nothing_when_somebody_looks_at_all_objects_then_its_class_is_its_own() -> None:
    """eventlet's monkey_patch asks every object of the process for its class."""
    proxy = Proxy(nothing)
    assert not isinstance(proxy, int)
    with pytest.raises(LookupError):
        _ = proxy.anything


def test_given_a_proxy_of_something_then_it_has_the_class_of_that() -> None:
    assert isinstance(Proxy(lambda: 3), int)
