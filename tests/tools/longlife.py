"""Weeks of Sentinel's life in minutes: the whole daemon on a clock that jumps, and what it holds at each midnight.

    with LongLife(folder, seed=1) as life:
        for _ in range(14):
            life.live_a_day()                  # a busy day; in the evening all is well, and stays so until midnight
        print(growths(life.samples))           # {} if nothing grows

What a day brings is new each time: names of projects and containers, ids, words of logs, titles of notes. Whatever is
remembered of one day and not let go is therefore still there at the midnights after it. Engine, HTTP, ledger, outboxes,
channels and the stream's thread are real ones; the clock, and which thread does what, are the test's (support/lives.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import random
import sqlite3
import statistics
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from support import insides
from support.fake_discord import FakeDiscord
from support.fake_engine import Container as Fake
from support.fake_engine import FakeEngine
from support.lives import Clock, Life, one_clock

import sentinel
from sentinel import Action, Asked, Observation, Settings

HOUR = 3600.0
KEEP = 2 * 24 * HOUR  # of the history, so that what is pruned and what is not shows within days
Sample = Mapping[str, float]


class Whole(Life):
    """A life that greets, reads mutes and answers those who ask, as the daemon's own loop does."""

    def next_due(self) -> float:
        return min([super().next_due(), *([self.now + 1.0] if insides.mutes(self.watchdog) else [])])

    def _observe(self, seen: Observation) -> None:
        self.daemon.books.read_mutes(self.watchdog, self.now)
        if isinstance(seen, Asked):
            self.daemon.desk.answer(seen, self.now)
            self._perform([])
        else:
            super()._observe(seen)

    def _perform(self, actions: Any) -> None:
        self.daemon.books.read_mutes(self.watchdog, self.now)
        found: list[Action] = [*actions, *self.watchdog._take_actions(self.now), *self.daemon.greet()]
        super()._perform(found)
        self.notices.clear()  # what this test's own machinery would hoard
        self.stories.clear()
        self.log.clear()
        self.lines.clear()
        self.subscribed.clear()


class LongLife:
    """One daemon, its engine and its Discord, and what it holds at each midnight."""

    def __init__(self, folder: Path, seed: int = 0, **settings: Any) -> None:
        self.folder, self.settings, self.dice = folder, settings, random.Random(seed)
        self.samples: list[dict[str, float]] = []
        self.count = 0
        self.guests: list[Fake] = []
        self.shop: dict[str, Fake] = {}
        self.stack = contextlib.ExitStack()

    def take_time(self) -> None:
        """Have Sentinel and the engine live by this clock until the end."""
        self.stack.enter_context(one_clock(self.clock))

    def __enter__(self) -> LongLife:
        self.clock = Clock()
        self.take_time()
        self.engine = self.stack.enter_context(FakeEngine())
        self.discord = self.stack.enter_context(FakeDiscord(clock=lambda: self.clock.at, wall=self.clock.time))
        hook = sentinel.webhook(self.discord.add_webhook().url)
        bot = self.discord.add_bot("a-token-of-some-length")
        channel = self.discord.add_channel("more")
        self.furnish()
        facts = {"webhook_url": hook, "bot_token": sentinel.Secret(bot.token), "channel_id": channel.id,
                 "api_url": f"{self.discord.url}/api/v10", "poll_interval": 300.0, "keep": KEEP, "settle": 5.0,
                 "listen": ""}
        self.life = self.stack.enter_context(Whole(self.engine, self.folder, self.clock, **{**facts, **self.settings}))
        assert self.life.daemon.books.ledger.database
        self.life.daemon.books.ledger.database.execute("PRAGMA synchronous = OFF")  # a day has thousands of commits
        self.life.run(10)
        return self

    def furnish(self) -> None:
        """The services that are always there."""
        for name in ("db", "api", "web", "worker"):
            needs = {"api": "db:service_started:true", "web": "api:service_started:false"}.get(name, "")
            self.shop[name] = self.engine.add(name, project="shop", depends_on=needs, started_ago=HOUR, stop_timeout=0,
                                              term_code=0, healthcheck=name == "db")

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    # A day

    def live_a_day(self) -> None:
        """A day in which much happens, an evening in which all is put right, and a quiet night."""
        midnight = self.clock.now + 24 * HOUR
        for happening in self.dice.sample(happenings := self.happenings(), len(happenings)):
            self.life.run(self.dice.uniform(60.0, 1800.0))
            happening()
            self.life.run(self.dice.choice((1.0, 20.0, 300.0)))
            self.probe_well()
        self.put_right()
        self.life.run_until(midnight)
        self.samples.append(self.sample())

    def happenings(self) -> list[Callable[[], None]]:
        """What a day brings, in any order: each day as much as the other, so that what is kept for days does not grow."""
        return [self.crash, self.loop, self.fall_together, self.stop, self.deploy, self.visit, self.leave, self.visit,
                self.sicken, self.run_out_of_memory, self.note, self.mute, self.lose_discord, self.end_engine, self.cut,
                self.bad_answer, self.cant_start, self.give_up]

    def one(self) -> Fake:
        """A container that runs, if there is any; else all are started."""
        running = [item for item in (*self.shop.values(), *self.guests) if item.running]
        if not running:
            self.start_all()
            return self.shop["web"]
        return self.dice.choice(running)

    def words(self) -> str:
        """Words that nobody has ever said."""
        self.count += 1
        return f"{self.dice.getrandbits(64):x} and {self.count}"

    def crash(self) -> None:
        """A container ends with new last words."""
        container = self.one()
        self.engine.log(container, self.words(), "x" * 200)
        self.engine.crash(container, self.dice.choice((1, 2, 3, 139)))

    def loop(self) -> None:
        """It dies at every start, some times more than it is restarted, or fewer."""
        container = self.one()
        for _ in range(3):
            if container.running:
                self.engine.log(container, self.words())
                self.engine.crash(container, 1)
            self.life.run(self.dice.choice((7.0, 30.0)))

    def fall_together(self) -> None:
        """A cause and its consequences."""
        for name in ("db", "api", "web"):
            if self.shop[name].running:
                self.engine.crash(self.shop[name], 1)

    def stop(self) -> None:
        """An operator's stop; somebody starts it later, or the evening does."""
        container = self.one()
        self.engine.stop_by_operator(container)
        self.life.run(60.0)
        if self.dice.random() < 0.5:
            self.engine.start_by_operator(container)

    def deploy(self) -> None:
        """The same service gets a new container."""
        name = self.dice.choice([*self.shop])
        self.shop[name] = self.engine.recreate(self.shop[name])

    def visit(self) -> None:
        """A project that was never here before, and that has trouble soon."""
        self.count += 1
        project = f"guest{self.count}"
        facts: dict[str, Any] = {"project": project, "stop_timeout": 0, "term_code": 0, "labels": {"note": self.words()}}
        made = [self.engine.add(f"{project}-{name}-1", service=f"{name}{self.count}", **facts) for name in ("back", "front")]
        self.guests += made
        self.life.run(30.0)
        self.engine.crash(made[0], 1)
        self.engine.crash(made[1], 1)

    def leave(self) -> None:
        """A visiting project is removed."""
        for container in self.guests[:2]:
            self.engine.remove(container)
        del self.guests[:2]

    def sicken(self) -> None:
        """The probe fails, and does so after restarts, too."""
        database = self.shop["db"]
        for _ in range(self.dice.choice((1, 4))):
            if database.running:
                for _ in range(3):
                    self.engine.health(database, "unhealthy", self.words(), 1)
            self.life.run(30.0)

    def run_out_of_memory(self) -> None:
        self.engine.oom(self.one(), child=self.dice.random() < 0.5)

    def cant_start(self) -> None:
        """The engine refuses to start it, in words of its own."""
        container = self.one()
        self.engine.on_start(container, (500, f"driver failed: {self.words()}"), times=1)
        self.engine.crash(container, 1)

    def give_up(self) -> None:
        """It dies until nobody restarts it any more."""
        container = self.shop["worker"]
        for _ in range(7):
            if container.running:
                self.engine.crash(container, 1)
            self.life.run(90.0)

    def note(self) -> None:
        """Somebody's own words, by POST /notify."""
        words = sentinel.words_of({"title": self.words(), "message": self.words() * 5, "level": "error"})
        self.life._observe(Asked("/notify", lambda answer: None, words))
        self.life._observe(Asked("/metrics", lambda answer: None))

    def mute(self) -> None:
        """A mute of somebody, in which something dies."""
        container = self.one()
        name = self.dice.choice((container.name, "all", "shop"))
        assert sentinel.mute(Settings(state=str(self.folder)), {}, [name], 600.0) == 0
        self.life.run(10.0)
        self.engine.crash(container, 1)
        self.life.run(self.dice.choice((30.0, 900.0)))

    def lose_discord(self) -> None:
        """Discord is away, or refuses, while things die."""
        if self.dice.random() < 0.5:
            self.discord.refuse()
        else:
            self.discord.arm("status", times=None, status=500)
        for _ in range(5):
            self.crash()
            self.life.run(60.0)
        self.discord.accept()
        self.discord.disarm()

    def end_engine(self) -> None:
        """The engine shuts down, and a new one comes."""
        if self.dice.random() < 0.5:
            self.engine.daemon_shutdown()
        else:
            self.engine.go_down()
        self.life.run(self.dice.choice((3.0, 60.0)))
        self.engine.come_up()
        self.life.run(90.0)

    def cut(self) -> None:
        """The stream is cut."""
        self.engine.cut_streams()

    def bad_answer(self) -> None:
        """What nobody can read."""
        self.engine.answer(r"/json", self.dice.choice((200, 500)), self.words(), times=2)
        self.crash()

    def probe_well(self) -> None:
        """The database's probe says that it is well, if it runs: else Sentinel would ask every five seconds."""
        if self.shop["db"].running:
            self.engine.health(self.shop["db"], "healthy")

    def start_all(self) -> None:
        """All that is there runs."""
        for container in (*self.shop.values(), *self.guests):
            container.plans.clear()
            self.engine.start_by_operator(container)

    def put_right(self) -> None:
        """Nothing is wrong any more, and visitors have left."""
        self.engine.heal()
        while self.guests:
            self.leave()
        for _ in range(3):
            self.start_all()
            self.life.run(20.0)
            self.probe_well()
            self.life.run(600.0)
        self.forget()

    def forget(self) -> None:
        """What the fakes would hoard: what is an hour old is of no use to anybody."""
        del self.engine.calls[:], self.discord.requests[:], self.discord.edits[:]
        old = {message.id for message in self.discord.stored[:-50]}
        self.discord.stored[:] = [message for message in self.discord.stored if message.id not in old]

    # What is held

    def sample(self) -> dict[str, float]:
        """Everything that could grow, at midnight."""
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        sizes = dict(sizes_of(self.life.daemon))
        kinds = Counter(type(item).__name__ for item in gc.get_objects() if type(item).__module__ == "sentinel")
        return {**{f"size of {path}": size for path, size in sizes.items()},
                **{f"objects of {kind}": number for kind, number in kinds.items()},
                **self.files(), "threads": threading.active_count(), "descriptors": len(os.listdir("/proc/self/fd")),
                "RSS in kB": resident()}

    def files(self) -> dict[str, float]:
        """The ledger on disk: bytes, and rows of each kind."""
        found = {"bytes of the ledger": float(sum(path.stat().st_size for path in self.folder.glob("sentinel.db*")))}
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/sentinel.db?mode=ro", uri=True)) as database:
            for kind, rows in database.execute("SELECT kind, count(*) FROM record GROUP BY kind"):
                found[f"rows of {kind}"] = rows
        return found


def resident() -> float:
    """Memory of this process that is really there."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def sizes_of(thing: object) -> Iterator[tuple[str, int]]:
    """The length of every collection that hangs on a thing of Sentinel's and has no bound of its own; those of a
    collection's items are one sum."""
    totals: Counter[str] = Counter()
    ahead: deque[tuple[object, str]] = deque([(thing, "daemon")])
    seen: set[int] = set()
    while ahead:
        item, where = ahead.popleft()
        if id(item) in seen or isinstance(item, type):
            continue
        seen.add(id(item))
        if isinstance(item, str | bytes | int | float | sentinel.Container | None):
            continue  # what a container has of labels is its own affair
        if isinstance(item, dict):
            totals[where] += len(item)
            ahead.extend((value, f"{where}[]") for value in item.values())
        elif isinstance(item, list | tuple | set | frozenset | deque):
            bounded = isinstance(item, tuple) or (isinstance(item, deque) and item.maxlen is not None)
            totals[where] += 0 if bounded else len(item)
            ahead.extend((value, f"{where}[]") for value in item)
        elif type(item).__module__ == "sentinel":
            names = [*vars(item)] if hasattr(item, "__dict__") else list(getattr(type(item), "__slots__", ()))
            ahead.extend((getattr(item, name), f"{where}.{name}") for name in names if hasattr(item, name))
    yield from totals.items()


# What grows

#: Grows up to this: the last events, for what a resumed stream tells twice.
BOUNDED = {"size of daemon.watchdog.link.stream._seen": sentinel.MEMORY_OF_EVENTS}

RESIDENT_SETTLED = 15  # days until the memory that Python and the fakes have asked for is asked for


def slope(values: list[float]) -> float:
    """Growth from one sample to the next, by least squares."""
    return statistics.linear_regression(range(len(values)), values).slope


def bound_of(name: str, level: float) -> float:
    """Growth a day that is none. One quiet midnight is like the other: what is held of something that is over shows at
    once. Memory is let go in large pieces, and the ledger's pages are used again when the history is pruned."""
    if name.startswith(("RSS", "bytes")):
        return max(300.0 if name.startswith("RSS") else 30_000.0, 0.01 * level)
    return 0.3 + (0.03 * level if name.startswith(("rows", "objects")) else 0.0)


def growths(samples: list[dict[str, float]], settled: int = 3) -> dict[str, float]:
    """What grows, by how much a day: steadily, after the first days, and by more than its bound."""
    found = {}
    for name in sorted({name for sample in samples for name in sample}):
        rest = samples[RESIDENT_SETTLED if name.startswith("RSS") else settled :]
        if len(rest) < 3:
            continue
        values = [sample.get(name, 0.0) for sample in rest]
        if len(set(values)) < 2 or max(values) <= BOUNDED.get(name, 0):
            continue
        steady = statistics.correlation(range(len(values)), values) > 0.85
        if steady and slope(values) > bound_of(name, statistics.median(values)):
            found[name] = round(slope(values), 2)
    return found
