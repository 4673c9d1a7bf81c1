"""Has the recordings played by other processes from the moment that the tests are chosen, while this one runs others.

They take seconds together, which nobody has to wait for where there is more than one processor.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

import pytest

Plays = Mapping[str, "Future[Any]"]
PLAYS = pytest.StashKey[Plays]()
POOL = pytest.StashKey[ProcessPoolExecutor]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin, if a test that wants them is among those that were chosen."""
    config = session.config
    chosen = [item for item in session.items if "plays" in getattr(item, "fixturenames", ())]
    if chosen and not config.option.collectonly:
        module = chosen[0].module  # type: ignore[attr-defined]
        config.stash[POOL] = pool = ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"))
        config.stash[PLAYS] = {name: pool.submit(module.rough, name) for name in module.RECORDED}


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nobody wants the rest."""
    if pool := config.stash.get(POOL, None):
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def plays(request: pytest.FixtureRequest) -> Plays:
    """What comes of every recording."""
    return request.config.stash[PLAYS]
