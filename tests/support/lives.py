"""Lives of Sentinel on a clock that tests set: a whole Daemon without its threads, killed and started again on one ledger.

    with Life(engine, folder, clock, webhook_url=hook.url) as first:
        first.run(1)
        engine.crash(web, 3)
        first.run(1)                           # killed at the end of the block: nothing is tidied up
    clock.at += 300                            # five minutes in which nobody watches
    with Life(engine, folder, clock, webhook_url=hook.url) as second:
        second.run(60)

Ledger, outboxes, channels, engine and HTTP are the real ones; only when things are done is decided here.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self
from unittest import mock

import sentinel
import support.fake_engine
from sentinel import Action, CallRoll, Daemon, Deliver, Delivered, Log, Observation, ReadRoll, RollPutOff, Settings
from support import insides
from support.clocked import Clocked
from support.fake_engine import EngineServer


class Clock:
    """The time of Sentinel and of the engine. A reboot sets the monotonic clock back, the calendar goes on."""

    def __init__(self) -> None:
        self.booted, self.now = 1.8e9, 1000.0
        self.engine_ahead = 0.0  # the engine's clock is

    @property
    def at(self) -> float:
        """Calendar time; only the other one is exact."""
        return self.booted + self.now

    @at.setter
    def at(self, value: float) -> None:
        self.now = value - self.booted

    def reboot(self) -> None:
        """The monotonic clock counts from near zero."""
        self.booted, self.now = self.at - 7.0, 7.0

    def time(self) -> float:
        return self.at

    def time_ns(self) -> int:
        return round(self.at * 1000) * 10**6

    def monotonic(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class EngineClock:
    """The `time` of the fake engine: its stamps are the clock's, its threads wait in real time."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock

    def time(self) -> float:
        return self.clock.time() + self.clock.engine_ahead

    def time_ns(self) -> int:
        return self.clock.time_ns() + int(self.clock.engine_ahead * 1e9)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextlib.contextmanager
def one_clock(clock: Clock | None = None) -> Iterator[Clock]:
    """A clock by which Sentinel and the fake engine live until the end of the block."""
    clock = clock or Clock()
    with mock.patch.object(sentinel, "time", clock), mock.patch.object(support.fake_engine, "time", EngineClock(clock)):
        yield clock


class Life(Clocked):
    """One life of Sentinel, from its start to its being killed."""

    def __init__(self, server: EngineServer, folder: Path, clock: Clock, **settings: Any) -> None:
        self.clock, now = clock, clock.now
        super().__init__(server, wall=clock.time)
        self.now = now
        chosen = Settings(docker_host=server.host, **{"state": str(folder), **settings})
        self.daemon = Daemon(chosen, {"NO_COLOR": "1"})
        self.engine, self.watchdog = self.daemon.engine, self.daemon.watchdog
        self.lines: list[str] = []
        self.lost: tuple[type[Action], ...] = ()  # kinds of actions that are begun, and never heard of again
        self.daemon.journal.log = self._say  # type: ignore[method-assign]
        self.daemon.perform = self._carry_out  # type: ignore[method-assign]

    @property
    def now(self) -> float:
        return self.clock.now

    @now.setter
    def now(self, value: float) -> None:
        self.clock.now = value

    @property
    def said(self) -> str:
        """All of its record."""
        return "\n".join(self.lines)

    def __enter__(self) -> Self:
        self.daemon.remember()
        daemon = self.daemon
        daemon.watchdog.fleet.join(daemon.rolls.media, daemon.post.life, daemon.settings.host, self.now)
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.kill()

    def asked(self, path: str) -> tuple[int, str, str]:
        """What its HTTP server would answer."""
        answers: list[tuple[int, str, str]] = []
        self.daemon.observed(sentinel.Asked(path, answers.append))
        return answers[0]

    def kill(self) -> None:
        """As SIGKILL does: the files are let go as they are."""
        file = self.daemon.books.ledger.file
        if file.database:
            file.database.close()
        if file.lock is not None:
            with contextlib.suppress(OSError):
                os.close(file.lock)
        file.database = file.lock = None

    def next_due(self) -> float:
        daemon, dues = self.daemon, [super().next_due()]
        if daemon.watchdog.catching_up:
            dues.append(self.now + 0.25)
        else:
            dues += [due for outbox in daemon.post.outboxes.values() if (due := outbox.next_due_at(self.now)) is not None]
        if daemon.settings.chain:
            dues.append(self.now + 1.0)
        if daemon.books.ledger.retry_at:
            dues.append(daemon.books.ledger.retry_at)
        return min(dues)

    def rest(self) -> None:
        """Asked to end, what it says in the last place."""
        for action in self.daemon.watchdog.fleet.rest(self.now):
            assert isinstance(action, CallRoll)
            self.daemon.rolls.work(action)

    def _say(self, level: str, text: str) -> None:
        self.lines.append(sentinel.log_line(level, text, self.clock.time(), "text"))

    def _perform(self, actions: Iterable[Action]) -> None:
        self.daemon.decided(list(actions))

    def _carry_out(self, actions: Iterable[Action]) -> None:
        for action in (actions := [action for action in actions if not isinstance(action, self.lost)]):
            if isinstance(action, Deliver | ReadRoll | CallRoll):
                heapq.heappush(self._jobs, (self.now + self.answer, next(self._order), action))
            elif isinstance(action, Log):
                self._say(action.level, action.text)
        super()._perform(actions)

    def _work(self, job: Action) -> Observation:
        if isinstance(job, Deliver):
            return sentinel.send(self.daemon.post.channels[job.channel], job)
        if isinstance(job, ReadRoll | CallRoll):
            wait = self.daemon.rolls.wait_for_alerts(job.medium, self.now)
            return RollPutOff(job.medium, wait) if wait else self.daemon.rolls.work(job)
        return super()._work(job)

    def _observe(self, seen: Observation) -> None:
        if isinstance(seen, Delivered):
            self._perform(self.daemon.post.delivered(seen, self.now))
        else:
            super()._observe(seen)


class Whole(Life):
    """A life that also greets, and takes over mutes, as the daemon's own loop does."""

    def __init__(self, server: EngineServer, folder: Path, clock: Clock, **settings: Any) -> None:
        super().__init__(server, folder, clock, **{"greet": False, **settings})
        self.deaf = False  # what a channel answers is not heard any more

    def next_due(self) -> float:
        return min([super().next_due(), *([self.now + 1.0] if insides.mutes(self.watchdog) else [])])

    def _observe(self, seen: Observation) -> None:
        self.daemon.books.read_mutes(self.watchdog, self.now)
        if not (self.deaf and isinstance(seen, Delivered)):
            super()._observe(seen)

    def _perform(self, actions: Iterable[Action]) -> None:
        self.daemon.books.read_mutes(self.watchdog, self.now)
        super()._perform([*actions, *self.watchdog._take_actions(self.now), *self.daemon.greet()])
