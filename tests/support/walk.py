"""Random walks: anything may happen to a few services at any moment, and what must always hold is checked at each step.

A walk is a seed and the numbers of its steps. Each step throws its own dice, so a walk that failed can be played again
with some of its steps left out: `shortened` finds out which of them it takes. `Stroll` is the world of a walk: beside
what every `World` checks, it holds all that is told against what it says of the same thing before, against the world,
and against Discord.

    walk = Walk(seed=7)
    walk.run()                             # AssertionError with the seed and the story, if a rule is broken
"""

from __future__ import annotations

import contextlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import sentinel
from sentinel import Cause, Container, Health, Notice, Phase, Rule, Verdict, Watched
from support import insides
from support.fake_discord import check_message, trimmed
from support.scenario import EPOCH, OPENING, World, has_probe, probed, service

Edge = tuple[Phase, Phase]

STEPS = 60
PAUSES = (0.0, 0.0, 0.001, 0.01, 0.05, 0.3, 0.3, 1.0, 1.0, 2.0, 2.0, 6.0, 6.0, 6.0, 31.0, 31.0, 45.0, 700.0)
LONG_PAUSES = (*PAUSES, 4000.0)

# What may happen, how often, and to containers of which state.
DEEDS = {
    "exits": (8, "running"), "oom": (2, "running"), "child_oom": (1, "running"), "unhealthy": (3, "running"),
    "healthy": (1, "running"), "kill": (3, "running restarting"), "stop": (4, "running restarting"),
    "restart": (3, "running exited"), "start": (6, "exited created"), "pause": (2, "running"), "unpause": (6, "paused"),
    "rm": (1, "running exited restarting created"), "remove": (1, "running restarting exited"),
    "update": (1, "running exited paused"),
    "recreate": (3, "running exited"),
}
SLOW = (0.0, 0.02, 0.4, 3.0)
TROUBLE = (Phase.RESTARTING, *sentinel.WAITING, Phase.GAVE_UP, Phase.SUSPECT, Phase.STOPPED)
WHIMS = ("stream cut", "stream deaf", "stream refused", "stream allowed", "engine gone", "engine back", "engine back",
         "forgets", "slow", "fast", "fast", "doom", "mercy", "mercy", "break", "mend", "mend", "sicken", "sicken",
         "sicken", "cure", "lose", "find", "several", "several", "visitor", "mute", "mute", "unmute", "ends", "ends",
         "returns", "returns", "returns", "teardown", "teardown", "made", "ask", "ask")
SPANS = (1.0, 20.0, 90.0, 900.0, 5000.0)
QUIET = "08:03-08:09, 08:20-08:21, 09:00-09:30"  # the walk's clock says 08:16:40 (UTC) at first


class Stroll(World):
    """The world of a walk, where an engine can end with all it runs, and which reads all that is told."""

    def __init__(self, *services: Container | str, **facts: Any) -> None:
        self.asked: set[str] = set()  # services that somebody wants restarted just now
        super().__init__(*services, **facts)
        insides.set_calendar(self.watchdog, EPOCH)
        self.ended_by = ""  # the engine does not only not answer: `goodbye` or `crash`
        self.owners = {c.name: c.network_target.rpartition("-")[0] for c in self.containers.values() if c.network_target}
        self.codes: dict[str, set[int]] = {}  # exit codes that containers of a name ever had
        self.open_reds: dict[int, Notice] = {}  # by incident: what stands in red, and is not over
        self.left: dict[int, set[str]] = {}  # by incident: who was named as not back by its green
        self.counts: Counter[str] = Counter()  # what was told
        self.records: dict[str, Any] = {}  # what the ledger would hold

    def stamp(self) -> float:
        """Calendar time goes on, however much happens in one instant."""
        self.stamps = (max(EPOCH + self.now, self.stamps[0]) + 0.001, 0)
        return self.stamps[0]

    # What an engine's end does to its containers

    def ends(self, how: str) -> None:
        """The engine shuts down in order, or is killed with all that it runs."""
        self.ended_by, self.up = how, True
        for container in list(self.containers.values()):
            kills = [event.time for event in self.events if (event.id, event.action) == (container.id, "kill")]
            asked = max(kills, default=0.0)
            if EPOCH + self.now - max(container.finished_time, asked) <= sentinel.BURST:
                self.on_purpose.discard(container.id)  # so shortly before, nobody can tell whose stop that was
            if any(watched.container.id == container.id and watched.lives for watched in self.watchdog.services.values()):
                self.on_purpose.discard(container.id)  # nor where its end was not heard before that of all
            if container.status in ("restarting", "paused"):
                self.change(container.id, status="exited", finished_time=self.stamp())
                self.codes.setdefault(container.name, set()).add(container.exit_code)
        (self.goodbye if how == "goodbye" else self.crash)()

    def returns(self) -> None:
        """A new engine remembers no events, and no restart of a policy's counts as one of Sentinel's."""
        self.advance(self.now + 0.1)  # it has not quite left yet
        self.ended_by = ""
        self.events.clear()
        for container in self.containers.values():
            self.taken_in_hand(container)  # how long they lived before, nobody can tell exactly
        super().returns()

    def run(self, container_id: str, by_policy: bool = False) -> bool:
        """Nothing starts on an engine that has ended. Whom neither a policy nor Sentinel starts, somebody takes in hand."""
        container = self.containers.get(container_id)
        if container and not by_policy and container_id not in self.in_flight.values() and self.lost_answers != "late":
            self.taken_in_hand(container)
        return not self.ended_by and super().run(container_id, by_policy)

    def purpose(self, container: Container) -> None:
        """Somebody's stop ends an incident, and restarts are counted by incident."""
        super().purpose(container)
        self.taken_in_hand(container)

    def ended(self, container: Container, code: int, status: str = "exited", oom: bool = False) -> None:
        self.codes.setdefault(container.name, set()).add(code)
        super().ended(container, code, status, oom)

    def create(self, name: str, *, like: Container | None = None, named: str = "") -> Container:
        """Compose finds the container whose network is to be shared anew each time."""
        made = self.change(super().create(name, like=like, named=named).id, created_time=self.stamp())
        owner = next((c.id for c in reversed(self.containers.values()) if c.name == self.owners.get(name)), "")
        return self.change(made.id, network_mode=f"container:{owner}") if owner else made

    # What is told

    def check_notice(self, notice: Notice) -> None:
        """One red, then one green, for each incident; a second red only of somebody whom the green has left out."""
        number = notice.incident
        self.counts[f"{notice.verdict}: {notice.cause}" if notice.cause else str(notice.verdict)] += 1
        if notice.open:
            assert number not in self.open_reds, f"red again: {notice}"
            assert number not in self.left or self.left[number], f"red after green: {notice}"
        elif notice.verdict is Verdict.RECOVERED:
            assert number in self.open_reds or number in self.left, f"green without red: {notice}"
            self.left[number] = {item.chain[0] for item in notice.consequences if not item.back}
        self.check_muted(notice)
        self.check_truth(notice)

    def tell(self, action: sentinel.Tell | sentinel.Amend) -> None:
        """Keep account of what stands in red, and have Discord look at each message."""
        notice = action.notice
        if isinstance(action, sentinel.Tell):
            self.notices.append(notice)
            self.check_notice(notice)
        else:
            assert notice.incident in self.open_reds, f"what was never told is changed: {notice}"
        if notice.open:
            self.open_reds[notice.incident] = self.reds[notice.incident] = notice
        elif isinstance(action, sentinel.Amend):
            del self.open_reds[notice.incident]
            self.counts["Folded"] += notice.verdict is Verdict.FOLDED
        self.counts["flapping"] += bool(notice.flaps)
        self.counts["several in one red"] += len(notice.consequences) > 1
        self.check_form([notice])

    def check_form(self, notices: list[Notice]) -> None:
        """Discord takes it, as it is and in its plainest form."""
        job = sentinel.Deliver("webhook", tuple(notices), "box", plain=len(notices) % 7 == 3)
        body = sentinel.message_of(job, self.now, EPOCH)
        form = check_message("webhook", trimmed(body))
        assert not form.errors and not form.notes, f"Discord refuses {body}: {form.errors} {form.notes}"

    def check_muted(self, notice: Notice) -> None:
        """What is muted is not told."""
        assert not notice.container or not self.is_muted(notice.container), f"muted, and told: {notice}"

    def calm(self) -> bool:
        """Whether Sentinel can know all that has happened until now."""
        quick = not (self.look_delay or self.look_age or self.restart_delay or self.lost_answers)
        return quick and self.told() and not insides.looking(self.watchdog)

    def check_truth(self, notice: Notice) -> None:
        """Green is told of what runs, and red with a code that there was."""
        if notice.exit_code is not None and notice.verdict in (*OPENING, Verdict.GAVE_UP) and not never_ran(notice):
            known = self.codes.get(notice.name, set()) | {128}
            assert notice.exit_code in known, f"no {notice.name} ever ended with {notice.exit_code}"
        if notice.verdict is Verdict.RECOVERED and notice.container and self.calm():
            called = [each for each in self.containers.values() if notice.name in (each.name, each.title)]
            assert any(container.status == "running" for container in called), f"{notice.name} is not back: {called}"

    def observe(self, seen: sentinel.Observation) -> None:
        """What is asked for is wanted also where the call was overtaken by an end: until no call is made any more."""
        super().observe(seen)
        if isinstance(seen, sentinel.Restarted):
            self.asked &= self.in_flight.keys()

    def check_restart(self, job: sentinel.Restart) -> None:
        """Nor is anything restarted while what it depends on is known to be down, unless somebody asks for it."""
        if job.key in self.asked:
            return
        child = self.watchdog.services[job.key]
        if child.budget.attempts == 1 and self.watchdog.services.parents(child):
            self.tries.pop(job.key, None)  # it has waited for another one: its deaths say nothing of it
        container = self.containers.get(job.id)
        if container and (container.started_time, container.status == "running") != (job.started_time, job.alive):
            self.on_purpose.discard(job.id)  # the call looks first, and leaves alone what is not as it was judged
        super().check_restart(job)
        for parent, dependency in self.watchdog.services.parents(child):
            down = parent.phase in DOWN and parent.incident
            circle = insides.needs(self.watchdog, parent, child)
            if job.alive and insides.network_is_stale(self.watchdog, child):
                continue  # it runs on without a network: it is restarted whatever else is down, or nobody would see it
            assert not down or circle, f"{job.key} is restarted while {parent.key} is {parent.phase} ({dependency})"

    # What holds between two steps

    def check_step(self) -> None:
        """What is told is what is believed, and what is believed is what the ledger was told of."""
        watchdog = self.watchdog
        told = insides.told(watchdog)
        assert self.open_reds.keys() == told.keys(), f"{self.open_reds.keys()} stand in red, {told.keys()} go on"
        for number, story in told.items():
            assert same(self.open_reds[number], story), f"incident {number}: told {self.open_reds[number]}, believed {story}"
        for key, watched in watchdog.services.items():
            back = watched.incident and watched.incident.back_at is not None
            assert not back or watched.phase not in DOWN, f"{key} counts as back, and is {watched.phase}"
        self.check_sizes()
        self.check_ledger()

    def check_sizes(self) -> None:
        """The watchdog remembers no more than there is."""
        watchdog, most = self.watchdog, 3 * (len(self.containers) + len(self.watchdog.services)) + 40
        sizes = insides.sizes(watchdog)
        assert all(size <= most for size in sizes.values()), f"{len(self.containers)} containers, and {sizes}"
        assert insides.events_remembered(watchdog) <= sentinel.MEMORY_OF_EVENTS

    def check_ledger(self) -> None:
        """A service that has changed is saved."""
        watchdog = self.watchdog
        changed = insides.changed(watchdog)
        for key, watched in watchdog.services.items():
            fresh = insides.saved(watchdog, watched)
            assert key in changed or self.records.get(key) == fresh, (
                f"{key} has changed, and nobody saves it: {differences(self.records.get(key), fresh)}")
            self.records[key] = fresh
        for key in self.records.keys() - watchdog.services.keys():
            assert key in changed, f"{key} is forgotten, and the ledger is not told"
            del self.records[key]


DOWN = sentinel.FALLEN

def never_ran(notice: Notice) -> bool:
    """Whether a notice tells of a container that was never started: its code is 0, and is not shown."""
    return notice.container is not None and not notice.container.started_time


def same(told: Notice, believed: Notice) -> bool:
    """Whether two notices tell the same; through whom somebody depends on the root may be forgotten meanwhile."""
    one, other = ({replace(item, chain=item.chain[:1]) for item in notice.consequences} for notice in (told, believed))
    return one == other and replace(told, consequences=()) == replace(believed, consequences=())


def differences(one: dict[str, Any] | None, other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is not the same in two records."""
    before = one or {}
    return {name: (before.get(name), value) for name, value in other.items() if before.get(name) != value}


def family(dice: random.Random) -> list[Container]:
    """A few services, with what they depend on."""
    policies = ("no", "no", "always", "unless-stopped", "on-failure")
    labels: dict[str, dict[str, str]] = {name: {} for name in ("db", "api", "web", "worker", "side", "tell", "job")}
    for index, name in enumerate(children := ["api", "web", "worker", "side", "tell"]):
        needs = [parent for parent in ["db", "job", *children[:index]] if dice.random() < 0.3]
        if needs:
            labels[name]["com.docker.compose.depends_on"] = ",".join(
                f"{parent}:{condition_for(parent, dice)}:{dice.choice(('false', 'false', 'true'))}" for parent in needs)
    if dice.random() < 0.1:
        labels["db"]["com.docker.compose.depends_on"] = "web:service_started:false"  # perhaps a circle
    labels["api"]["sentinel.max-restarts"] = dice.choice(("1", "3"))
    labels["job"]["sentinel.job"] = "true"
    labels["tell"]["sentinel.restart"] = "false"
    labels["worker"] |= {"sentinel.quiet": QUIET} if dice.random() < 0.3 else {}
    facts: dict[str, dict[str, Any]] = {name: {} for name in labels}
    if dice.random() < 0.4:
        facts["side"]["network_mode"] = f"container:{dice.choice(('db', 'api', 'web'))}-1"
    if dice.random() < 0.1:
        facts["worker"]["links"] = ("db",)
    made = [(probed if name == "db" else service)(name, "no" if name == "job" else dice.choice(policies),
                                                  labels=labels[name], **facts[name]) for name in labels]
    return [*made, service("off", labels={"sentinel.watch": "false"}),
            replace(probed("bare", dice.choice(policies)), labels={}, auto_remove=True)]


def condition_for(parent: str, dice: random.Random) -> str:
    """A condition that compose would take."""
    if parent == "job":
        return "service_completed_successfully"
    return dice.choice(("service_started", "service_healthy")) if parent == "db" else "service_started"


class Walk:
    """One world, and what befalls it."""

    def __init__(self, seed: int, steps: Iterable[int] = range(STEPS)) -> None:
        self.seed, self.steps, self.taken = seed, list(steps), 0
        self.dice = random.Random(seed)
        choice = self.dice.choice
        self.pauses = choice((PAUSES, LONG_PAUSES))
        self.world = Stroll(
            *family(self.dice), engine=choice((20, 28)), stops=choice(("notice", "notice", "alert", "ignore")),
            watch=choice(("compose", "all")), max_restarts=choice((0, 2, 5)), settle=choice((5.0, 30.0)), poll_interval=90.0,
            remind=choice((0.0, 600.0, 14400.0)), host="box")
        self.names = [container.name for container in self.world.containers.values()]

    def run(self) -> None:
        """All steps, and what must hold in the end."""
        world = self.world
        try:
            world.begin()
            for number in self.steps:
                self.dice.seed(self.seed * 1_000_003 + number)
                self.step()
                self.taken += 1
                world.check_step()
            self.make_well()
            world.advance(world.now + 2 * sentinel.FLAP_SPAN)  # what was flapping is called back after an hour
            world.check_step()
            self.check_all_is_well()
            self.check_a_look_changes_nothing()
            self.check_batches()
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            raise AssertionError(f"seed {self.seed}: {words}\n\nThe whole walk:\n{world.story()}") from error

    def step(self) -> None:
        """Something happens, or time passes."""
        if self.dice.random() < 0.2:
            self.whim(self.dice.choice(WHIMS))
        else:
            self.deed(self.victim())
        pause = self.dice.choice(self.pauses)
        self.world.advance(self.world.now + (pause if self.world.up else min(pause, 20.0)))  # it is asked twice a second

    def victim(self) -> str:
        """A service, often one that has trouble already."""
        troubled = sorted(watched.container.name for watched in self.world.watchdog.services.values()
                          if watched.phase in TROUBLE and watched.container.name in self.names)
        return self.dice.choice(troubled if troubled and self.dice.random() < 0.4 else self.names)

    def whim(self, whim: str) -> None:
        """Something happens to the engine, the network, or the nature of a service."""
        world, choice = self.world, self.dice.choice
        name = choice(self.names)
        whims: dict[str, Callable[[], object]] = {
            "slow": lambda: vars(world).update(look_delay=choice(SLOW), look_age=choice(SLOW), restart_delay=choice(SLOW)),
            "fast": lambda: vars(world).update(look_delay=0.0, look_age=0.0, restart_delay=0.0),
            "doom": lambda: world.doom.update({name: (choice((0.001, 1.0, 8.0)), choice((0, 1, 137)))}),
            "mercy": world.doom.clear,
            "break": lambda: world.broken.update({name: choice(("no such device", "port is already allocated"))}),
            "mend": world.broken.clear,
            "sicken": lambda: (world.sick.update({choice(("db", "db", "bare")): 2.0}),
                               world.stop_takes.update({name: choice((0.0, 4.0, 30.0))})),
            "cure": world.sick.clear,
            "lose": lambda: vars(world).update(lost_answers=choice(("done", "late", "never"))),
            "find": lambda: vars(world).update(lost_answers=""),
            "several": lambda: [self.deed(other) for other in self.dice.sample(self.names, 3)],
            "teardown": self.teardown, "made": self.make_only,
            "visitor": self.visit, "ends": self.end_engine, "ask": self.ask,
            "returns": world.returns if world.ended_by else lambda: world.happen("engine back"),
            "engine back": world.returns if world.ended_by else lambda: world.happen("engine back"),
            "mute": lambda: world.mute(choice((*self.names, "shop", "all")), choice(SPANS)),
            "unmute": lambda: [world.unmute(other) for other in list(world.muted)[:1]],
        }
        whims.get(whim, lambda: world.happen(whim))()

    def ask(self) -> None:
        """Somebody asks in Discord for a restart, mostly of what is not well."""
        world, watchdog = self.world, self.world.watchdog
        fit = sorted((watched.phase is sentinel.Phase.UP, watched.key) for watched in watchdog.services.values()
                     if not watchdog.lives.healing.refusal(watched, world.now) and watched.key not in world.in_flight)
        if fit:
            watched = watchdog.services[self.dice.choice([key for _, key in fit[:2]])]
            world.on_purpose.discard(watched.container.id)
            world.tries.pop(watched.key, None)
            world.asked.add(watched.key)
            world.observe(sentinel.RestartAsked(watched.key, "@ann"))
            world.asked &= world.in_flight.keys()

    def visit(self) -> None:
        """Somebody's new project, which nobody has seen before."""
        name = f"guest{self.world.now:.3f}".replace(".", "-")
        if self.world.up and name not in self.names:
            self.world.made[name] = service(name, self.dice.choice(("no", "always")), project=f"of-{name}")
            self.names.append(name)
            self.world.compose_up(name)

    def teardown(self) -> None:
        """`compose up --abort-on-container-exit`: one ends, and the others are stopped one after the other; sometimes only
        some of them, or somebody starts them again."""
        world, dice = self.world, self.dice
        running = [c.name for c in world.containers.values() if c.status == "running" and c.project == "shop"]
        if not world.up or world.ended_by or len(running) < 2:
            return
        if dice.random() < 0.5:
            for container in list(world.containers.values()):
                world.event("attach", container.id)
        dice.shuffle(running)
        first, *others = running
        world.exits(first, dice.choice((0, 1, 3)))
        for name in others[:dice.choice((1, 2, 20, 20))]:
            world.advance(world.now + dice.choice((0.0, 0.015, 0.015, 0.6)))
            if any(c.name == name and c.status == "running" for c in world.containers.values()):
                world.stop(name)

    def make_only(self) -> None:
        """compose makes what is not there, and breaks off before it starts it."""
        here = {container.name for container in self.world.containers.values()}
        for name in self.names:
            if self.world.up and not self.world.ended_by and name not in here and name != "bare":
                self.world.create(name)

    def end_engine(self) -> None:
        """The engine ends, once nobody is at work on it; sometimes it is back at once."""
        world, dice = self.world, self.dice
        world.advance(world.now + 0.5)
        if world.up and not world.ended_by:
            world.ends(dice.choice(("goodbye", "crash")))
            if dice.random() < 0.5:
                world.advance(world.now + dice.choice((0.1, 3.0, 20.0)))
                world.returns()

    def deed(self, name: str) -> None:
        """Something happens to a container, if there is one."""
        world = self.world
        here = [container for container in world.containers.values() if container.name == name]
        if any(container.name.endswith(f"_{name}") for container in world.containers.values()) or world.ended_by:
            return  # compose is at it, or there is no engine
        if not here:
            return world.compose_up(name)
        possible = [verb for verb, (_, states) in DEEDS.items() if here[-1].status in states.split()]
        possible = [verb for verb in possible if verb not in ("healthy", "unhealthy") or has_probe(here[-1])]
        if not world.up or not possible:
            return None
        if name == "bare" and "recreate" in possible:
            possible.remove("recreate")  # nobody but compose does that
        weights = [DEEDS[verb][0] if self.dice.random() < 0.6 else 2 for verb in possible]
        verb = self.dice.choices(possible, weights)[0]
        extra = {"exits": (0, 1, 1, 139, 137), "kill": (1, 9, 9, 10), "recreate": ("started", "started", "unstarted")}
        words = [self.dice.choice(extra[verb])] if verb in extra else []
        return getattr(world, verb)(name, *words)

    # The end of a walk

    def make_well(self) -> None:
        """Nothing goes wrong any more, and somebody starts what is down."""
        world = self.world
        for whim in ("fast", "mercy", "mend", "cure", "find", "returns", "stream allowed"):
            self.whim(whim)
        for name in list(world.muted):
            if name in world.muted:
                world.unmute(name)
        world.advance(world.now + 200.0)
        guests = [name for name in self.names if name.startswith("guest")]
        self.names = [name for name in self.names if name not in guests]
        for container in [c for c in world.containers.values() if c.name.endswith(tuple(guests)) or c.name[:1] == "0"]:
            world.rm(container.name)
        for name in self.names:
            self.make_one_well(name)
            world.advance(world.now + 1.0)
        world.advance(world.now + 1000.0)
        for container in list(world.containers.values()):
            world.update(container.name)  # what no event told is found out now at the latest
        world.advance(world.now + 1000.0)

    def make_one_well(self, name: str) -> None:
        """Somebody sees to one service."""
        world = self.world
        here = [container for container in world.containers.values() if container.name == name]
        lost = here and here[-1].network_target and here[-1].network_target not in world.containers
        if not here:
            world.compose_up(name)
        elif lost:
            world.recreate(name)
        elif here[-1].status == "paused":
            world.unpause(name)
            if here[-1].network_target:  # its owner may have been restarted meanwhile
                world.restart(name)
        elif here[-1].network_target and here[-1].status == "running":
            world.restart(name)
        elif here[-1].status != "running":
            world.start(name)
        elif has_probe(here[-1]) and here[-1].health is not Health.HEALTHY:
            world.healthy(name)

    def check_all_is_well(self) -> None:
        """Every service is up or at rest, no incident is open, and nothing is remembered that need not be."""
        world, watchdog = self.world, self.world.watchdog
        for key, watched in watchdog.services.items():
            lost = watched.incident and watched.incident.notice.cause is Cause.FAILED_UPDATE
            if lost and watched.container.name not in self.names:
                return  # a guest that an update has removed: that stands in red until somebody puts it back
            assert watched.incident is None, f"{key} has an open incident, phase {watched.phase}"
            running = watched.container.status == "running"
            assert watched.phase in ((Phase.UP,) if running else (Phase.STOPPED, Phase.GONE)), f"{key} is {watched.phase}"
        watched_ids = {container.id for container in world.containers.values()
                       if sentinel.policy_of(container, world.settings, world.me)[0].watch}
        known = {watched.container.id for watched in watchdog.services.values()}
        assert watched_ids <= known, f"{watched_ids - known} are not watched"
        ongoing = [*insides.outages(watchdog).values(), *world.open_reds.values(),
                   *filter(None, [insides.engine_outage(watchdog)])]
        assert not ongoing, f"something goes on: {ongoing}"
        gone = {key for key, watched in watchdog.services.items() if watched.phase is Phase.GONE}
        assert not gone, f"{gone} were not forgotten"
        here = set(world.containers)
        for name, known in insides.known_containers(watchdog).items():
            assert known <= here, f"{name} remembers {known - here}"
        rules = {rule for rule, _ in insides.due(watchdog)}
        assert rules <= {Rule.LIST, Rule.MUTE, Rule.UNMUTE}, f"still due: {insides.due(watchdog)}"

    def check_a_look_changes_nothing(self) -> None:
        """Looking again at what is known tells nothing and touches nothing."""
        world = self.world
        before = len(world.done)
        for container in list(world.containers.values()) * 2:
            world.update(container.name)
            world.settle()
        assert world.done[before:] == []

    def check_batches(self) -> None:
        """All that was told, in messages of every size."""
        notices, size = self.world.notices, 2
        while notices:
            self.world.check_form(notices[:size])
            notices, size = notices[size:], size * 2 - 1


@contextlib.contextmanager
def edges_made() -> Iterator[set[Edge]]:
    """All moves from phase to phase that are made meanwhile."""
    made: set[Edge] = set()
    original = sentinel.Watched.move

    def move(self: Watched, phase: Phase) -> None:
        if phase is not self.phase:
            made.add((self.phase, phase))
        original(self, phase)

    sentinel.Watched.move = move  # type: ignore[method-assign]
    try:
        yield made
    finally:
        sentinel.Watched.move = original  # type: ignore[method-assign]


def never_made(edges: set[Edge]) -> list[str]:
    """Legal moves that were not made, in words."""
    legal = {(here, there) for here, theres in sentinel.MOVES.items() for there in theres}
    return [f"{here} to {there}" for here, there in sorted(legal - edges)]


def complaint(walk: Walk) -> str:
    """What a walk breaks, in one line and without what differs from one walk to the next; empty if it breaks nothing."""
    try:
        walk.run()
    except AssertionError as error:
        first = str(error).partition("\n")[0].partition(": ")[2]
        return re.sub(r"[\d.]+", "0", first)[:60]
    return ""


def shortened(seed: int, steps: list[int]) -> list[int]:
    """The fewest steps that break the same rule: parts of them are left out as long as they do not matter."""
    wanted = complaint(Walk(seed, steps))
    part = max(1, len(steps) // 2)
    while wanted:
        index = 0
        before = len(steps)
        while index < len(steps):
            fewer = steps[:index] + steps[index + part:]
            if complaint(Walk(seed, fewer)) == wanted:
                steps = fewer
            else:
                index += part
        if part == 1 and len(steps) == before:
            break
        part = max(1, part // 2)
    return steps


