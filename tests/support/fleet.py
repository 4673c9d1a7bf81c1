"""Hosts that watch each other over one channel: a whole fleet of deciders, a channel, and a clock that moves when told.

Each host is a `Watchdog` with clocks of its own. The channel has its own clock, too, keeps what is posted, takes edits,
and can be away for some or for all. What the hosts tell is a line each: `a: DARK b`.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass, field, replace

import sentinel
from sentinel import CallRoll, Listed, Medium, Posted, ReadRoll, RollCalled, RollRead, StreamOpened

EPOCH = 1_800_000_000.0
LATENCY = 0.2


@dataclass
class Note:
    """A message in the channel."""

    author: str
    text: str
    edited: float
    resting: bool = False
    host: str = ""


@dataclass
class Channel:
    """What all hosts read and write."""

    skew: float = 0.0  # its clock is off by this
    notes: dict[str, Note] = field(default_factory=dict)
    requests: Counter[int] = field(default_factory=Counter)  # by minute
    reads: Counter[int] = field(default_factory=Counter)
    away: bool = False
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(100))

    def delete(self, name: str) -> None:
        """A person deletes the roll call of this host."""
        for key in [key for key, note in self.notes.items() if f"**`{name}`**" in note.text]:
            del self.notes[key]

    def named(self, name: str) -> list[Note]:
        return [note for note in self.notes.values() if f"**`{name}`**" in note.text]


class Fleet:
    """The hosts, their channel, and the time."""

    def __init__(self, *names: str, bots: dict[str, str] | None = None, skew: float = 0.0,
                 clocks: dict[str, float] | None = None, channel: Channel | None = None) -> None:
        self.now = 0.0
        self.bots, self.clocks = bots or {}, clocks or {}
        self.names: dict[str, str] = {}  # of bots, where they are not their ids
        self.deaf: set[str] = set()  # hosts that can write and not read
        self.channel = channel or Channel(skew)
        self.hosts: dict[str, Host] = {}
        self.told: list[tuple[float, str]] = []
        self.shown = 0
        self._queue: list[tuple[float, int, Host, sentinel.Observation]] = []
        self._numbers = itertools.count()
        self.tags = itertools.count(0xA1B2C3, 7919)
        for name in names:
            self.start(name)

    def start(self, name: str, anew: bool = False, named: str = "") -> Host:
        """A host's Sentinel starts: with the ledger that it had, unless `anew`."""
        old = self.hosts.get(name)
        if old:
            old.alive = False
        self.hosts[name] = host = Host(self, name, None if anew else old, named or name)
        host.begin()
        return host

    def kill(self, *names: str) -> None:
        for name in names:
            self.hosts[name].die()

    def rest(self, name: str) -> None:
        """Asked to end."""
        host = self.hosts[name]
        for action in host.watchdog.fleet.rest(host.time):
            if isinstance(action, CallRoll):
                self.channel_call(host, action)
        host.die()

    def cut(self, *names: str, off: bool = True) -> None:
        """Discord can't be reached from these."""
        for name in names:
            self.hosts[name].cut = off

    def later(self, seconds: float, host: Host, seen: sentinel.Observation) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._numbers), host, seen))

    def run(self, seconds: float) -> list[str]:
        """Let time pass; what was told meanwhile."""
        until = self.now + seconds
        while True:
            host = min(self.hosts.values(), key=lambda host: host.due_at)
            due = host.due_at
            if self._queue and self._queue[0][0] <= min(due, until):
                self.now, _, host, seen = heapq.heappop(self._queue)
                if host.alive:
                    host.take(host.watchdog.observe(seen, host.time))
            elif due <= until:
                self.now = max(self.now, due)
                host.take(host.watchdog.tick(host.time))
            else:
                break
        self.now = until
        return self.news()

    def news(self) -> list[str]:
        """What was told since this was asked last."""
        lines = [line for _, line in self.told[self.shown :]]
        self.shown = len(self.told)
        return lines

    def when(self, line: str) -> float:
        """When that was told last."""
        return [time for time, told in self.told if told == line][-1]

    # The channel

    def channel_time(self) -> float:
        return EPOCH + self.now + self.channel.skew

    def count(self) -> None:
        self.channel.requests[int(self.now // 60)] += 1

    def channel_call(self, host: Host, job: CallRoll) -> RollCalled:
        self.count()
        if self.channel.away or host.cut:
            return RollCalled(job.medium, why="Discord could not be reached")
        key, bot = job.id, self.bots.get(host.name, "bot")
        if key and key not in self.channel.notes:
            return RollCalled(job.medium, gone=True)
        key = key or str(next(self.channel.numbers))
        self.channel.notes[key] = Note(bot, job.text, self.channel_time(), job.resting, host.name)
        if job.replaces:
            assert self.channel.notes.pop(job.replaces).author == bot
        return RollCalled(job.medium, key, self.channel_time())

    def channel_read(self, host: Host, job: ReadRoll) -> RollRead:
        self.count()
        self.channel.reads[int(self.now // 60)] += 1
        if self.channel.away or host.cut or host.name in self.deaf:
            return RollRead(job.medium, why="Discord could not be reached")
        bot = self.bots.get(host.name, "bot")
        posted = []
        for key, note in self.channel.notes.items():
            text = note.text if note.author == bot else ""
            shown = self.names.get(note.host, note.author)
            posted.append(Posted(key, note.author, shown, note.edited, text, note.resting))
        return RollRead(job.medium, tuple(posted), True, self.channel_time())


class Host:
    """One host: its decider, and its own clocks."""

    def __init__(self, fleet: Fleet, name: str, before: Host | None, named: str) -> None:
        self.fleet, self.name = fleet, name
        self.log: list[str] = []
        self.due_at = float("inf")
        self.alive, self.cut = True, bool(before and before.cut)
        self.tag = before.tag if before else f"{next(fleet.tags):06x}"
        self.settings = sentinel.Settings(fleet="sentinel-fleet", host=named, greet=False)
        self.watchdog = sentinel.Watchdog(self.settings)
        record = sentinel.Record() if before is None else before.watchdog.record()
        outages = dict(before.watchdog.outages) if before else {}
        wall = EPOCH + fleet.now + fleet.clocks.get(name, 0.0)
        self.watchdog.restore([], outages, replace(record, engine=f"engine of {name}"), self.time, wall)

    @property
    def time(self) -> float:
        """Its monotonic clock."""
        return self.fleet.now + 5000.0

    def begin(self) -> None:
        self.watchdog.fleet.join([Medium.CHANNEL], self.tag, self.name, self.time)
        self.take(self.watchdog.begin())

    def die(self) -> None:
        self.alive = False
        self.due_at = float("inf")

    def take(self, actions: list[sentinel.Action]) -> None:
        due = self.watchdog.next_due_at()
        self.due_at = float("inf") if due is None else due - 5000.0  # by the fleet's time
        for action in actions:
            match action:
                case sentinel.Subscribe():
                    time = EPOCH + self.fleet.now + self.fleet.clocks.get(self.name, 0.0)
                    self.fleet.later(LATENCY, self, StreamOpened(time - 60.0, time))
                case sentinel.List():
                    listed = Listed((), host=self.name, engine=f"engine of {self.name}", version="28.5.2")
                    self.fleet.later(LATENCY, self, listed)
                case CallRoll():
                    self.fleet.later(LATENCY, self, self.fleet.channel_call(self, action))
                case ReadRoll():
                    self.fleet.later(LATENCY, self, self.fleet.channel_read(self, action))
                case sentinel.Tell(notice):
                    self.tell(f"{notice.verdict} {notice.name}")
                case sentinel.Amend(notice):
                    if not notice.open:
                        self.tell(f"over {notice.name}")
                case sentinel.Log():
                    self.log.append(action.text)

    def tell(self, words: str) -> None:
        self.fleet.told.append((self.fleet.now, f"{self.name}: {words}"))
