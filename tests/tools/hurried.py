"""sentinel.py as a process of its own, with all its threads, whose clock runs many times as fast as others'.

The days are those of longlife.py; engine and Discord tell the same hurried time. What /proc says of the process
at each midnight is its sample: memory, threads and descriptors, and the ledger on disk.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine
from support.sentinel import environment

import sentinel
from tools.longlife import KEEP, LongLife

SPEED = 1000.0

#: Runs sentinel.py with a clock and queues that are so much faster; its sockets wait as long as they say.
HURRY = """
import importlib.util, queue, sys, time, types
path, speed, began, began_time = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
spec = importlib.util.spec_from_file_location("sentinel", path)
module = sys.modules["sentinel"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
clock = types.SimpleNamespace(**vars(time))
clock.monotonic = lambda: (time.monotonic() - began) * speed
clock.time = lambda: began_time + clock.monotonic()
clock.time_ns = lambda: round(clock.time() * 1e9)
class Queue(queue.SimpleQueue):
    def get(self, block=True, timeout=None):
        return super().get(block, None if timeout is None else timeout / speed)
module.time, module.queue = clock, types.SimpleNamespace(SimpleQueue=Queue, Empty=queue.Empty)
sys.exit(module.main(sys.argv[5:]))
"""


class FastClock:
    """The hurried time, of a machine that has been up for some seconds of it. What is asked to pass is waited for."""

    engine_ahead = 0.0

    def __init__(self, speed: float = SPEED, at: float = 1.8e9, up: float = 0.0) -> None:
        self.speed, self.began, self.began_time = speed, time.monotonic() - up / speed, at - up

    @property
    def now(self) -> float:
        return (time.monotonic() - self.began) * self.speed

    def time(self) -> float:
        return self.began_time + self.now

    def time_ns(self) -> int:
        return round(self.time() * 1e9)

    def run(self, seconds: float) -> None:
        """Let time go by."""
        time.sleep(max(0.0, seconds) / self.speed)

    def run_until(self, then: float) -> None:
        """Let time go by until this moment."""
        self.run(then - self.now)


class Hurried(LongLife):
    """Days with a process."""

    def __enter__(self) -> Hurried:
        self.clock = self.life = FastClock()  # type: ignore[assignment]
        self.take_time()
        self.engine = self.stack.enter_context(FakeEngine())
        self.discord = self.stack.enter_context(FakeDiscord(clock=lambda: self.clock.now, wall=self.clock.time))
        self.furnish()
        program = Path(sentinel.__file__)
        settings = environment(
            self.folder, self.engine.host, DISCORD_WEBHOOK_URL=self.discord.add_webhook().url, SENTINEL_SETTLE="30s",
            SENTINEL_KEEP=f"{KEEP:.0f}", SENTINEL_LISTEN="39180", SENTINEL_NOTIFY_TOKEN="let-me-speak", TZ="UTC")
        arguments = [str(program), str(SPEED), str(self.clock.began), str(self.clock.began_time)]
        self.log = self.stack.enter_context(open(self.folder / "log", "w", encoding="utf-8"))
        self.process = subprocess.Popen([sys.executable, "-c", HURRY, *arguments], env=settings, stderr=self.log)
        self.stack.callback(self.end)
        assert self.engine.wait_streams(1, 20.0), (self.folder / "log").read_text()
        return self

    def end(self) -> None:
        """Ask it to stop, and wait."""
        self.process.terminate()
        self.process.wait(30)

    def live(self, seconds: float) -> None:
        """Days until so much real time is over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.live_a_day()
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            print(f"day {len(self.samples)}: {self.samples[-1]}", file=sys.stderr, flush=True)

    def note(self) -> None:
        """Words, and questions, over HTTP."""
        for path, body in (("/notify", b'{"title": "%s", "message": "x"}' % self.words().encode()), ("/metrics", None),
                           ("/status", None)):
            heads = {"Authorization": "Bearer let-me-speak", "Content-Type": "application/json"}
            request = urllib.request.Request(f"http://127.0.0.1:39180{path}", body, heads)
            with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()

    def sample(self) -> dict[str, float]:
        """What /proc says of the process."""
        folder = Path(f"/proc/{self.process.pid}")
        pages = int((folder / "statm").read_text().split()[1])
        return {"RSS in kB": pages * os.sysconf("SC_PAGE_SIZE") / 1024, "threads": float(len(os.listdir(folder / "task"))),
                "descriptors": float(len(os.listdir(folder / "fd"))), **self.files()}

