"""The suite of `contracts/opening.py`: what every driver package exports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sedano.contracts import OpenOptions
from sedano.exceptions import ImproperlyConfigured
from sedano.testing.contracts.harness import StoreUnderTest


class OpeningContract:
    def test_given_the_driver_when_its_schemes_are_read_then_the_stores_url_has_one_of_them(
        self, store: StoreUnderTest
    ) -> None:
        assert store.url.partition("://")[0] in store.driver.SCHEMES

    @pytest.mark.parametrize("url", ["", "no-url", "gopher://localhost/"])
    def test_given_a_wrong_url_when_opened_then_it_is_refused_at_once(self, store: StoreUnderTest, url: str) -> None:
        def open_schedules(url: str, options: OpenOptions) -> Any:
            return store.driver.open_schedules(url, options, "proj")

        opens: tuple[Callable[[str, OpenOptions], Any], ...] = (
            store.driver.open_broker,
            store.driver.open_results,
            store.driver.open_coordination,
            store.driver.open_bus,
            open_schedules,
        )
        for open_it in opens:
            with pytest.raises(ImproperlyConfigured):
                open_it(url, store.options())

    def test_given_results_of_another_technology_when_asked_then_the_store_is_not_shared(self, store: StoreUnderTest) -> None:
        assert store.driver.shares_store(store.url, store.url)
        assert not store.driver.shares_store(store.url, "gopher://localhost/")
