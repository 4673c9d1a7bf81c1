"""What random walks of the core have found, where a life of the whole daemon shows what comes of it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from support.fake_engine import FakeEngine
from support.lives import Clock, Life


def test_a_crash_loop_that_then_cant_be_started_ends_no_life(clock: Clock, tmp_path: Path) -> None:
    with FakeEngine() as engine:
        web = engine.add("web", project="shop", started_ago=3600.0, stop_timeout=0, term_code=0)
        with contextlib.suppress(IndexError), Life(engine, tmp_path, clock, greet=False) as first:
            first.run(2)
            for pause in (1, 7, 2):
                engine.crash(web, 1)
                first.run(pause)
            engine.start_by_operator(web)
            first.run(1)
            engine.on_start(web, (500, "port is already allocated"))
            engine.restart_by_operator(web)
            first.run(30)
        clock.at += 5
        with Life(engine, tmp_path, clock, greet=False) as second:
            second.run(30)
