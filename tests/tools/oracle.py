"""What must have been told and done, worked out from what really happened: the judge of tests/tools/chaos.py.

It shares no code with Sentinel.  A `Story` is the raw truth: what chaos did and when (deeds), what the engine's own
event stream said (events), what Sentinel asked of the engine (calls, seen by a proxy between the two), what Discord's
channel holds in all its versions (told), and how the containers stand in the end (standing).  `judge()` gives every
promise of the README (and of tests/README.md, which has them in detail) that the story breaks.  All times are Unix
seconds of the one clock of chaos and the engine.

What is told of a service counts wherever a reader finds it: in a title, as the first of a consequence's chain, in
a digest's line, among `Back with it`.  A blow is a death that nobody asked for, or an `unhealthy`.

Every expectation that is relaxed, where, and why:

| rule         | is not asked for where                                      | because                                      |
|--------------|-------------------------------------------------------------|----------------------------------------------|
| death told   | it went with its engine, or within the minute after its     | README: what Docker's own policies did not   |
|              | return (one that hung for five seconds was away, too), and  | bring back; they have ten seconds of quiet,  |
|              | Docker, not Sentinel, has started it again                  | a minute at most, before anyone is dead      |
| death told   | an operator's deed on the same service is at most 0.5 s     | nobody can tell the two apart: the end is    |
|              | away; or ends it at most 2.5 s after a kill                 | the deed's, or a kill turns into a removal   |
| death told   | nobody watched from the death until an operator's deed on   | what Sentinel finds is the operator's doing; |
|              | this service (Sentinel dead or frozen, engine gone or back  | its return was never seen                    |
|              | for less than that minute, connections cut)                 |                                              |
| death told   | the engine went down before Sentinel, which was away, could | its memory of events went with it; but 3 or  |
|              | hear of it, and it runs again or its code could be a stop's | 42 is seen on the container itself           |
| death told   | at most 5.5 s after a signal that it was to survive, and    | README: what obeys a signal, soon and with   |
|              | with that signal's code or 0                                | its own code or 0, can't be told from a stop |
| ending told  | it does not run or is not healthy; it has not lived through | README: green when proven and healthy, and   |
|              | its proof (5 s, doubled by each death since an operator     | when the others are back or had 5 minutes;   |
|              | started it) since its last start; the red one says          | flapping stays open for an hour              |
|              | Flapping; another of the same message is in one of these    |                                              |
|              | states; it is a job; it ended with 0 meanwhile, which is    | a job has no green, and what has finished    |
|              | no death                                                    | ends its story without one                   |
| red before   | a red digest, which has no incidents, named it before       | several of its incidents may be one line     |
| green        |                                                             |                                              |
| stop told    | a red story of it was open, or a blow of the last 30 s was  | its end is told in the red one, or can't be  |
|              | not told as over; an engine went at most 5 s later, or came | told from the engine's                       |
|              | less than a minute before                                   |                                              |
| green only   | Sentinel's clock was stepped around it                      | a restart knows its age by the calendar      |
| after 5 s    |                                                             |                                              |
| red has a    | a deploy of it took longer than the settle time, or failed  | README: VANISHED, until the deploy goes on   |
| blow         |                                                             |                                              |
| told at all  | its disk was full then, and Sentinel was killed before it   | README: memory until the disk takes it again |
|              | wrote its ledger again (30 s after there was room)          |                                              |
| healed       | it is a job; it ended with 0 under `no` or `on-failure`,    | README's table                               |
|              | and not with its engine; it is told as given up; or what it |                                              |
|              | depends on does not run                                     |                                              |
| no start of  | the call was made less than 0.5 s after the stop's end      | the call was under way                       |
| what was     | the engine went before Sentinel heard of the stop           | the evidence is lost                         |
| stopped      |                                                             |                                              |
| budget       | Sentinel ended while its disk was full                      | its memory went with it                      |
| no double    | one for each SIGKILL of Sentinel, and one for each answer   | README: its fate is not known                |
|              | that Discord spoiled after it had acted                     |                                              |
| manners      | a 429 within 60 s after a start of Sentinel                 | a killed one forgets the waits it was told   |

Never relaxed: a red one about a service that had no blow; a grey one about one that no operator ended; green without
red; an end of Sentinel by itself.
"""

from __future__ import annotations

import bisect
import json
import re
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

RED, GREEN, GREY, DARK_GREEN = 0xED4245, 0x57F287, 0x95A5A6, 0x1F8B4C
AFTER, CROSSING = 2.5, 0.5  # how near an operator's deed makes a kill ambiguous, and any other death
CALL_RACE = 0.5
FIRST_PROOF, LONGEST_PROOF = 5.0, 600.0
OTHERS_PATIENCE = 300.0
LEDGER_RETRY = 35.0
GRACE = 65.0  # a minute after the engine's return, as the README has it
NEAR = 5.0
OBEYS, SIGNAL_CODES = 5.5, 128  # an end so soon after a signal that it obeys
REFUND_LIFE = 600.0
PROMPT = 15.0

#: Deeds of an operator that end, replace or start a container.
ENDS = frozenset({"stop", "long stop", "restart", "recreate", "change", "remove", "scale", "down"})
STOPS = ("stop", "long stop")
STARTS = frozenset({"start", "up", "restart", "recreate", "change", "scale"})
GOES = frozenset({"engine kill", "engine stop"})  # the engine forgets its events
AWAY = frozenset({"sentinel kill", "sentinel freeze", "cut", "engine freeze"}) | GOES


@dataclass(frozen=True)
class Service:
    """One container name that chaos made, and what the promises depend on."""

    name: str
    policy: str = "no"
    job: bool = False
    probe: bool = False
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deed:
    """Something that chaos did, from when to when; `done` is false where it was in vain."""

    at: float
    until: float
    kind: str
    target: str = ""
    detail: str = ""
    done: bool = True


@dataclass(frozen=True)
class Event:
    """A container event of the engine's own stream."""

    at: float
    action: str
    id: str
    name: str
    code: int | None = None
    signal: int | None = None


@dataclass(frozen=True)
class Call:
    """A start or restart that Sentinel asked of the engine, and the answer's status (0: none came)."""

    at: float
    verb: str
    id: str
    status: int = 204


@dataclass(frozen=True)
class Told:
    """One embed of one version of a message. `over`: a red one that says that it has recovered."""

    at: float
    colour: int
    title: str
    names: tuple[str, ...]
    message: str
    incident: str = ""
    edit: bool = False
    over: bool = False
    flapping: bool = False
    more: bool = False  # names are cut off: "… and 3 more"
    given_up: tuple[str, ...] = ()  # of whom it says that the restarts are spent


@dataclass(frozen=True)
class Standing:
    """How a container stands in the end."""

    running: bool
    healthy: bool = True
    paused: bool = False
    started: float = 0.0


@dataclass
class Story:
    """All that happened; the lists are in order of time."""

    services: dict[str, Service] = field(default_factory=dict)
    deeds: list[Deed] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    standing: dict[str, Standing] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)  # ends of Sentinel that nobody asked for, tracebacks
    manners: list[tuple[float, str]] = field(default_factory=list)  # what Discord refused or complained of
    spoiled: int = 0  # answers that Discord spoiled after it had acted
    max_restarts: int = 3
    settle: float = 2.0
    now: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)

    def lines(self, about: str = "") -> list[str]:
        """The story as people read it, or only what concerns one service."""
        rows: list[tuple[float, str]] = []
        for deed in self.deeds:
            if deed.target in ("", about) or not about:
                vain = "" if deed.done else "  (in vain)"
                took = f"took {deed.until - deed.at:.2f}"
                rows.append((deed.at, f"DEED   {deed.kind} {deed.target} {deed.detail} {took}{vain}"))
        rows += [(event.at, f"engine {event.action} {event.name} {event.id[:12]} code={event.code} signal={event.signal}")
                 for event in self.events if about in ("", event.name)]  # fmt: skip
        names = {event.id: event.name for event in self.events}
        rows += [(call.at, f"CALL   {call.verb} {names.get(call.id, '?')} {call.id[:12]} -> {call.status}")
                 for call in self.calls if about in ("", names.get(call.id))]  # fmt: skip
        colours = {RED: "red", GREEN: "green", GREY: "grey"}
        rows += [(told.at, f"TOLD   {colours.get(told.colour, told.colour)} {'edit ' if told.edit else ''}{told.title!r}"
                           f" of {', '.join(told.names)} incident {told.incident or '-'}{' over' if told.over else ''}"
                           f"{' flapping' if told.flapping else ''} in {told.message[-6:]}")
                 for told in self.told if not about or about in told.names]  # fmt: skip
        zero = min((at for at, _ in rows), default=0.0)
        return [f"{at - zero:9.2f} {text}" for at, text in sorted(rows)]


@dataclass(frozen=True)
class Violation:
    """A promise that was broken. `pending`: it may still be kept, given time."""

    rule: str
    service: str
    text: str
    pending: bool = False

    def __str__(self) -> str:
        return f"{self.rule}: {self.service}: {self.text}"


def load(text: str) -> Story:
    """A story from a file."""
    raw = json.loads(text)
    kinds = {"deeds": Deed, "events": Event, "calls": Call}
    story = Story(**{key: raw[key] for key in ("ends", "spoiled", "max_restarts", "settle", "now")})
    for key, kind in kinds.items():
        setattr(story, key, [kind(**item) for item in raw[key]])
    story.told = [Told(**item | {key: tuple(item.get(key, ())) for key in ("names", "given_up")}) for item in raw["told"]]
    story.services = {key: Service(**{**item, "needs": tuple(item["needs"])}) for key, item in raw["services"].items()}
    story.standing = {key: Standing(**item) for key, item in raw["standing"].items()}
    story.manners = [(at, text) for at, text in raw["manners"]]
    return story


# ------------------------------------------------------------------------------------------------- reading messages


def words_of(name: str) -> list[str]:
    """How a container PROJECT-SERVICE-N is called: by its name, or among its siblings by its service."""
    _, service, number = re.fullmatch(r"(.+?)-(.+)-(\d+)", name).groups()  # type: ignore[union-attr]
    return [name, service if number == "1" else f"{service}-{number}"]


def told_names(title: str, text: str, colour: int, names: Iterable[str]) -> tuple[str, ...]:
    """The services of which an embed tells that they are down (red), back (green) or stopped (grey)."""
    prose = text.partition("```")[0] + text.rpartition("```")[2] if "```" in text else text
    kept: list[str] = [title]
    listing = ""
    for line in prose.splitlines():
        label = re.match(r"\*\*([^*]+):\*\*", line)
        listing = label[1] if label else listing
        if line.startswith("• "):
            chain = line[2:].strip("`").partition("`")[0].partition(" ← ")[0]
            skipped = listing == "Not back" if colour == GREEN else "restarted with it" in line
            kept.append("" if skipped else chain)
        elif not label or label[1] in ("Services", "Back with it", "Back", "Stopped", "Gone"):
            kept.append(line.partition(" · not back: ")[0] if colour == GREEN else line)
    whole = "\n".join(kept)
    return tuple(name for name in names if any(
        re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", whole) for word in words_of(name)))  # fmt: skip


def given_up(title: str, text: str, names: Iterable[str]) -> tuple[str, ...]:
    """Of whom an embed, or a digest's line, says that the restarts are spent."""
    lines = [line for line in text.splitlines() if "gave up after" in line] + [title] * ("GAVE UP" in title)
    return tuple(name for name in names if any(
        re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", line) for line in lines))  # fmt: skip


def told_of(embed: dict[str, Any], at: float, message: str, edit: bool, names: Iterable[str]) -> Told:
    """One embed of one version of a message."""
    title, text, colour = embed.get("title", "").removeprefix("✓ "), embed.get("description", ""), embed.get("color", -1)
    if colour in (DARK_GREEN, GREY) and title.startswith("["):
        colour = RED  # which is over
    incident = re.search(r"incident (\d+)", embed.get("footer", {}).get("text", ""))
    return Told(at, colour, title, told_names(title, text, colour, names), message, incident[1] if incident else "", edit,
                over=colour == RED and "Recovered after" in text, flapping="Flapping" in text,
                more=bool(re.search(r"… and \d+ more", text)), given_up=given_up(title, text, names))  # fmt: skip


# ------------------------------------------------------------------------------------------------------ the account


@dataclass(frozen=True)
class Blow:
    """A death that nobody asked for, or an unhealthy. `engine`: it went with its engine."""

    at: float
    name: str
    code: int | None
    engine: bool = False
    sick: bool = False


class Account:
    """What the raw truth means, one service at a time."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.name_of = {event.id: event.name for event in story.events if event.name}
        self.gone = [deed for deed in story.deeds if deed.kind in GOES]
        # one that hangs for long counts as away, and has its minute after that, too
        hung = [deed for deed in story.deeds if deed.kind == "engine freeze" and deed.until - deed.at > NEAR]
        self.returned = [*self.gone, *hung]
        self.away = [deed for deed in story.deeds if deed.kind in AWAY]

    def deeds(self, name: str, kinds: Iterable[str]) -> Iterator[Deed]:
        """What an operator did to a service."""
        return (deed for deed in self.story.deeds if deed.target == name and deed.kind in kinds)

    def events(self, name: str, *actions: str) -> list[Event]:
        """The engine's events of a service."""
        return [event for event in self._by_name.get(name, []) if event.action in actions]

    @cached_property
    def _by_name(self) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = {}
        for event in self.story.events:
            found.setdefault(event.name, []).append(event)
        return found

    def stop_of(self, end: Event) -> Deed | None:
        """The operator's deed that ended this run: a signal to it, or a destroy after it, within the deed says so."""
        own = [event for event in self._by_name[end.name] if event.id == end.id]
        began = max((event.at for event in own if event.action == "start" and event.at < end.at), default=0.0)
        for deed in self.deeds(end.name, {"signal"}):
            number = getattr(signal, f"SIG{deed.detail}", 0)
            if deed.at <= end.at <= deed.until + OBEYS and end.code in (0, SIGNAL_CODES + number) and began < deed.until:
                return deed
        for deed in self.deeds(end.name, ENDS):
            if deed.at <= end.at <= deed.until + 0.3:
                killed = any(event.action == "kill" and max(began, deed.at) <= event.at <= end.at + 0.1 for event in own)
                removed = any(event.action == "destroy" and end.at <= event.at <= deed.until + 1.0 for event in own)
                if killed or (removed and not killed and deed.at < end.at):
                    return deed
        return None

    def with_engine(self, at: float) -> bool:
        """Whether an end at this moment is the engine's."""
        return any(deed.at - 0.1 <= at <= deed.until + 1.0 for deed in self.gone)

    def by_sentinel(self, end: Event) -> bool:
        """Whether Sentinel's own restart ended this run."""
        return any(call.id == end.id and call.verb == "restart" and call.at - 0.1 <= end.at <= call.at + 15.0
                   for call in self.story.calls)  # fmt: skip

    def harmless(self, service: Service, code: int | None) -> bool:
        """An end with 0 that is no death."""
        return code == 0 and (service.job or service.policy in ("on-failure", "no"))  # it may be an init container

    @cached_property
    def blows(self) -> dict[str, list[Blow]]:
        """What befell each service, in order."""
        services = self.story.services.items()
        return {name: sorted(self._blows(service), key=lambda blow: blow.at) for name, service in services}

    def _blows(self, service: Service) -> Iterator[Blow]:
        for event in self.events(service.name, "die"):
            if self.stop_of(event) or self.by_sentinel(event):
                continue
            if not self.harmless(service, event.code):
                yield Blow(event.at, service.name, event.code, engine=self.with_engine(event.at))
        for event in self.events(service.name, "health_status: unhealthy"):
            yield Blow(event.at, service.name, None, sick=True)

    def ambiguous(self, blow: Blow) -> bool:
        """Whether an operator's deed is so near that nobody can tell it from the blow: it ends or starts the container at
        that moment, or ends it soon after a kill or an end that a removal explains."""
        killed = any(blow.at - 12.0 <= event.at <= blow.at + 0.1 for event in self.events(blow.name, "kill"))
        for deed in self.deeds(blow.name, ENDS | STARTS):
            before = AFTER if killed and deed.kind in ENDS else CROSSING
            if deed.at - before <= blow.at <= deed.until + CROSSING:
                return True
        return False

    def unseen_until(self, at: float, grace: float = 3.0) -> float:
        """Until when nobody watched, if nobody did at this moment: overlapping absences are one. `grace`: how long what
        an engine's return brings is not judged."""
        until = at
        for deed in sorted(self.away, key=lambda deed: deed.at):
            over = deed.until + (grace if deed in self.returned else 3.0)
            if deed.at - 1.0 <= until <= over:
                until = max(until, over)
        return until

    def overtaken(self, blow: Blow) -> bool:
        """Whether nobody could see the blow before an operator's deed, or the engine's end, hid it."""
        calm = self.unseen_until(blow.at, GRACE)
        if any(blow.at <= deed.at <= calm for deed in self.deeds(blow.name, ENDS | STARTS) if calm > blow.at and deed.done):
            return True
        until = self.unseen_until(blow.at)
        back = any(blow.at < start <= until for start in self.starts(blow.name))
        return (back or blow.code in (0, 137, 143, None)) and any(blow.at <= deed.at <= until for deed in self.gone)

    @cached_property
    def forgotten(self) -> list[tuple[float, float]]:
        """When Sentinel could only remember in memory, and lost that."""
        kills = [deed.at for deed in self.story.deeds if deed.kind == "sentinel kill"]
        full = [deed for deed in self.story.deeds if deed.kind == "disk" and deed.done]
        return [(disk.at, kill) for disk in full for kill in kills if disk.at - 1.0 <= kill <= disk.until + LEDGER_RETRY]

    def lost(self, at: float) -> bool:
        """Whether what Sentinel knew of this moment was only in its memory, and went with that."""
        return any(begin - 1.0 <= at <= end for begin, end in self.forgotten)

    def calm(self, at: float) -> bool:
        """Whether nothing has delayed Sentinel or Discord for a while."""
        return not any(deed.at <= at and at <= deed.until + 4 * PROMPT for deed in self.story.deeds
                       if deed in self.away or deed.kind.partition(" ")[0] in ("discord", "disk", "clock"))  # fmt: skip

    def nearby(self, at: float) -> str:
        """Which troubles of Sentinel and the engine lie around a moment: a hint for whoever reads a finding."""
        kinds = [deed.kind for deed in self.away if deed.at - 10.0 <= at <= deed.until + 70.0]
        return f" (near it: {', '.join(dict.fromkeys(kinds))})" if kinds else ""

    def started_by(self, deed: Deed) -> bool:
        """Whether an operator's deed started the container."""
        return any(deed.at <= start <= deed.until + 1.0 for start in self.starts(deed.target))

    def back_by_docker(self, blow: Blow) -> bool:
        """Whether it died with an engine, or in the grace after its return, and Docker's own policy brought it back."""
        if self.story.services[blow.name].policy == "no":
            return False
        gone = [deed for deed in self.returned if deed.at - 0.1 <= blow.at <= deed.until + GRACE]
        until = max((deed.until + GRACE for deed in gone), default=0.0) if blow.engine else blow.at + 5.0
        again = next((start for start in self.starts(blow.name) if blow.at < start < until), None)
        return bool(gone and again) and not any(
            blow.at < call.at <= again and self.name_of.get(call.id) == blow.name for call in self.story.calls)

    def told(self, name: str) -> list[Told]:
        """What was told of a service, in order, without what an edit only repeats: a green one that was there, a red
        one whose incident is closed."""
        kept: list[Told] = []
        closed, greens = set[str](), set[tuple[str, str]]()
        for item in (told for told in self.story.told if name in told.names):
            again = item.edit and (item.over or item.incident in closed if item.colour == RED
                                   else (item.message, item.title) in greens)  # fmt: skip
            if item.colour in (GREEN, GREY):
                closed |= {item.incident, *(before.incident for before in kept if item.colour == GREY)}
                greens.add((item.message, item.title))
            if not again:
                kept.append(item)
        return kept

    def named_red(self, name: str) -> list[Told]:
        """What named it in red, in whatever version."""
        return [item for item in self.story.told if name in item.names and item.colour == RED]

    def starts(self, name: str) -> list[float]:
        """When its lives began."""
        return [event.at for event in self.events(name, "start")]


# -------------------------------------------------------------------------------------------------------- the rules


def deaths_are_told(account: Account) -> Iterator[Violation]:
    """A red one is open at each blow, or comes before the next thing that closes the service's story."""
    for name, blows in account.blows.items():
        told = account.told(name)
        for blow in blows:
            relaxed = (account.ambiguous, account.overtaken, account.back_by_docker, lambda blow: account.lost(blow.at))
            if any(holds(blow) for holds in relaxed):
                continue
            opened = is_open([item for item in told if item.at < blow.at])
            close = next((item for item in told if item.at >= blow.at and item.colour == GREEN), None)
            reds = [red for red in account.named_red(name) if red.at >= blow.at - 0.5]
            if not opened and not any(not close or red.at <= close.at or red.incident == close.incident for red in reds):
                what = "unhealthy" if blow.sick else f"death with {blow.code}" + (" (engine)" if blow.engine else "")
                yield Violation("every unasked death is told", name,
                                f"{what} at {blow.at:.2f} is in no red message{account.nearby(blow.at)}", True)


def is_open(told: list[Told]) -> Told | None:
    """The red one that was told last and not closed."""
    last: Told | None = None
    for item in told:
        if item.colour == RED and not item.over:
            last = item
        elif item.colour in (GREEN, GREY) and not item.title.startswith("Folded"):
            last = None
    return last


def green_due(account: Account, name: str) -> bool:
    """Whether it runs, is healthy, and has lived through its proof."""
    standing = account.story.standing.get(name)
    if not standing or not standing.running or not standing.healthy or standing.paused:
        return False
    proof = proof_after(deaths_unproven(account, name))
    return account.story.now - max([standing.started, *account.starts(name)]) > proof + 10.0


def deaths_unproven(account: Account, name: str) -> int:
    """How often it died since an operator's start of it has proven itself."""
    by_others = [deed.at for deed in account.deeds(name, STARTS) if deed.done and account.started_by(deed)]
    deaths, last = 0, 0.0
    for blow in account.blows[name]:
        start = max((at for at in by_others if last < at < blow.at), default=blow.at)
        deaths = 0 if blow.at - start >= proof_after(deaths) else deaths
        deaths, last = deaths + (not blow.engine), blow.at
    return deaths


def proof_after(deaths: int) -> float:
    """How long it has to live to be called back after so many deaths."""
    return float(min(LONGEST_PROOF, FIRST_PROOF * 2 ** (max(1, deaths) - 1)))


def recoveries_are_told(account: Account) -> Iterator[Violation]:
    """No story of a service that lives stays open."""
    for name in account.story.services:
        last = is_open(account.told(name))
        if account.story.services[name].job:
            continue
        if not last or last.flapping or account.lost(last.at) or not green_due(account, name):
            continue
        first = min(item.at for item in account.told(name) if item.incident == last.incident)
        service = account.story.services[name]
        if any(end.at > first and account.harmless(service, end.code) for end in account.events(name, "die")):
            continue
        others = {other for item in account.story.told if item.message == last.message for other in item.names} - {name}
        began = max([0.0, *account.starts(name)])
        waiting = [other for other in others if not green_due(account, other)]
        if not waiting or account.story.now - began > OTHERS_PATIENCE + 60.0:
            yield Violation("every recovery is told", name, f"it lives, and {last.title!r} is still open", True)


def stops_are_told(account: Account) -> Iterator[Violation]:
    """Who was stopped and stays so is in a grey one."""
    story = account.story
    for name in story.services:
        ends = account.events(name, "die")
        deed = account.stop_of(ends[-1]) if ends else None
        standing = story.standing.get(name)
        if not deed or deed.kind not in STOPS or not standing or standing.running or not deed.done:
            continue
        if any(start > ends[-1].at for start in account.starts(name)):
            continue
        told = account.told(name)
        blurred = any(gone.at - NEAR <= deed.until and deed.at <= gone.until + GRACE for gone in account.gone)
        open_then = is_open([item for item in told if item.at < deed.until + story.settle])
        greens = [item.at for item in told if item.at < deed.at and item.colour == GREEN]
        recent = any(max([deed.at - 30.0, *greens[-1:]]) <= blow.at <= deed.until for blow in account.blows[name])
        grey = any(item.at > deed.at and item.colour == GREY for item in told)
        if not (blurred or open_then or recent or grey or account.lost(deed.at)):
            yield Violation("every stop is told in grey", name, f"stopped at {deed.at:.2f}", True)


def greys_have_a_cause(account: Account) -> Iterator[Violation]:
    """What is told as stopped was stopped or removed by an operator, since it was told so last."""
    for name in account.story.services:
        last, seen = 0.0, set[object]()
        for item in account.told(name):
            if item.colour == GREY and item.title.startswith("Stopped"):
                what = item.incident.strip("-") or (item.title, item.names)
                again = what in seen  # a message of which nobody heard that it had arrived
                seen.add(what)
                deed_near = any(last - account.story.settle - 1.0 <= deed.until and deed.at <= item.at
                                for deed in account.deeds(name, ENDS | {"signal"}))  # fmt: skip
                if not (item.edit or again or deed_near):
                    yield Violation("no grey without a deed", name, f"{item.title!r} at {item.at:.2f}")
                last = item.at


def the_dead_are_healed(account: Account) -> Iterator[Violation]:
    """What ended unasked and should be restarted runs again, or is told as given up."""
    story = account.story
    for name, service in story.services.items():
        standing, ends = story.standing.get(name), account.events(name, "die")
        if not standing or standing.running or not ends or service.job:
            continue
        end = ends[-1]
        if account.stop_of(end) or any(
                deed.done and deed.at >= end.at - 1.0 for deed in account.deeds(name, ENDS)):
            continue
        if end.code == 0 and service.policy in ("no", "on-failure") and not account.with_engine(end.at):
            continue
        given_up = any(name in item.given_up or "GAVE UP" in item.title or item.more for item in account.told(name)
                       if item.at > end.at - 1.0)  # fmt: skip
        held = any(not story.standing.get(need, Standing(False)).running for need in service.needs)
        excused = given_up or held or account.lost(end.at) or account.overtaken(Blow(end.at, name, end.code))
        if not excused:
            yield Violation("what died is restarted", name,
                            f"it ended with {end.code} at {end.at:.2f} and is down{account.nearby(end.at)}", True)


def the_stopped_stay_stopped(account: Account) -> Iterator[Violation]:
    """Sentinel starts nothing that an operator stopped."""
    for call in account.story.calls:
        name = account.name_of.get(call.id, "")
        ends = [event for event in account.events(name, "die") if event.id == call.id and event.at < call.at - CALL_RACE]
        if call.status not in (204, 0) or not ends:
            continue
        end, deed = ends[-1], account.stop_of(ends[-1])
        started = any(end.at < start < call.at for start in account.starts(name))
        if not deed or deed.kind not in STOPS or started:
            continue
        until = account.unseen_until(end.at)
        lost = account.with_engine(end.at) or any(end.at <= gone.at <= max(until, end.at + 1.0) for gone in account.gone)
        if not lost:
            yield Violation("what an operator stopped is never started", name,
                            f"stopped at {end.at:.2f}, {call.verb} by Sentinel at {call.at:.2f}")


def what_drains_is_left_alone(account: Account) -> Iterator[Violation]:
    """Nothing is restarted while somebody stops it, however long that takes."""
    for call in account.story.calls:
        name = account.name_of.get(call.id, "")
        for deed in account.deeds(name, {"long stop"}):
            own = [event for event in account.events(name, "die", "kill") if event.id == call.id and event.at >= deed.at]
            ended = any(event.action == "die" and event.at <= call.at for event in own)
            asked = any(event.action == "kill" and event.at <= call.at - CALL_RACE for event in own)
            if asked and not ended and call.at <= deed.until and account.unseen_until(deed.at) == deed.at:
                yield Violation("what drains is left alone", name,
                                f"{call.verb} at {call.at:.2f}, asked to end at {deed.at:.2f}")


def copies_are_nobodys(account: Account) -> Iterator[Violation]:
    """A copy of a compose container is not compose's."""
    copies = [deed.detail for deed in account.story.deeds if deed.kind == "copy" and deed.done]
    for item in account.story.told:
        for copy in copies:
            if copy in item.title:
                yield Violation("a copy is nobody's", copy, f"{item.title!r} at {item.at:.2f}")


def budgets_are_kept(account: Account) -> Iterator[Violation]:
    """No more restarts than the budget, until ten minutes of life, a recreate or an operator's start."""
    story = account.story
    lost = [end for _, end in account.forgotten]
    for name in story.services:
        calls = [call for call in story.calls if account.name_of.get(call.id) == name and call.status in (204, 0)]
        refunds = sorted([deed.at for deed in account.deeds(name, STARTS) if account.started_by(deed)] + lost)
        spent: Counter[tuple[int, str]] = Counter()
        for call in calls:
            before = bisect.bisect(refunds, call.at + 1.0)  # an operator's start and a call may cross
            spent[before, call.id] += 1
            since = refunds[before - 1] if before else 0.0
            made_up = sum(since <= gone.until and gone.at <= call.at for gone in account.gone)  # for the engine: no tries
            for need in story.services[name].needs:  # which is back
                made_up += sum(since <= start <= call.at for start in account.starts(need))
            allowed = story.max_restarts + made_up
            if spent[before, call.id] > allowed and not long_life(account, name, call.at):
                yield Violation("no more restarts than the budget", name,
                                f"restart {spent[before, call.id]} of {allowed} at {call.at:.2f}")


def long_life(account: Account, name: str, until: float) -> bool:
    """Whether one of its lives lasted ten minutes."""
    starts = [start for start in account.starts(name) if start < until]
    ends = [event.at for event in account.events(name, "die") if event.at <= until]
    return any(min([end for end in ends if end > start], default=until) - start >= REFUND_LIFE for start in starts)


def reds_have_a_cause(account: Account) -> Iterator[Violation]:
    """As many blows before each red story of a service as there are red stories: deploys and restarts are none. And where
    nothing delays what is told, the blow was a moment ago."""
    for name in account.story.services:
        blows = [blow.at for blow in account.blows[name]]
        blows += [deed.at for deed in account.gone]  # it took what ran, whether the stream could tell it or not
        # README: what was to be replaced and does not run is told after the settle time
        blows += [deed.at for deed in account.deeds(name, ENDS)
                  if deed.until - deed.at > account.story.settle or not deed.done]  # fmt: skip
        stories, last = 0, False
        for item in account.told(name):
            if item.colour == RED and not item.over and not last:
                stories, last = stories + 1, True
                if sum(at <= item.at for at in blows) < stories:
                    yield Violation("no red without a blow", name, f"{item.title!r} at {item.at:.2f} is red story {stories}"
                                    f" after {sum(at <= item.at for at in blows)} blows")
                elif account.calm(item.at) and not any(item.at - PROMPT <= at <= item.at for at in blows):
                    yield Violation("no red without a blow", name, f"{item.title!r} at {item.at:.2f}: none was near")
            elif item.colour in (GREEN, GREY) and not item.title.startswith("Folded"):
                last = False


def red_comes_before_green(account: Account) -> Iterator[Violation]:
    """A green one comes after a red one of the same incident, whether that named the service yet or not (the engine's
    is brought up to date afterwards); a second one for the same incident may only be a repeat."""
    first: dict[str, float] = {}
    for item in account.story.told:
        if item.colour == RED and item.incident:
            first.setdefault(item.incident, item.at)
    for name in account.story.services:
        reds, closed, digest = 0, set[tuple[str, str]](), False
        for item in account.told(name):
            if item.colour == RED:
                reds, digest = reds + 1, digest or not item.incident
            elif item.colour == GREEN:
                known = digest or (item.title, item.incident) in closed or first.get(item.incident, item.at + 1.0) <= item.at
                if not reds and not known:
                    yield Violation("red before green", name, f"{item.title!r} at {item.at:.2f} without a red one")
                reds = 0
                closed.add((item.title, item.incident))


def greens_are_proven(account: Account) -> Iterator[Violation]:
    """Green comes after five seconds of life. Only judged where the red one was told between death and start, so that the
    green one can't have waited for Discord since an earlier life."""
    for name in account.story.services:
        reds: dict[str, float] = {}
        for item in account.told(name):
            if item.colour == RED and item.incident:
                reds.setdefault(item.incident, item.at)
            elif item.colour == GREEN and not item.edit and item.title.endswith(f" {name}") and item.incident in reds:
                start = max((at for at in account.starts(name) if at <= item.at), default=0.0)
                death = max((end.at for end in account.events(name, "die") if end.at <= item.at), default=0.0)
                if any(start - 60.0 <= deed.at <= item.at for deed in account.story.deeds if deed.kind == "clock"):
                    continue
                if death <= reds[item.incident] <= start and item.at - start < FIRST_PROOF - 0.6:
                    yield Violation("green only after five seconds of life", name,
                                    f"{item.title!r} at {item.at:.2f}, {item.at - start:.2f} s after its start")


def nothing_is_told_twice(account: Account) -> Iterator[Violation]:
    """The same words of the same incident are posted again only where their fate was not known."""
    story = account.story
    posts = Counter((item.title, item.incident) for item in story.told
                    if not item.edit and item.incident and item.colour in (RED, GREEN))
    doubles = {key: number - 1 for key, number in posts.items() if number > 1}
    allowed = story.spoiled + sum(deed.kind == "sentinel kill" for deed in story.deeds)
    if sum(doubles.values()) > allowed:
        yield Violation("no more repeats than unknown fates", "", f"{allowed} are allowed: {doubles}")


def sentinel_is_well(account: Account) -> Iterator[Violation]:
    """It does not end by itself, and behaves towards Discord."""
    story = account.story
    for text in story.ends:
        yield Violation("Sentinel goes on", "", text)
    starts = [deed.until for deed in story.deeds if deed.kind == "sentinel kill"]
    for at, text in story.manners:
        if " 429 " not in text or not any(-5.0 <= at - start <= 60.0 for start in starts):
            yield Violation("manners towards Discord", "", text)


RULES = (deaths_are_told, recoveries_are_told, stops_are_told, greys_have_a_cause, the_dead_are_healed,
         the_stopped_stay_stopped, what_drains_is_left_alone, copies_are_nobodys, budgets_are_kept, reds_have_a_cause,
         red_comes_before_green, greens_are_proven, nothing_is_told_twice, sentinel_is_well)


def judge(story: Story) -> list[Violation]:
    """Every promise that is broken."""
    account = Account(story)
    return [violation for rule in RULES for violation in rule(account)]
