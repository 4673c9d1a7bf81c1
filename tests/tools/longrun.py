#!/usr/bin/env python3
"""Live weeks with Sentinel in minutes, and say what has grown at each midnight.

    python3 tests/tools/longrun.py                     three minutes: some weeks
    python3 tests/tools/longrun.py --minutes 60        a year or so
    python3 tests/tools/longrun.py --process           the program itself with its threads, at 1,000 times its speed
    python3 tests/tools/longrun.py --program copy.py   another sentinel.py than this, for instance one with a leak

Without --process the daemon runs here on a clock that jumps: every collection that hangs on it is counted, and what
grows is named. With it sentinel.py runs as a process of its own, and its memory, threads and descriptors are read from
/proc. Exits with 1 if anything grows.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

SHOWN = ("RSS in kB", "threads", "descriptors", "bytes of the ledger", "rows of notice")


def take(program: Path) -> None:
    """Have `import sentinel` mean this file."""
    spec = importlib.util.spec_from_file_location("sentinel", program)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["sentinel"] = module
    spec.loader.exec_module(module)


def live(minutes: float, seed: int) -> list[dict[str, float]]:
    """Days on a clock that jumps, each with a line."""
    from tools.longlife import LongLife

    until = time.monotonic() + minutes * 60
    with tempfile.TemporaryDirectory() as folder, LongLife(Path(folder), seed) as life:
        while time.monotonic() < until:
            life.live_a_day()
            sample = life.samples[-1]
            print(f"day {len(life.samples)}:", ", ".join(f"{name} {sample.get(name, 0):.0f}" for name in SHOWN),
                  file=sys.stderr, flush=True)
        return life.samples


def run(minutes: float, seed: int) -> list[dict[str, float]]:
    """The process itself, sampled once a day of its clock."""
    from tools.hurried import Hurried

    with tempfile.TemporaryDirectory() as folder, Hurried(Path(folder), seed) as process:
        process.live(minutes * 60)
        return process.samples


def main() -> int:
    """Live, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--process", action="store_true", help="the program itself, in a process of its own")
    parser.add_argument("--program", type=Path, default=TESTS.parent / "sentinel.py")
    chosen = parser.parse_args()
    os.environ["TZ"] = "UTC"
    time.tzset()
    take(chosen.program)
    from tools.longlife import growths

    samples = (run if chosen.process else live)(chosen.minutes, chosen.seed)
    found = growths(samples)
    for name, growth in found.items():
        values = ", ".join(f"{sample.get(name, 0):.0f}" for sample in samples[:: max(1, len(samples) // 10)])
        print(f"{name} grows by {growth} a day: {values}")
    print(f"{len(samples)} days, {len(found)} things grow")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
