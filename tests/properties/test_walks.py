"""Some walks at random, as many as take a few seconds; tests/tools/walks.py takes a million steps.

The seeds are fixed; SENTINEL_TEST_SEED walks another way, and a failed walk prints its seed and its whole story.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.walk import Edge, Walk, edges_made, never_made, shortened

CHOSEN = os.environ.get("SENTINEL_TEST_SEED")
SEEDS = [int(CHOSEN)] if CHOSEN else [0, *range(2, 40), 47, 51, 62, 70,
                                      91, 121, 138, 172, 179, 265, 309, 319, 332, 346, 1593]  # fmt: skip


@pytest.fixture(scope="module")
def edges() -> Iterator[set[Edge]]:
    """All moves from phase to phase that were made."""
    with edges_made() as made:
        yield made


pytestmark = pytest.mark.usefixtures("utc")


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_the_rules_hold_and_all_is_well_in_the_end(seed: int, edges: set[Edge]) -> None:
    Walk(seed).run()


# What takes a `--rm` container, a pause in the instant of a restart, or a mute in that of a refusal (see test_lives.py).
RARE = ("backoff to gone", "held to gone", "restarting to gone", "restarting to left to docker", "restarting to stopped",
        "left to docker to stopped", "left to docker to gave up", "held to left to docker", "gone to held",
        "gone to backoff", "restarting to held", "missing to backoff", "missing to held", "held to stopped",
        "backoff to gave up")


def test_every_move_that_is_legal_is_made_by_some_walk(edges: set[Edge]) -> None:
    if len(SEEDS) < 10:
        pytest.skip("one walk is not enough")
    never = {move for move in never_made(edges) if not move.startswith(RARE)}
    assert not never  # if a change makes these seeds walk elsewhere: others than these are as good


def test_a_walk_that_breaks_a_rule_is_shortened_to_the_steps_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_mute(walk: Walk, name: str, span: object = 0) -> None:
        raise AssertionError("somebody mutes")

    monkeypatch.setattr("support.scenario.World.mute", no_mute)
    seed = next(seed for seed in range(50) if len(shortened(seed, list(range(60)))) < 60)
    assert len(shortened(seed, list(range(60)))) == 1
