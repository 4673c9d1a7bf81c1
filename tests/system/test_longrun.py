"""Some days of life at speed: nothing grows. tests/tools/longrun.py lives for weeks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tools.longlife import LongLife, growths, sizes_of

import sentinel

DAYS = 7
Samples = list[dict[str, float]]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samples]:
    """What was held at each midnight, by a daemon in which a list is filled on purpose."""
    with LongLife(tmp_path_factory.mktemp("life"), seed=4) as life:
        life.life.watchdog.leak = leak = [[]]  # type: ignore[attr-defined]
        for day in range(DAYS):
            life.live_a_day()
            leak[0].append(day)
        yield life.samples


def test_nothing_grows_but_what_is_made_to(samples: Samples) -> None:
    assert growths(samples).keys() == {"size of daemon.watchdog.leak[]"}
    assert len(samples[0]) > 60


def test_the_history_is_pruned_and_its_pages_used_again(samples: Samples) -> None:
    assert samples[1]["rows of notice"] > samples[0]["rows of notice"]
    assert samples[-1]["bytes of the ledger"] <= 1.25 * samples[2]["bytes of the ledger"]


@pytest.mark.parametrize(("values", "grows"), [
    ([5, 5, 5, 5, 5, 5, 5, 5], False), ([0, 9, 5, 5, 5, 5, 5, 5], False), ([5, 5, 5, 6, 4, 6, 5, 5], False),
    ([0, 1, 2, 3, 4, 5, 6, 7], True), ([5, 5, 5, 5, 6, 6, 7, 7], True)])
def test_growth_is_what_goes_on_after_the_first_days(values: list[float], grows: bool) -> None:
    assert bool(growths([{"threads": value} for value in values])) is grows


def test_collections_are_found_wherever_they_hang() -> None:
    watchdog = sentinel.Watchdog(sentinel.Settings())
    for container_id in ("a", "b"):
        watchdog.orders.look(container_id)
    sizes = dict(sizes_of(watchdog))
    assert sizes["daemon.orders._looks"] == 2 and sizes["daemon.services._by_key"] == 0
