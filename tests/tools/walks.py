#!/usr/bin/env python3
"""Walk the deciding core at random, for as long as you like, on all processors.

    python3 tests/tools/walks.py                       100,000 steps
    python3 tests/tools/walks.py --steps 1000000       a quarter of an hour on two processors; Ctrl-C: what was found so far
    python3 tests/tools/walks.py --only 4711           one walk, and its whole story if it breaks a rule
    python3 tests/tools/walks.py --seed 500000         other walks than those that start at seed 0

A walk is 240 steps from one seed; support/walk.py says what may happen and what must hold. At the end it is said which
rules were broken, by how many walks, with the fewest steps that break each; which moves from phase to phase were made
and which never; and what was told. Exits with 1 if a rule was broken, or if a legal move was never made.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from support.walk import Edge, Walk, complaint, edges_made, never_made, shortened  # noqa: E402

STEPS = 240  # of a walk
SHARE = 5  # walks that one process is given at a time


@dataclass
class Found:
    """What some walks came to."""
    steps: int = 0
    edges: set[Edge] = field(default_factory=set)
    told: Counter[str] = field(default_factory=Counter)
    broken: dict[str, list[int]] = field(default_factory=dict)  # complaint → seeds

    def add(self, other: Found) -> None:
        """Take in what others have found."""
        self.steps += other.steps
        self.edges |= other.edges
        self.told += other.told
        for why, seeds in other.broken.items():
            self.broken.setdefault(why, []).extend(seeds)


def walk_some(first: int) -> Found:
    """One share of walks, from this seed on."""
    found = Found()
    with edges_made() as found.edges:
        for seed in range(first, first + SHARE):
            walk = Walk(seed, range(STEPS))
            if why := complaint(walk):
                found.broken.setdefault(why, []).append(seed)
            found.steps += walk.taken
            found.told += walk.world.counts
    return found


def walk_all(first: int, steps: int) -> Iterator[Found]:
    """What all walks come to, share by share."""
    shares = range(first, first + -(-steps // STEPS), SHARE)
    with multiprocessing.Pool(len(os.sched_getaffinity(0)), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield from pool.imap_unordered(walk_some, shares)


def show(seed: int) -> bool:
    """Shorten one walk, and tell its story; whether it breaks a rule."""
    steps = shortened(seed, list(range(STEPS)))
    try:
        Walk(seed, steps).run()
    except AssertionError as error:
        print(f"steps {steps}\n{error}")
        return True
    print(f"seed {seed} breaks no rule")
    return False


def report(found: Found, seconds: float) -> None:
    """Say what was found."""
    print(f"\n{found.steps:,} steps in {seconds:.0f} s: {found.steps / seconds:,.0f} a second")
    never = ", ".join(never_made(found.edges)) or "none"
    print(f"{len(found.edges)} moves from phase to phase were made; legal and never made: {never}")
    print("told:", ", ".join(f"{number:,} × {what}" for what, number in sorted(found.told.items())))
    for why, seeds in sorted(found.broken.items(), key=lambda item: -len(item[1])):
        print(f"\n{len(seeds)} walks, as seeds {', '.join(map(str, sorted(seeds)[:5]))}: {why}")


def main() -> int:
    """Walk, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100_000, help="how many at least")
    parser.add_argument("--seed", type=int, default=0, help="of the first walk")
    parser.add_argument("--only", type=int, help="this walk alone")
    parser.add_argument("--stories", type=int, default=3, help="so many stories of broken rules are told")
    chosen = parser.parse_args()
    os.environ["TZ"] = "UTC"  # quiet windows are local time
    time.tzset()
    if chosen.only is not None:
        return show(chosen.only)
    found, began = Found(), time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        for some in walk_all(chosen.seed, chosen.steps):
            for why in some.broken.keys() - found.broken.keys():
                print(f"seed {some.broken[why][0]}: {why}", flush=True)
            found.add(some)
            print(f"{found.steps:,} steps", end="\r", file=sys.stderr, flush=True)
    report(found, time.monotonic() - began)
    for seeds in sorted(found.broken.values(), key=len)[::-1][: chosen.stories]:
        print("\n" + "─" * 100)
        show(min(seeds))
    return int(bool(found.broken or never_made(found.edges)))


if __name__ == "__main__":
    sys.exit(main())
