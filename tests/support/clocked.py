"""Sentinel's engine half on a clock that tests set: real HTTP, the real Engine, the real Watchdog, and no waiting.

    with FakeEngine() as engine, Clocked(engine) as sentinel:
        sentinel.run(1)
        engine.crash(web, 3)
        sentinel.run(40)                       # 40 s of Sentinel's time, a few ms of anyone else's
        assert sentinel.told() == ["DEAD web"]

Whatever is due is done at its time; each answer of the engine takes `answer` seconds of this clock.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Self

from sentinel import (
    Action,
    Amend,
    CloseStream,
    Engine,
    Heard,
    List,
    Log,
    Look,
    Notice,
    Observation,
    Recall,
    Restart,
    Settings,
    StreamClosed,
    StreamOpened,
    Subscribe,
    Tell,
    Verdict,
    Watchdog,
)
from support.fake_engine import EngineServer

#: An event of no container: when it has come through the stream, all before it have.
MARK = {"Type": "container", "Action": "update", "timeNano": 1,
        "Actor": {"ID": "0" * 64, "Attributes": {"name": "é"}}}  # fmt: skip


class Clocked:
    """One Sentinel without threads and clock: what the daemon does, done in the caller's thread."""

    def __init__(self, server: EngineServer, *, answer: float = 0.005, wall: Callable[[], float] | None = None,
                 eager: bool = True, **settings: Any) -> None:  # fmt: skip
        """wall: the engine's time of day. eager: look for new events at each step, not only when `unread`."""
        self.server, self.answer, self.wall, self.eager = server, answer, wall or time.time, eager
        self.engine = Engine(server.host)
        self.engine.clock = self.wall
        self.watchdog = Watchdog(Settings(**settings))
        self.now = 0.0
        self.notices: list[Notice] = []  # what was told; what was amended only where it has a new title
        self.stories: dict[int, Notice] = {}  # what was told in red of each outage, as it reads now
        self.log: list[Log] = []
        self.subscribed: list[float] = []  # when
        self.unread = False
        self._reading = False
        self._inbox: queue.SimpleQueue[Observation] = queue.SimpleQueue()
        self._jobs: list[tuple[float, int, Action]] = []
        self._order = itertools.count()

    def __enter__(self) -> Self:
        self._perform(self.watchdog.begin())
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close_stream()

    def run(self, seconds: float) -> None:
        """Let so much time go by."""
        self.run_until(self.now + seconds)

    def run_until(self, then: float) -> None:
        """Let time go by until this moment."""
        self._hear()
        while (due := self.next_due()) <= then:
            self.now = max(self.now, due)
            while self._jobs and self._jobs[0][0] <= self.now:
                self._observe(self._work(heapq.heappop(self._jobs)[2]))
            self._perform(self.watchdog.tick(self.now))
            self._hear()
        self.now = max(self.now, then)

    def next_due(self) -> float:
        """When something is to be done next."""
        dues = [self.watchdog.next_due_at(), self._jobs[0][0] if self._jobs else None]
        return min((due for due in dues if due is not None), default=self.now + 60.0)

    def told(self, *but: Verdict) -> list[str]:
        """Verdict and name of all that was told, but for these verdicts."""
        return [f"{notice.verdict} {notice.name}" for notice in self.notices if notice.verdict not in but]

    def _hear(self) -> None:
        """All that the stream has told, up to its end or to a mark at the end of what was written."""
        if self._reading and (self.eager or self.unread or not self.server.open_streams or not self._inbox.empty()):
            with self.server.changed:
                for stream in self.server.open_streams:
                    stream.put(MARK)
            while self._reading:
                seen = self._inbox.get(timeout=5)
                if isinstance(seen, Heard) and seen.id == MARK["Actor"]["ID"]:
                    break
                self._observe(seen)
        self.unread = False

    def _observe(self, seen: Observation) -> None:
        self._reading = self._reading and not isinstance(seen, StreamClosed)
        self._perform(self.watchdog.observe(seen, self.now))

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Tell(notice) | Amend(notice):
                    before = self.stories.get(notice.incident)
                    retitled = before and (before.verdict, before.name) != (notice.verdict, notice.name)
                    if isinstance(action, Tell) or retitled:
                        self.notices.append(notice)
                    if notice.open or isinstance(action, Amend):
                        self.stories[notice.incident] = notice
                case Log():
                    self.log.append(action)
                case Subscribe():
                    self._subscribe(action.since)
                case CloseStream():
                    self.engine.close_stream()
                    self.unread = True
                case List() | Look() | Recall() | Restart():
                    heapq.heappush(self._jobs, (self.now + self.answer, next(self._order), action))

    def _subscribe(self, since: float) -> None:
        before = set(self.server.open_streams)

        def read() -> None:
            self.engine.info()
            self._inbox.put(self.engine.events(since, self._inbox.put))

        self._reading = True
        self.subscribed.append(self.now)
        threading.Thread(target=read, daemon=True).start()
        if isinstance(seen := self._inbox.get(timeout=5), StreamOpened):
            assert self.server.wait(lambda: bool(set(self.server.open_streams) - before))
        self._observe(seen)
        self.unread = self._reading

    def _work(self, job: Action) -> Observation:
        match job:
            case List():
                return self.engine.list_all()
            case Look():
                return self.engine.look(job.id)
            case Recall():
                return self.engine.recall(job)
            case Restart():
                return self.engine.restart(job)
        raise AssertionError(job)
