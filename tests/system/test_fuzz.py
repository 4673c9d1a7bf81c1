"""Nonsense on every way in: a run of tests/tools/fuzz.py over all targets; and the fuzzer finds what it is there for.

SENTINEL_FUZZ_SECONDS says how long the run takes (60). Of the usual seed no more inputs are tried than were before, so that
a change is judged by what it changed, on a quick machine, too; SENTINEL_TEST_SEED says another one, as the workflow does
each week. `tests/tools/fuzz.py --seed` plays one again.
"""

from __future__ import annotations

import json
import math
import os
import threading
from typing import Any

import pytest
from tools import fuzz
from tools.fuzz_calls import TARGETS, full_inspect
from tools.fuzz_mangling import Mangler, shrunk, smaller

SECONDS = float(os.environ.get("SENTINEL_FUZZ_SECONDS", "60"))
SEED = os.environ.get("SENTINEL_TEST_SEED", "")
USUAL_SEED, MOST, MOST_LIVES = "28112026", 1000, 50


@pytest.mark.parametrize("name", TARGETS)
def test_no_nonsense_breaks_anything(name: str) -> None:
    """A share of the time for each way in."""
    print(f"seed {SEED or USUAL_SEED}")
    target, tally = TARGETS[name], fuzz.Tally()
    most = MOST_LIVES if target.slow else MOST
    fuzz.share(target, SEED or USUAL_SEED, SECONDS / len(TARGETS), tally, most=math.inf if SEED else most)
    print(fuzz.table({name: tally}))
    findings = tally.findings.values()
    assert not findings, "\n\n".join(finding.report() for finding in findings)
    assert tally.inputs


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if not target.slow])
def test_the_same_seed_gives_the_same_inputs(name: str) -> None:
    first, again, other = (repr([fuzz.made(TARGETS[name], seed, index) for index in range(5)]) for seed in "112")
    assert first == again != other


def test_a_finding_is_seen_made_smaller_and_can_be_played_again() -> None:
    """The fuzzer itself: a check that fails for one word finds that word, and nothing else."""

    def check(case: Any) -> None:
        assert "kaboom" not in json.dumps(case), "kaboom"

    target = fuzz.Target("own", lambda mangler: {"a": [mangler.dice.random(), "x" * 40], "b": {"c": "..kaboom.."}}, check)
    finding = fuzz.one(target, "7", 3)
    assert finding and finding.case == {"b": {"c": "kaboom"}}
    assert "--target own --seed 7 --only 3" in finding.report()


def test_an_input_that_takes_too_long_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "QUICK", 0.1)
    target = fuzz.Target("own", lambda mangler: 1, lambda case: threading.Event().wait(30) and None)
    finding = fuzz.one(target, "7", 3)
    assert finding and isinstance(finding.error, fuzz.Hang)


def test_smaller_values_are_smaller() -> None:
    case = {"a": [1, "text", {"b": None}], "c": b"bytes"}
    assert all(len(repr(less)) < len(repr(case)) for less in smaller(case))
    assert shrunk(list(range(100)), lambda value: 57 in value) == [57]


def test_nonsense_is_json_or_bytes_and_leaves_its_model_alone() -> None:
    model = full_inspect({"a": "b"})
    before = json.dumps(model)
    mangler = Mangler(fuzz.random.Random(1))
    spoilt = [mangler.spoil(model) for _ in range(300)]
    assert json.dumps(model) == before
    assert sum(document != model for document in spoilt) > 250
