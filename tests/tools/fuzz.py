#!/usr/bin/env python3
"""Feed Sentinel nonsense on every way by which something reaches it from outside, and see that nothing breaks.

    python3 tests/tools/fuzz.py                                all targets, for a minute, with a seed of its own
    python3 tests/tools/fuzz.py --seconds 600 --seed 7         as long as you like; a seed gives the same inputs again
    python3 tests/tools/fuzz.py --target http --target logs    these alone; --list names all
    python3 tests/tools/fuzz.py --target http --seed 7 --only 1234      one input again, as a finding names it

What must hold: only the program's own clear errors come out, in bounded time; what is told can be sent; each kind of
nonsense has its line and no more than that; no line shows a secret. It prints how many inputs a second each target
took, and for a finding the input, made smaller, and the traceback; then it exits with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import re
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [folder for folder in (str(TESTS), str(TESTS.parent)) if folder not in sys.path]

from tools import fuzz_lives  # noqa: E402, F401 - it has targets, too
from tools.fuzz_calls import TARGETS, Target  # noqa: E402
from tools.fuzz_mangling import Mangler, shrunk  # noqa: E402

QUICK, SLOW = 2.0, 30.0  # seconds after which an input hangs: a call, a whole life
SHOWN = 1500  # characters of an input that are printed


class Hang(BaseException):
    """An input takes too long. No handler of Sentinel's catches this."""


@dataclass
class Finding:
    """An input that breaks what must hold."""

    target: str
    seed: str
    index: int
    case: Any
    error: BaseException

    @property
    def place(self) -> str:
        """Where it comes from: what was raised, and the innermost function of Sentinel or of a check."""
        frames = traceback.extract_tb(self.error.__traceback__)
        named = [frame for frame in frames if not frame.name.startswith("<")]
        ours = [frame for frame in named if frame.filename.endswith("/sentinel.py")] or named[-1:]
        said = str(self.error).partition("\n")[0] if isinstance(self.error, AssertionError) else ""
        words = re.sub(r"\d+", "N", said)[:60]
        return f"{type(self.error).__name__} in {ours[-1].name}" + (f": {words}" if words else "")

    def report(self) -> str:
        """All that one needs to mend it."""
        shown = ascii(self.case)
        lines = traceback.format_exception(self.error)
        return "\n".join([
            f"FINDING {self.target}: {self.place}",
            f"  again: python3 tests/tools/fuzz.py --target {self.target} --seed {self.seed} --only {self.index}",
            f"  input: {shown if len(shown) <= SHOWN else f'{shown[:SHOWN]}… ({len(shown)} characters)'}",
            "".join(lines)[-3000:]])


@dataclass
class Tally:
    """How one target went."""

    inputs: int = 0
    seconds: float = 0.0
    findings: dict[str, Finding] = field(default_factory=dict)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise Hang in what takes longer; Python looks for signals inside regular expressions, too."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang(f"it takes more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def made(target: Target, seed: str, index: int) -> Any:
    """The input of this number: the same for the same seed and target."""
    return target.make(Mangler(random.Random(f"{seed}/{target.name}/{index}")))


def tried(target: Target, case: Any) -> BaseException | None:
    """What an input breaks, if anything. What takes too long has a second try with more time: a machine may be busy."""
    error: BaseException | None = None
    for patience in (1, 5):
        try:
            with limited((SLOW if target.slow else QUICK) * patience):
                target.check(case)
            return None
        except Hang as hang:
            error = hang
        except Exception as problem:
            return problem
    return error


def one(target: Target, seed: str, index: int, old: Iterable[str] = ()) -> Finding | None:
    """Try the input of one number; a finding is made smaller, unless it comes from where an old one does."""
    error = tried(target, made(target, seed, index))
    if error is None:
        return None
    finding = Finding(target.name, seed, index, made(target, seed, index), error)
    if isinstance(error, Hang) or target.slow or finding.place in old:
        return finding

    def same(case: Any) -> bool:
        again = tried(target, case)
        return again is not None and Finding(target.name, seed, index, case, again).place == finding.place

    finding.case = shrunk(finding.case, same)
    finding.error = tried(target, finding.case) or error
    return finding


def share(target: Target, seed: str, seconds: float, tally: Tally, begin: int = 0, most: float = math.inf) -> int:
    """Try inputs for so long, and not more than so many; the number of the next one."""
    started = time.monotonic()
    while True:
        finding = one(target, seed, begin, tally.findings)
        begin, tally.inputs = begin + 1, tally.inputs + 1
        if finding:
            tally.findings.setdefault(finding.place, finding)
        if (took := time.monotonic() - started) >= seconds or tally.inputs >= most:
            tally.seconds += took
            return begin


def run(targets: Iterable[Target], seed: str, seconds: float) -> dict[str, Tally]:
    """Try all targets in turn, the time shared evenly."""
    chosen = list(targets)
    tallies = {target.name: Tally() for target in chosen}
    for target in chosen:
        share(target, seed, seconds / len(chosen), tallies[target.name])
    return tallies


def table(tallies: dict[str, Tally]) -> str:
    """How many inputs each target took."""
    rows = []
    for name, tally in tallies.items():
        rows.append(f"{name:12} {tally.inputs:8} inputs {tally.inputs / max(0.001, tally.seconds):8.0f} a second"
                    f"  {len(tally.findings)} findings")
    return "\n".join(rows)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/tools/fuzz.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--seed", default=os.urandom(4).hex(), help="the same seed gives the same inputs")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="this one alone; may be repeated")
    parser.add_argument("--only", type=int, help="the input of this number alone")
    parser.add_argument("--list", action="store_true", help="name all targets")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run, and say how it went."""
    given = parse(arguments)
    if given.list:
        print("\n".join(f"{name:12} {' '.join((target.check.__doc__ or '').split())}" for name, target in TARGETS.items()))
        return 0
    targets = [TARGETS[name] for name in given.target or TARGETS]
    print(f"seed {given.seed}", flush=True)
    if given.only is not None:
        findings = [finding for target in targets if (finding := one(target, given.seed, given.only))]
    else:
        tallies = run(targets, given.seed, given.seconds)
        print(table(tallies), flush=True)
        findings = [finding for tally in tallies.values() for finding in tally.findings.values()]
    print("\n\n".join(finding.report() for finding in findings), end="\n" if findings else "")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
