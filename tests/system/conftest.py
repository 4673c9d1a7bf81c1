"""Fixtures of the tests of whole daemons: an engine and a Discord, both on the test's clock where it has one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine
from support.lives import Clock, one_clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    """The time of Sentinel, of the engine and of Discord."""
    with one_clock() as clock:
        yield clock


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An engine whose faults end with the test."""
    with FakeEngine() as fake:
        yield fake
        fake.heal()


@pytest.fixture
def discord(request: pytest.FixtureRequest) -> Iterator[FakeDiscord]:
    """A Discord to which manners are kept, and that refuses nothing unless a module says MAY_BE_REFUSED."""
    clock = request.getfixturevalue("clock") if "clock" in request.fixturenames else None
    with FakeDiscord(clock=lambda: clock.at, wall=clock.time) if clock else FakeDiscord() as fake:
        yield fake
        fake.disarm()
        assert fake.lint == []
        assert fake.refused == [] or getattr(request.module, "MAY_BE_REFUSED", False)
