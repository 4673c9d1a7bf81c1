"""What all tests of tests/system begin with: services of the project shop, and sentinel.py as people start it.

    with program(tmp_path, engine.host, DISCORD_WEBHOOK_URL=hook.url) as process:
        until(lambda: "watching web" in (tmp_path / "log").read_text())
    code, out, err = command("check", DOCKER_HOST=engine.host)

(For real engines there is support/sentinel.py.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sentinel
from support.fake_discord import FakeDiscord
from support.fake_engine import Container, FakeEngine

PROGRAM = Path(sentinel.__file__)


def add(engine: FakeEngine, name: str, needs: str = "", **facts: Any) -> Container:
    """A service of the project shop, up for an hour; it depends on those that it needs."""
    usual: dict[str, Any] = {"project": "shop", "started_ago": 3600.0, "stop_timeout": 1}
    if needs:
        usual["depends_on"] = ",".join(f"{need}:service_started:false" for need in needs.split())
    return engine.add(name, **usual | facts)


def titles(discord: FakeDiscord, channel: str | None = None) -> list[str]:
    """The title of each embed as it reads now, in order, but for the tick of what is over."""
    return [embed["title"].removeprefix("✓ ") for message in discord.posts(channel) for embed in message.embeds]


def until(condition: Callable[[], Any], timeout: float = 60.0, what: object = "") -> Any:
    """Wait for something that no fake tells of: long enough for a busy machine. `what` it is, or a function that says it."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, f"not within the time {what() if callable(what) else what}"
        time.sleep(0.01)
    return found


class Done(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str


def finished(words: Sequence[str], environment: Mapping[str, str]) -> Done:
    """A run of Python that ends by itself, and not with a traceback."""
    done = subprocess.run([sys.executable, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=30)  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def command(*arguments: str, **settings: str) -> Done:
    """A command of Sentinel's with these settings and no others."""
    return finished([str(PROGRAM), *arguments], {"PATH": os.environ["PATH"], **settings})


def changed(changes: str) -> tuple[str, ...]:
    """What Python is given to start the program with other constants: changed("sentinel.LEAVING = 9.0")."""
    code = f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); import sentinel; {changes}\nsys.exit(sentinel.main())"
    return "-B", "-c", code


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Ask it to end, as Docker does, which gives it this long; its exit code."""
    process.send_signal(number)
    return process.wait(10.0)


@contextlib.contextmanager
def program(folder: Path, host: str, *words: str, log: str = "log", out: str = "", **settings: str
            ) -> Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    """A daemon, its ledger in folder/state; killed at the end of the block if it still runs.

    words: what Python is given in place of sentinel.py. log: the file of all that it says, which is added to; out: that of
    its standard output, where it is to be apart.
    """
    environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": host, "HOME": str(folder),
                   "SENTINEL_STATE": str(folder / "state"), **settings}  # fmt: skip
    with (folder / log).open("ab") as err, (folder / (out or log)).open("ab") as said:
        process = subprocess.Popen([sys.executable, *(words or (str(PROGRAM),))], env=environment,
                                   stdin=subprocess.DEVNULL, stdout=said, stderr=err, cwd=folder)  # fmt: skip
    try:
        yield process
        assert process.returncode is not None or process.poll() is None, f"it ended by itself with {process.returncode}"
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in (text := (folder / log).read_text(errors="replace")), text
