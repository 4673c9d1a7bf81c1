"""The benchmark works to its end. How fast anything is, it says itself, and no test does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "tools" / "bench.py"


@pytest.mark.skipif(os.environ.get("SENTINEL_E2E_SUITE") != "forky", reason="it is about the bench, so one engine will do")
def test_the_benchmark_measures_all_its_parts_and_takes_everything_away(heavy: None) -> None:
    suite = os.environ["SENTINEL_E2E_SUITE"]
    few = ["--fleets", "3", "--deaths", "2", "--idle", "1", "--flood", "4", "--sizes", "8,16", "--engine", suite]
    # The folder's name is short: it is part of the address of a socket, which may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="sentinel-", dir="/tmp") as name:
        folder = Path(name)
        done = subprocess.run([sys.executable, str(BENCH), *few, "--json", str(folder / "bench.json")], capture_output=True,
                              text=True, timeout=400, env={**os.environ, "TMPDIR": name}, check=False)  # fmt: skip
        assert done.returncode in (0, 1), done.stderr  # 1: a target was missed, as on a busy machine
        assert (folder / "bench.json").exists(), done.stderr
        numbers = json.loads((folder / "bench.json").read_text())
        assert not list(folder.glob("sentinel-bench-*"))
    assert {"a", "b", "c", "d", "e", "f", "g", "h", "i", "noise"} <= set(numbers)
    table = done.stdout.splitlines()
    assert sum(line.startswith(tuple("abcdefghi")) for line in table) == sum(len(numbers[part]) for part in "abcdefghi")
