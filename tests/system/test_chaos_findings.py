"""What tests/chaos.py found, each in its smallest form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import support.fake_engine
from support.fake_engine import FakeEngine
from support.lives import Clock, EngineClock, Life

import sentinel


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sentinel, "time", clock)
    monkeypatch.setattr(support.fake_engine, "time", EngineClock(clock))
    return clock


@pytest.fixture
def engine(clock: Clock) -> Iterator[FakeEngine]:
    with FakeEngine() as fake:
        yield fake


@pytest.mark.parametrize("killed", [pytest.param(True, marks=pytest.mark.xfail(strict=True, reason=(
    "that the engine said goodbye is written down only where Sentinel ends in order: killed while the engine is away, it"
    " takes the engine's stops for an operator's, tells them in grey, and heals nothing"))), False],
    ids=["killed while the engine is away", "not killed"])  # fmt: skip
def test_what_an_engine_stopped_when_it_ended_is_no_operators_stop_for_a_sentinel_that_was_killed_meanwhile(
    engine: FakeEngine, clock: Clock, tmp_path: Path, killed: bool
) -> None:
    webs = [engine.add(f"web{number}", project="shop", started_ago=3600.0) for number in (1, 2, 3)]
    first = Life(engine, tmp_path, clock)
    with first:
        first.run(5)
        engine.daemon_shutdown()
        first.run(4)
        if not killed:
            engine.come_up()
            first.run(60)
    told = first.told()
    if killed:
        with Life(engine, tmp_path, clock) as second:
            second.run(2)
            engine.come_up()
            second.run(60)
        told += second.told()
    assert all(web.running for web in webs), told
    assert not [words for words in told if words.startswith("Stopped")], told
