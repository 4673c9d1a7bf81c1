"""A world for the deciding core: containers, an engine that behaves as Docker's, and a clock that moves when told.

A scenario is a timeline. Each row says when (seconds), what happens, and all that is then told or touched until
the next row; a due time is met on its way. What happens is a text whose verb is a method of `World`.

    play(World("web"),
         (0, "web exits 3", "DEAD web exit 3", "start web"),
         (5, "", "Recovered web"),
         (3600, ""))

An expectation matches what begins with its words. A failing scenario shows its whole timeline. Every world also
checks, at every step, the rules that hold in all of them (`check_restart`, `check_notice`, `check_services`).
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import sentinel
from sentinel import Container, Health, Heard, Looked, Outcome, Phase, Restarted, Row, Verdict
from support import insides

EPOCH = 1_800_000_000.0  # calendar time when the world's clock says 0
START = 1000.0  # the monotonic clock at a timeline's 0
BLINK = 1e-6
OPENING = (Verdict.DEAD, Verdict.UNHEALTHY, Verdict.VANISHED, Verdict.CRASH_LOOP)

Row_ = tuple[Any, ...]


def service(name: str, policy: str = "no", project: str = "shop", labels: dict[str, str] | None = None,
            **facts: Any) -> Container:
    """A container of a compose service, up for an hour."""
    compose = {"com.docker.compose.project": project, "com.docker.compose.service": name,
               "com.docker.compose.container-number": "1", "com.docker.compose.oneoff": "False"}
    facts = {"status": "running", "started_time": EPOCH + START - 3600.0} | facts
    if facts.pop("has_probe", False):
        compose |= {PROBED: "yes"}
    return Container(id=f"{name}-1", name=name, labels=compose | (labels or {}), restart_policy=policy, **facts)


PROBED = "test.probed"  # a label: it has a health check


def last_words(container: Container, since: float) -> tuple[str, ...]:
    """What a look reads: of the run that ended last, also where another runs by now than that which began at `since`."""
    down = container.status != "running" and container.started_time > 0.0
    again = 0.0 < since < container.lines_time
    return (f"last words of {container.name}",) if down or again else ()


def has_probe(container: Container) -> bool:
    """Whether a container has a health check."""
    return PROBED in container.labels


def probed(name: str, policy: str = "no", **facts: Any) -> Container:
    """A service with a health check, healthy."""
    return service(name, policy, has_probe=True, health=Health.HEALTHY, **facts)


def line_of(action: sentinel.Action) -> str:
    """What is told or touched, as timelines write it; empty for what nobody but the engine notices."""
    match action:
        case sentinel.Tell(notice):
            words = [str(notice.verdict), notice.name]
            words += [f"exit {notice.exit_code}"] if notice.exit_code is not None else []
            return " ".join([*words, str(notice.cause)]).rstrip()
        case sentinel.Restart():
            return f"{'restart' if action.alive else 'start'} {action.id.rpartition('-')[0]}"
        case sentinel.CloseStream():
            return "reopen the stream"
    return ""


class World:
    """Containers, an engine and its clock, with a watchdog that sees them and whose wishes are done."""

    def __init__(self, *services: Container | str, engine: int = 28, me: str = "", **settings: Any) -> None:
        self.settings = sentinel.Settings(**settings)
        self.watchdog = sentinel.Watchdog(self.settings)
        self.engine_version, self.me = engine, me
        self.now = START
        self.containers: dict[str, Container] = {}
        for item in services:
            container = service(item) if isinstance(item, str) else item
            self.containers[container.id] = container
        self.made = {container.name: container for container in self.containers.values()}  # what compose makes them like
        self.copies: dict[str, int] = {}  # the number of the newest container of a name
        self.begun = False
        self.events: deque[Heard] = deque(maxlen=256)  # the engine's own buffer
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.stamps = (0.0, 0)
        self.up, self.open, self.deaf, self.refuses = True, False, False, False
        self.carried: set[str] = set()  # what an engine that ended brings back at its return
        self.muted: dict[str, float] = {}  # by name, project or "all": until when
        self.killed: dict[str, bool] = {}  # containers whose run got a signal: Docker's policy leaves them alone
        self.on_purpose: set[str] = set()  # stopped or paused by somebody, and Sentinel was told
        # what a scenario may set; by a container's name
        self.look_delay, self.look_age, self.restart_delay = 0.0, 0.0, 0.0
        self.doom: dict[str, tuple[float, int]] = {}  # each run ends after so long, with this code
        self.broken: dict[str, str] = {}  # the engine can't start it, in these words
        self.overrun = False  # the engine's buffer of events
        self.stopping: set[str] = set()  # containers that somebody is stopping
        self.stop_takes: dict[str, float] = {}  # how long it takes its time at a stop
        self.sick: dict[str, float] = {}  # becomes unhealthy so long after each start, not healthy after one second
        self.retries: dict[str, int] = {}  # on-failure:N
        self.forbidden = ""  # a proxy's words
        self.lost_answers = ""  # a restart's answer never comes; what was asked is `done`, done `late`, or `never`
        # what came of it
        self.log: list[tuple[float, str, Any]] = []
        self.done: list[str] = []
        self.notices: list[sentinel.Notice] = []
        self.in_flight: dict[str, str] = {}  # service → container
        self.looking: set[str] = set()
        self.seen: dict[str, Container | None] = {}  # what was last looked at
        self.tries: dict[str, int] = {}
        self.incidents: dict[str, int] = {}  # open ones, by name
        self.reds: dict[int, sentinel.Notice] = {}  # what was told in red of each outage, as it reads now

    # The clock

    def stamp(self) -> float:
        """Calendar time; one millisecond later at each call in the same instant."""
        moment, count = self.stamps
        self.stamps = (self.now, count + 1 if moment == self.now else 1)
        return EPOCH + self.now + self.stamps[1] / 1000.0

    def later(self, delay: float, do: Callable[[], None]) -> None:
        """Do something after a while."""
        heapq.heappush(self.agenda, (self.now + delay, next(self.order), do))

    def advance(self, until: float) -> None:
        """Let time pass, up to and including a moment."""
        steps = 0
        while True:
            due = self.watchdog.next_due_at()
            soon = self.agenda[0][0] if self.agenda else None
            following = min((moment for moment in (due, soon) if moment is not None), default=None)
            if following is None or following > until:
                break
            steps = steps + 1 if following <= self.now else 0
            assert steps < 500 + 20 * len(self.containers), "time stands still"
            self.now = max(self.now, following)
            if soon is not None and soon <= self.now:
                heapq.heappop(self.agenda)[2]()
            else:
                self.tick()
        self.now = max(self.now, until)

    def settle(self) -> None:
        """Let everything happen that happens now."""
        self.advance(self.now)

    def tick(self) -> None:
        """One tick; nothing that was due is due still, so another one in the same instant would do nothing."""
        self.perform(self.watchdog.tick(self.now))
        late = [timer for timer, when in insides.wakes(self.watchdog).items() if when <= self.now]
        assert not late, f"a tick has left {late} undone"

    # The watchdog

    def begin(self) -> None:
        """Start Sentinel."""
        self.begun = True
        if not self.watchdog.calendar.offset:
            self.watchdog.calendar.begin(self.now, EPOCH + self.now)
        self.perform(self.watchdog.begin())
        self.settle()

    def observe(self, seen: sentinel.Observation) -> None:
        """Tell the watchdog something."""
        self.log.append((self.now, "<", seen))
        self.perform(self.watchdog.observe(seen, self.now))

    def perform(self, actions: Iterable[sentinel.Action]) -> None:
        """Do what the watchdog wants; answers come later, be it in the same instant."""
        for action in actions:
            self.log.append((self.now, ">", action))
            if line := self.line(action):
                self.done.append(line)
            match action:
                case sentinel.Tell() | sentinel.Amend():
                    self.tell(action)
                case sentinel.Subscribe(since):
                    self.later(0.0, lambda since=since: self.subscribe(since))
                case sentinel.Recall():
                    self.later(0.0, lambda job=action: self.recall(job))
                case sentinel.CloseStream():
                    self.later(0.0, lambda: self.stream("cut"))
                case sentinel.List():
                    self.later(0.0, self.listing)
                case sentinel.Look():
                    self.looking.add(action.id)
                    self.later(self.look_delay, lambda job=action: self.look(job))
                case sentinel.Restart():
                    self.check_restart(action)
                    self.in_flight[action.key] = action.id
                    self.later(self.restart_delay, lambda job=action: self.restart_for(job))
        self.check_services()

    def tell(self, action: sentinel.Tell | sentinel.Amend) -> None:
        """Something new is told, or what was told in red of an outage reads otherwise."""
        if isinstance(action, sentinel.Tell):
            self.notices.append(action.notice)
            self.check_notice(action.notice)
            for item in action.notice.consequences if action.notice.verdict is Verdict.RECOVERED else ():
                self.incidents.pop(item.chain[0], None)  # its own red has been folded into this story
        if action.notice.open or isinstance(action, sentinel.Amend):
            self.reds[action.notice.incident] = action.notice
            if not action.notice.open and action.notice.recovered is None:
                self.incidents.pop(action.notice.name, None)  # it is over without a green
            elif action.notice.open and self.incidents.get(action.notice.name):
                self.incidents[action.notice.name] = action.notice.incident  # its own red may have been folded into this

    def line(self, action: sentinel.Action) -> str:
        """What is told or touched; of what is amended, a new title."""
        if not isinstance(action, sentinel.Amend):
            return line_of(action)
        before, notice = self.reds.get(action.notice.incident), action.notice
        if before is None or (before.verdict, before.name) == (notice.verdict, notice.name):
            return ""
        return line_of(sentinel.Tell(notice))

    def subscribe(self, since: float) -> None:
        """The engine's answer to GET /events: what it remembers, then what happens."""
        if not self.up:
            return self.observe(sentinel.StreamClosed("no such socket"))
        if self.refuses:
            return self.observe(sentinel.StreamClosed("403 Forbidden", refused=True))
        self.open, self.deaf = True, False
        since = since or EPOCH + self.now - 30.0
        self.observe(sentinel.StreamOpened(since, EPOCH + self.now))
        for event in [event for event in self.events if event.time >= since]:
            self.observe(event)

    def recall(self, job: sentinel.Recall) -> None:
        """The engine's answer to GET /events up to now: an engine that was started anew has forgotten what was before."""
        found = [event for event in self.events if job.since <= event.time <= job.until] if self.up else []
        known = not job.marks or {event.mark for event in found} & {*job.marks} or self.overrun or not self.up
        first = 0.0 if known else min((event.time for event in found), default=job.until)
        self.observe(sentinel.Recalled(job.since, job.until, tuple(event.mark for event in found)[-8:], first))

    def listing(self) -> None:
        """The engine's answer to GET /containers/json."""
        if not self.up:
            return self.observe(sentinel.ListFailed("no such socket"))
        age = {c.id: EPOCH + self.now - c.started_time for c in self.containers.values()}
        rows = [Row(c.id, c.status, c.health if c.status in ("running", "paused") else Health.NONE,
                    c.status == "running" and age[c.id] < 120.0) for c in self.containers.values()]
        self.observe(sentinel.Listed(tuple(rows), self.me, "box"))

    def look(self, job: sentinel.Look) -> None:
        """The engine's answer to an inspect; it may grow old on its way."""
        if not self.up:
            answer = Looked(job.id, None, why="no such socket", unanswered=True)
        else:
            container = self.containers.get(job.id)
            answer = Looked(job.id, container, last_words(container, job.since) if container else ())

        def arrive() -> None:
            self.looking.discard(job.id)
            self.seen[job.id] = answer.container
            self.observe(answer)

        self.later(self.look_age, arrive)

    def restart_for(self, job: sentinel.Restart) -> None:
        """Sentinel's own restart: it looks again, starts what is down and restarts what runs."""

        def answer(outcome: Outcome, why: str = "") -> None:
            if self.in_flight.get(job.key) == job.id:
                del self.in_flight[job.key]
            lost = outcome is Outcome.UNKNOWN
            self.observe(Restarted(job.key, job.id, outcome, why, None if lost else self.containers.get(job.id)))

        def finish() -> None:
            started = self.run(job.id)
            if self.lost_answers:
                answer(Outcome.UNKNOWN, "no answer in time")
            elif started:
                answer(Outcome.DONE)
            else:
                answer(Outcome.REFUSED, self.containers[job.id].error if job.id in self.containers else "no such container")

        container = self.containers.get(job.id)
        as_judged = container and (container.started_time, container.status == "running") == (job.started_time, job.alive)
        if not self.up:
            answer(Outcome.UNKNOWN, "no such socket")
        elif container is None or not as_judged:
            answer(Outcome.OVERTAKEN)
        elif self.forbidden:
            answer(Outcome.FORBIDDEN, self.forbidden)
        else:
            self.call(job, container, answer, finish)

    def call(self, job: sentinel.Restart, container: Container, answer: Callable[[Outcome, str], None],
             finish: Callable[[], None]) -> None:
        """The restart call itself, whose answer may be lost."""
        if self.lost_answers in ("late", "never"):
            self.later(30.0, lambda: answer(Outcome.UNKNOWN, "no answer in time"))
            if self.lost_answers == "late":
                self.later(33.0, lambda: self.run(job.id) and None)
        elif job.alive:
            self.end_asked(container, finish)
        else:
            finish()

    # What the engine does

    def find(self, name: str) -> Container:
        """The container of a name; of several the newest, unless it is not renamed yet."""
        return next(c for c in reversed(self.containers.values()) if c.name == name)

    def change(self, container_id: str, **facts: Any) -> Container:
        """Change what inspect shows."""
        self.containers[container_id] = replace(self.containers[container_id], **facts)
        return self.containers[container_id]

    def event(self, action: str, container_id: str, **facts: Any) -> None:
        """An event: it goes into the engine's buffer, and to those who listen."""
        container = self.containers.get(container_id) or Container(container_id)  # which may have gone with it
        labels = {**container.labels, "image": "app", "name": container.name}
        heard = Heard(action, container_id, round(self.stamp() * 1e9), labels, **facts)
        self.events.append(heard)
        if self.open and not self.deaf:
            self.observe(heard)

    def ended(self, container: Container, code: int, status: str = "exited", oom: bool = False) -> None:
        """The main process has ended."""
        lived = EPOCH + self.now - container.started_time
        if lived >= sentinel.REFUND_AFTER:
            self.tries.pop(container.key, None)
        self.change(container.id, status=status, exit_code=code, finished_time=self.stamp(), failing_streak=0,
                    health=Health.UNHEALTHY if has_probe(container) else Health.NONE,
                    oom_killed=oom or (container.oom_killed and self.engine_version < 23))

    def run(self, container_id: str, by_policy: bool = False) -> bool:
        """Start a container; false if it can't be started, of which no event tells."""
        container = self.containers.get(container_id)
        if container is None or container.status in ("running", "paused"):
            return container is not None
        self.on_purpose.discard(container_id)
        if words := self.broken.get(container.name) or self.no_network(container):
            self.change(container_id, error=words, exit_code=container.exit_code or 128,
                        status="exited" if container.started_time else "created")
            return False
        self.killed[container_id] = False
        container = self.change(
            container_id, status="running", started_time=self.stamp(), error="", exit_code=0, failing_streak=0,
            health=Health.STARTING if has_probe(container) else Health.NONE,
            restart_count=container.restart_count if by_policy else 0,
            oom_killed=container.oom_killed and self.engine_version < 23)
        self.event("start", container_id)
        if container.name in self.doom:
            lives, code = self.doom[container.name]
            self.later(lives, self.if_same(container, lambda: self.exits(container.name, code)))
        elif has_probe(container):
            after, verb = (self.sick[container.name], self.unhealthy) if container.name in self.sick else (1.0, self.healthy)
            self.later(after, self.if_same(container, lambda: verb(container.name)))
        return True

    def no_network(self, container: Container) -> str:
        """Why it can't join the network that it shares, in the engine's words; empty if it can."""
        if not (target := container.network_target):
            return ""
        owner = self.containers.get(target) or next((c for c in self.containers.values() if c.name == target), None)
        if owner is None:
            return f"joining network namespace of container: No such container: {target}"
        return "" if owner.status == "running" else f"cannot join network namespace of a non running container: {target}"

    def if_same(self, container: Container, do: Callable[[], None]) -> Callable[[], None]:
        """Something that happens only if this run still goes on."""

        def later() -> None:
            current = self.containers.get(container.id)
            if current and current.status == "running" and current.started_time == container.started_time:
                do()

        return later

    def end_asked(self, container: Container, then: Callable[[], None]) -> None:
        """A stop as the engine does it: the stop signal, SIGKILL when the time is up, `stop` and `die` in its order."""
        self.killed[container.id] = True
        self.event("kill", container.id, signal=container.stop_signal)
        takes = self.stop_takes.get(container.name, 0.0)
        patient = takes <= container.patience
        self.stopping.add(container.id)

        def finish() -> None:
            self.stopping.discard(container.id)
            current = self.containers.get(container.id)
            if current is None or current.started_time != container.started_time or current.status == "exited":
                return then()
            if not patient:
                self.event("kill", container.id, signal=9)
            code = 0 if patient else 137
            self.ended(container, code)
            self.tell_stop(container.id, code, then)

        if takes:
            self.later(min(takes, container.patience), finish)
        else:
            finish()

    def tell_stop(self, container_id: str, code: int, then: Callable[[], None] = lambda: None) -> None:
        """A container ended that somebody stops."""
        def stopped() -> None:
            self.event("stop", container_id)
            then()

        if self.engine_version >= 23:
            self.event("stop", container_id)
            self.event("die", container_id, exit_code=code)
            then()
        else:
            self.event("die", container_id, exit_code=code)
            self.later(0.014, stopped)

    def destroy(self, container_id: str) -> None:
        """Remove a container that is down."""
        if self.containers.pop(container_id, None):
            self.event("destroy", container_id)

    # What containers do

    def exits(self, name: str, code: str | int = 1, oom: bool = False) -> None:
        """The main process ends by itself; Docker's own policy may start it again."""
        container, code = self.find(name), int(code)
        policy, retries = container.restart_policy, self.retries.get(name, 10**6)
        kept = policy in ("always", "unless-stopped") or (policy == "on-failure" and code
                                                          and container.restart_count < retries)
        if not kept or self.killed.get(container.id) or container.auto_remove:
            self.ended(container, code, oom=oom)
            if container.id in self.stopping:
                self.stopping.discard(container.id)
                self.tell_stop(container.id, code)
            else:
                self.event("die", container.id, exit_code=code)
            if container.auto_remove:
                self.later(0.01, lambda: self.destroy(container.id))
            return
        lived = EPOCH + self.now - container.started_time
        count = container.restart_count
        self.ended(container, code, "restarting", oom)
        self.change(container.id, restart_count=count + 1)
        self.event("die", container.id, exit_code=code)
        delay = 0.1 if lived >= 10.0 else min(60.0, 0.1 * 2 ** min(count, 12))
        self.later(delay, lambda: self.policy_restarts(container.id))

    def policy_restarts(self, container_id: str) -> None:
        """Docker's own restart, if the container still waits for it."""
        container = self.containers.get(container_id)
        if self.up and container and container.status == "restarting":
            self.run(container_id, by_policy=True)

    def oom(self, name: str) -> None:
        """The kernel kills the main process for memory."""
        self.event("oom", self.find(name).id)
        self.exits(name, 137, oom=True)

    def child_oom(self, name: str) -> None:
        """The kernel kills another process of the container for memory."""
        container = self.find(name)
        self.change(container.id, oom_killed=self.engine_version >= 23)
        self.event("oom", container.id)

    def unhealthy(self, name: str, output: str = "no-answer") -> None:
        """Its probe has failed often enough."""
        container = self.find(name)
        self.change(container.id, health=Health.UNHEALTHY, failing_streak=3, probe_output=output)
        self.event("health_status", container.id, health=Health.UNHEALTHY)

    def healthy(self, name: str) -> None:
        """Its probe is well."""
        container = self.find(name)
        self.change(container.id, health=Health.HEALTHY, failing_streak=0, probe_output="")
        self.event("health_status", container.id, health=Health.HEALTHY)

    # What people do, as the docker CLI and compose do it

    def told(self) -> bool:
        """Whether Sentinel hears what happens now."""
        return self.up and self.open and not self.deaf

    def purpose(self, container: Container) -> None:
        """Somebody wants it down: its incident may end without a word, and nobody may restart it."""
        self.incidents.pop(container.name, None)
        if self.told():
            self.on_purpose.add(container.id)

    def taken_in_hand(self, container: Container) -> None:
        """Somebody starts it: its restarts may be forgotten."""
        self.tries.pop(container.key, None)

    def stop(self, name: str, then: Callable[[], None] = lambda: None) -> None:
        """docker stop; also in Docker's backoff, where `stop` is all that is heard."""
        container = self.find(name)
        if container.status == "restarting":
            self.change(container.id, status="exited")
            self.purpose(container)
            if container.id in self.looking:
                self.on_purpose.discard(container.id)  # its state was not known, and a `stop` alone tells too little
            self.event("stop", container.id)
            then()
        elif container.status == "running":
            self.purpose(container)
            self.end_asked(container, then)
        else:
            then()

    def kill(self, name: str, number: str | int = 9) -> None:
        """docker kill: SIGKILL ends it; of all other signals only the event is certain. In a backoff: no event."""
        container, number = self.find(name), int(number)
        if container.status == "restarting":
            self.incidents.pop(name, None)
            self.change(container.id, status="exited")
            return
        self.killed[container.id] = True
        self.event("kill", container.id, signal=number)
        if number == 9:
            self.exits(name, 137)

    def start(self, name: str) -> None:
        """docker start."""
        container = self.find(name)
        self.taken_in_hand(container)
        self.run(container.id)

    def restart(self, name: str) -> None:
        """docker restart."""
        container = self.find(name)
        self.taken_in_hand(container)
        if container.status == "running":
            self.end_asked(container, lambda: self.run(container.id) and None)
        else:
            self.run(container.id)

    def pause(self, name: str) -> None:
        """docker pause: its health is shown as unhealthy with a streak of 0, of which no event tells."""
        container = self.find(name)
        if self.told():
            self.on_purpose.add(container.id)
        self.change(container.id, status="paused", health=Health.UNHEALTHY if has_probe(container) else Health.NONE,
                    failing_streak=0)
        self.event("pause", container.id)

    def unpause(self, name: str) -> None:
        """docker unpause."""
        container = self.change(self.find(name).id, status="running")
        self.on_purpose.discard(container.id)
        self.event("unpause", container.id)
        if has_probe(container):
            self.later(1.0, self.if_same(container, lambda: self.healthy(name)))

    def rm(self, name: str) -> None:
        """docker rm -f."""
        container = self.find(name)
        self.purpose(container)
        if container.status == "running":
            self.killed[container.id] = True
            self.event("kill", container.id, signal=9)
            self.ended(container, 137)
            self.event("die", container.id, exit_code=137)
        elif container.status == "restarting":
            self.change(container.id, status="exited")
            self.event("stop", container.id)
        self.later(0.011, lambda: self.destroy(container.id))

    def update(self, name: str) -> None:
        """docker update: an event that makes Sentinel look, and nothing else."""
        self.event("update", self.find(name).id)

    def rename(self, name: str, new: str) -> None:
        """docker rename."""
        container = self.change(self.find(name).id, name=new)
        self.event("rename", container.id)

    def create(self, name: str, *, like: Container | None = None, named: str = "") -> Container:
        """A new container of a service, not started yet."""
        self.copies[name] = number = self.copies.get(name, 1) + 1
        like = like or self.made.get(name) or service(name)
        container = replace(like, id=f"{name}-{number}", name=named or name, status="created", started_time=0.0,
                            finished_time=0.0, restart_count=0, exit_code=0, error="", oom_killed=False,
                            health=Health.STARTING if has_probe(like) else Health.NONE, failing_streak=0)
        self.containers[container.id] = container
        self.event("create", container.id)
        return container

    def compose_up(self, name: str) -> None:
        """docker compose up of a service that has no container."""
        container = self.create(name)
        self.taken_in_hand(container)
        self.later(0.3, lambda: self.run(container.id) and None)

    def recreate(self, name: str, ending: str = "started") -> None:
        """docker compose up --force-recreate: `started`, `unstarted` (compose broke off), or `lost` (never made)."""
        old = self.find(name)
        self.purpose(old)
        self.on_purpose.discard(old.id)
        self.taken_in_hand(old)
        new = self.create(name, like=old, named=f"0123456789ab_{name}")

        def remove_old() -> None:
            if old.id in self.containers:
                self.stop(name, lambda: self.later(0.01, replace_it))
            else:
                replace_it()

        def replace_it() -> None:
            self.destroy(old.id)
            self.taken_in_hand(old)
            if ending == "lost":
                self.destroy(new.id)
            elif new.id in self.containers:
                self.change(new.id, name=name)
                self.event("rename", new.id)
                if ending == "started":
                    self.later(0.3, lambda: self.run(new.id) and None)

        self.later(0.015, remove_old)

    def remove(self, name: str) -> None:
        """One container of docker compose down, or of a scale down: stopped, then removed."""
        container = self.find(name)
        self.purpose(container)
        self.stop(name, lambda: self.later(0.01, lambda: self.destroy(container.id)))

    def mute(self, name: str, span: str | float = 3600.0) -> None:
        """sentinel mute NAME|PROJECT|all DURATION."""
        self.muted[name] = self.now + float(span)
        self.mutes_changed()

    def unmute(self, name: str) -> None:
        """sentinel unmute NAME|PROJECT|all."""
        del self.muted[name]
        self.mutes_changed()

    def mutes_changed(self) -> None:
        """Sentinel reads who is muted, and ticks, as the daemon does it."""
        self.muted = {name: until for name, until in self.muted.items() if until > self.now}
        self.watchdog.mute(self.muted, self.now)
        self.tick()

    def is_muted(self, container: Container) -> bool:
        """Whether a command or a window of its label has muted it."""
        names = {"all", container.name, container.project, container.service} - {""}
        windows = sentinel.policy_of(container, self.settings, self.me)[0].quiet
        quiet = windows and insides.quiet(self.watchdog, windows, self.now)
        return bool(quiet) or any(until > self.now for name, until in self.muted.items() if name in names)

    # What befalls the stream and the engine

    def stream(self, what: str) -> None:
        """The event stream is `cut`, falls `deaf` without a word, is `refused` by a proxy, or `allowed` again."""
        if what == "deaf":
            self.deaf = True
        elif what == "cut":
            if self.open:
                self.open = False
                self.observe(sentinel.StreamClosed())
        else:
            self.refuses = what == "refused"
            if self.refuses:
                self.events.clear()
                self.stream("cut")

    def engine(self, what: str) -> None:
        """The engine is `gone`, or `back`."""
        self.up = what == "back"
        if not self.up:
            self.stream("cut")

    def goodbye(self) -> None:
        """The engine shuts down: it sends all containers their stop signal, and leaves when the last has ended."""
        running = [container for container in self.containers.values() if container.status == "running"]
        for container in running:
            self.event("kill", container.id, signal=container.stop_signal)
        for container in running:
            self.ended(container, 0)
            self.event("stop", container.id)
            self.event("die", container.id, exit_code=0)
        self.carried = {c.id for c in running if c.restart_policy == "always"
                        or (c.restart_policy == "unless-stopped" and not self.killed.get(c.id))}
        self.later(0.05, lambda: self.engine("gone"))

    def crash(self) -> None:
        """The engine and all containers are killed. The new engine finds them dead; what it tells, nobody hears."""
        running = [container for container in self.containers.values() if container.status == "running"]
        self.engine("gone")
        for container in running:
            self.ended(container, 137)
        self.carried = {c.id for c in running if c.restart_policy == "always"}

    def returns(self) -> None:
        """The engine is back, and brings back what its policies ask for, one after another."""
        self.overrun = False
        self.engine("back")
        for index, container_id in enumerate(sorted(self.carried)):
            self.later(0.05 * index, lambda it=container_id: self.run(it) and None)

    def forgets(self) -> None:
        """The engine's own buffer of events runs over."""
        self.overrun = True
        self.events.clear()

    # Rules that hold in every scenario

    def check_restart(self, job: sentinel.Restart) -> None:
        """Never two restarts of a service in flight, never more than the budget, never against somebody's will."""
        assert self.in_flight.get(job.key) not in self.containers, f"a second restart of {job.key} while one is in flight"
        container = self.containers.get(job.id)
        if container is None:
            return
        if job.alive and EPOCH + self.now - container.started_time >= sentinel.REFUND_AFTER:
            self.tries.pop(job.key, None)
        incident = self.watchdog.services[job.key].incident
        if not (incident and incident.notice.plan == "Restarting it now."):  # granted: it is no try to mend it
            self.tries[job.key] = self.tries.get(job.key, 0) + 1
        policy, _ = sentinel.policy_of(container, self.settings, self.me)
        assert not self.is_muted(container), f"{job.key} is muted"
        tries = self.tries.get(job.key, 0)
        assert tries <= policy.max_restarts, f"{job.key} is restarted {tries} times"
        assert policy.watch and policy.heal, f"{job.key} is not to be restarted"
        unknown = job.id in self.looking
        assert unknown or self.settings.stops == "alert" or job.id not in self.on_purpose, f"{job.key} is down on purpose"

    def check_notice(self, notice: sentinel.Notice) -> None:
        """Red opens an incident, green closes it: they take turns. A failed job is no incident."""
        if (notice.container and notice.container.auto_remove) or self.settings.stops == "ignore":
            return  # an incident may end without a word
        if notice.verdict in OPENING and notice.name not in self.incidents:
            self.incidents[notice.name] = notice.incident
        elif notice.verdict in (*OPENING, Verdict.GAVE_UP):
            assert notice.verdict in (Verdict.CRASH_LOOP, Verdict.GAVE_UP), f"red again: {notice}"
            assert self.incidents.get(notice.name, notice.incident) == notice.incident, f"of another incident: {notice}"
        elif notice.verdict is Verdict.RECOVERED and notice.container:
            assert self.incidents.pop(notice.name, notice.incident) == notice.incident, f"of another incident: {notice}"
        elif notice.verdict is Verdict.STOPPED:
            self.incidents.pop(notice.name, None)

    def check_services(self) -> None:
        """What waits has a moment at which it stops waiting."""
        for key, watched in self.watchdog.services.items():
            phase = watched.phase
            if phase in sentinel.WAITING or phase in (Phase.SUSPECT, Phase.PROVING, Phase.MISSING):
                assert insides.due_of(self.watchdog, key), f"{key} is {phase} and waits for nothing"
            elif phase is Phase.RESTARTING:
                assert key in self.in_flight or not self.begun, f"{key} is restarting, and nobody restarts it"

    # For tests

    def happen(self, what: str | Callable[[World], None]) -> None:
        """Do what a timeline's row says: one thing, or several with commas between them."""
        if callable(what):
            return what(self)
        for sentence in filter(None, what.split(", ")):
            words = sentence.split()
            if len(words) > 1 and hasattr(self, words[1]) and not hasattr(self, words[0]):
                words[:2] = [words[1], words[0]]
            getattr(self, words[0])(*words[1:])
        return None

    def phase(self, name: str) -> Phase:
        """Where a service stands."""
        return next(s.phase for s in self.watchdog.services.values() if s.container.name == name)

    def story(self) -> str:
        """All that happened but polls and looks that show nothing new, for people who read a failed test."""
        lines: list[str] = []
        known: dict[str, Any] = {}
        for moment, sign, thing in self.log:
            if isinstance(thing, Looked):
                if known.get(thing.id) == (thing.container, thing.why):
                    continue
                known[thing.id] = thing.container, thing.why
            if isinstance(thing, sentinel.StreamClosed) and thing.why:
                if known.get("stream") == thing:
                    continue
                known["stream"] = thing
            dull = sentinel.List | sentinel.Listed | sentinel.Look | sentinel.Subscribe | sentinel.Recall
            if isinstance(thing, sentinel.Recalled) and not thing.began_time:
                continue
            if not isinstance(thing, dull):
                lines.append(f"  {moment - START:10.3f}  {sign} {short(thing)}")
        return "\n".join(lines)


class Lawless(World):
    """A world without rules of its own: in which anything may be told and restarted, and nothing but Sentinel can fail."""

    def check_restart(self, job: sentinel.Restart) -> None:
        pass

    def check_notice(self, notice: sentinel.Notice) -> None:
        pass

    def check_services(self) -> None:
        pass


def short(thing: Any) -> str:
    """An observation, an action or a row of a timeline in one line."""
    match thing:
        case Heard():
            extra = [f"{word} {value}" for word, value in (("code", thing.exit_code), ("signal", thing.signal)) if value]
            return " ".join([f"heard {thing.action} {thing.id}", *extra, str(thing.health)]).rstrip()
        case Looked():
            return f"looked at {thing.id}: {short(thing.container)}{thing.why}"
        case Restarted():
            return f"restarted {thing.id}: {thing.outcome.name} {thing.why} {short(thing.container)}"
        case Container():
            words = [thing.status, f"exit {thing.exit_code}" if thing.exit_code else "", str(thing.health), thing.error]
            since = f"since {thing.started_time - EPOCH - START:.3f}" if thing.started_time else "never run"
            return f"{' '.join(filter(None, words))} {since}"
        case sentinel.Tell(notice):
            return f"TELL {line_of(thing)} | incident {notice.incident} | {notice.plan}"
        case sentinel.Amend(notice):
            took = ", ".join(" ← ".join(item.chain) for item in notice.consequences)
            return f"AMEND {notice.verdict} {notice.name} | incident {notice.incident} | {notice.plan}" + (
                f" | took {took}" if took else "") + ("" if notice.open else " | over")
        case sentinel.Log():
            return f"log {thing.text}"
    return str(thing)


def matches(wanted: list[str], got: list[str]) -> bool:
    """Whether each line begins with the words that are wanted of it."""
    return len(wanted) == len(got) and all(f"{line} ".startswith(f"{want} ") for want, line in zip(wanted, got, strict=True))


def play(world: World, *timeline: Row_) -> World:
    """Let a timeline happen, and compare what follows each row with what it says."""
    try:
        if not world.begun:
            world.begin()
            assert not world.done, f"at the very start: {world.done}"
        for index, (at, what, *wanted) in enumerate(timeline):
            world.advance(START + at - BLINK)
            world.now = START + at
            mark = len(world.done)
            world.log.append((world.now, "##", f"{what}   [expected: {'; '.join(wanted) or 'nothing'}]"))
            world.happen(what)
            last = index + 1 == len(timeline)
            world.advance(START + (at + BLINK if last else timeline[index + 1][0] - BLINK))
            got = world.done[mark:]
            assert matches(wanted, got), f"at {at}, {what or 'nothing'!r}:\n  expected {wanted}\n  got      {got}"
    except Exception as error:
        cause = None if isinstance(error, AssertionError) else error
        raise AssertionError(f"{error}\n\nThe whole timeline:\n{world.story()}") from cause
    return world
