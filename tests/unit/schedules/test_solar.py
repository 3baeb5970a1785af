from __future__ import annotations

import pickle
import sys
from datetime import UTC, datetime, timedelta

import pytest

from sedano.exceptions import ImproperlyConfigured
from sedano.schedules import in_words, next_runs, schedstate, solar

pytest.importorskip("ephem")

NOON = datetime(2026, 5, 13, 12, 0, tzinfo=UTC)

# Seconds from NOON in Munich, as Celery 5.7 says with ephem 4.2.
MUNICH = {
    "dawn_astronomical": 47477.950471,
    "dawn_nautical": 51065.043737,
    "dawn_civil": 53945.4671,
    "sunrise": 56163.06454,
    "solar_noon": 83395.574126,
    "sunset": 24198.566993,
    "dusk_civil": 26416.875904,
    "dusk_nautical": 29297.948769,
    "dusk_astronomical": 32885.728062,
}


@pytest.mark.parametrize("event", MUNICH)
def test_events_come_when_celery_says(event):
    given = solar(event, 48.1, 11.6, nowfun=lambda: NOON)
    assert given.remaining_estimate(NOON).total_seconds() == pytest.approx(MUNICH[event], abs=1)
    assert given.is_due(NOON) == (False, pytest.approx(MUNICH[event], abs=1))
    assert given.next_after(NOON.timestamp()) == pytest.approx(NOON.timestamp() + MUNICH[event], abs=1)


def test_an_event_that_is_over_is_due():
    state = solar("sunset", 48.1, 11.6, nowfun=lambda: NOON).is_due(NOON - timedelta(days=1))
    assert isinstance(state, schedstate)
    assert state.is_due
    assert state.next == pytest.approx(MUNICH["sunset"], abs=1)


def test_given_the_polar_night_then_the_next_sunrise_is_weeks_ahead():
    november = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
    runs = next_runs(solar("sunrise", 69.6, 18.9), november, 3)
    assert [f"{run:%Y-%m-%d}" for run in runs] == ["2027-01-15", "2027-01-16", "2027-01-17"]


def test_given_a_place_where_it_never_comes_then_there_is_no_next_run():
    short_search = solar("sunrise", 89.9, 0)
    short_search.max_search_days = 10
    assert short_search.next_after(datetime(2026, 11, 28, tzinfo=UTC).timestamp()) is None


def test_pickles_equality_and_texts():
    given = solar("sunset", -33.9, 18.4)
    assert pickle.loads(pickle.dumps(given)) == given == solar("sunset", -33.9, 18.4)
    assert given != solar("sunrise", -33.9, 18.4)
    assert repr(given) == "<solar: sunset at latitude -33.9, longitude: 18.4>"
    assert in_words(given) == "at sunset, 33.9°S 18.4°E"
    assert in_words(given, "zh") == "日落(南纬33.9°,东经18.4°)"


@pytest.mark.parametrize(
    ("event", "lat", "lon", "said"),
    [
        ("sunrice", 0, 0, "Did you mean 'sunrise'"),
        ("sunset", 91, 0, "latitude 91"),
        ("sunset", 0, -181, "longitude -181"),
    ],
)
def test_what_is_not_on_earth_is_refused(event, lat, lon, said):
    with pytest.raises(ValueError, match=said):
        solar(event, lat, lon)


def test_without_ephem_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ephem", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'sedano\[solar\]'"):
        solar("sunset", 0, 0)
