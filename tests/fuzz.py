#!/usr/bin/env python3
"""Feed Sentinel nonsense on every way by which something reaches it from outside, and see that nothing breaks.

    python3 tests/fuzz.py                                all targets, for a minute, with a seed of its own
    python3 tests/fuzz.py --seconds 600 --seed 7         as long as you like; a seed gives the same inputs again
    python3 tests/fuzz.py --target http --target logs    these alone; --list names all
    python3 tests/fuzz.py --target http --seed 7 --only 1234      one input again, as a finding names it

What must hold: only the program's own clear errors come out, in bounded time; what is told can be sent; each kind of
nonsense has its line and no more than that; no line shows a secret. It prints how many inputs a second each target
took, and for a finding the input, made smaller, and the traceback; then it exits with 1.
"""

from __future__ import annotations

import argparse
import contextlib
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

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [folder for folder in (str(TESTS), str(TESTS.parent)) if folder not in sys.path]

from support import fuzz_lives  # noqa: E402, F401 - it has targets, too
from support.fuzz_pure import TARGETS, Target  # noqa: E402
from support.mangling import Mangler, shrunk  # noqa: E402

QUICK, SLOW = 2.0, 30.0  # seconds after which an input hangs: a call, a whole life
SHOWN = 1500  # characters of an input that are printed

#: Findings that are known and not mended yet: where they come from → the kept case in test_fuzz.py that waits for it.
KNOWN: dict[str, str] = {
    "ValueError in notice_of": "an alert with a consequence that has no exit code outlives sentinel",
    "ValueError in container_from": "what is taken from the engine can be read back from the ledger",
    "UnicodeEncodeError in _write": "a name with half a character is kept in the ledger",
    "UnicodeEncodeError in write": "a name with half a character can be dropped and asked for",
    "UnicodeEncodeError in inspect": "an id with half a character is a container that is not there",
    "UnicodeEncodeError in ask": "an inspect that names an odd id is looked at all the same",
    "UnicodeEncodeError in engine_of": "a context with an odd name is a setting that makes no sense",
    "OverflowError in events": "a chunk of endless size is the end of the stream",
    "OverflowError in span": "a duration without end is refused",
    "RecursionError in error_text": "an error that is nested deeply is an error of a restart",
    "ValueError in _remember_notices": "a notice with an odd number does not keep sentinel from starting",
    "ValueError in history_table": "history leaves out what makes no sense",
    "ValueError in incidents_of": "history leaves out what makes no sense",
    "ValueError in ask": "a proxy that makes no sense is a channel that can not be reached",
    "ValueError in proxy_of": "a proxy that makes no sense is a channel that can not be reached",
    "InvalidURL in connect": "an engine address with a blank is refused or an engine that is away",
    "AssertionError in check_settings: an error shows a secret": "an error about the heartbeat shows no address",
    "AssertionError in check_line: a line of the record shows a secret":
        "a heartbeat with a blank is refused or at least not shown",
    "AssertionError in check_line: a line of the record has N characters": "a line of the record is bounded",
    "AssertionError in check_told: Discord refuses {'allowed_mentions': {'roles': {'N': {'_erro":
        "a mention in other digits is no mention",
    "AssertionError in check_told: Discord refuses {'allowed_mentions': {'users': {'N': {'_erro":
        "a mention in other digits is no mention",
    "AssertionError in live: a meta is written so that it can't be read":
        "a position without end does not shut out the events",
    "AssertionError in check_missing: a service is lost without a line": "a record that is left out has a line",
    "AssertionError in check_ledger: services are lost without a line": "a record that is left out has a line",
    "AssertionError in check_missing: a mute is lost without a line": "a record that is left out has a line",
}


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
            f"  again: python3 tests/fuzz.py --target {self.target} --seed {self.seed} --only {self.index}",
            f"  input: {shown if len(shown) <= SHOWN else f'{shown[:SHOWN]}… ({len(shown)} characters)'}",
            "".join(lines)[-3000:]])


@dataclass
class Tally:
    """How one target went."""

    inputs: int = 0
    seconds: float = 0.0
    known: dict[str, Finding] = field(default_factory=dict)
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
    """What an input breaks, if anything."""
    try:
        with limited(SLOW if target.slow else QUICK):
            target.check(case)
    except (Exception, Hang) as error:
        return error
    return None


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


def share(target: Target, seed: str, seconds: float, tally: Tally, begin: int = 0) -> int:
    """Try inputs for so long; the number of the next one."""
    started = time.monotonic()
    while True:
        finding = one(target, seed, begin, {*tally.findings, *KNOWN})
        begin, tally.inputs = begin + 1, tally.inputs + 1
        if finding:
            seen = tally.known if finding.place in KNOWN else tally.findings
            seen.setdefault(finding.place, finding)
        if (took := time.monotonic() - started) >= seconds:
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
        known = f", known: {', '.join(sorted({KNOWN[place] for place in tally.known}))}" if tally.known else ""
        rows.append(f"{name:12} {tally.inputs:8} inputs {tally.inputs / max(0.001, tally.seconds):8.0f} a second"
                    f"  {len(tally.findings)} findings{known}")
    return "\n".join(rows)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/fuzz.py", description=__doc__,
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
