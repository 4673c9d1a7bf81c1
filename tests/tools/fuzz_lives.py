"""Nonsense in the middle of Sentinel's life: the slower half of what fuzz.py tries.

A canary, `canary` of the project `mine`, lives among the nonsense and is never touched by it. After the nonsense it
dies, and that must be told, and healed: what is silently unwatched is found out so.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import sqlite3
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from support import insides
from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine, Reply, Request
from support.lives import Clock, Life, one_clock

import sentinel
from sentinel import Action, Settings, Verdict, Watchdog
from tools.fuzz_calls import (
    HOOK,
    NOW,
    check_line,
    check_told,
    events,
    full_inspect,
    made_inspect,
    tapes,
    target,
)
from tools.fuzz_mangling import Mangler, json_bytes

START = 1000.0  # the monotonic clock at NOW
CANARY = "ca" * 32
SAME_LINE = 8  # how often one line may come of one input
LABELS = {"com.docker.compose.project": "mine", "com.docker.compose.service": "canary", "com.docker.compose.oneoff": "False",
          "com.docker.compose.container-number": "1", "com.docker.compose.config-hash": "0"}
BAD = (Verdict.DEAD, Verdict.ENGINE_DOWN, Verdict.CRASH_LOOP, Verdict.GAVE_UP)


def stamp(seconds: float) -> str:
    """The engine's way to write a moment."""
    return sentinel.datetime.fromtimestamp(seconds, sentinel.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Paper:
    """A Watchdog, and an engine that is nothing but documents."""

    def __init__(self, epoch: float = NOW - START, **settings: Any) -> None:
        self.epoch = epoch  # calendar time when the monotonic clock says 0
        self.watchdog = Watchdog(Settings(watch="all", webhook_url=sentinel.Secret(HOOK), **settings))
        self.now = START
        self.documents: dict[str, Any] = {}
        self.jobs: deque[tuple[float, sentinel.Observation]] = deque()
        self.lines: Counter[str] = Counter()
        self.notices: list[sentinel.Notice] = []
        self.broken = False  # it can't be asked
        canary = full_inspect(LABELS, Status="running", StartedAt=stamp(NOW - 3600.0), Error="")
        del canary["State"]["Health"], canary["HostConfig"]["Links"]
        self.documents[CANARY] = canary | {"Id": CANARY, "Name": "/mine-canary-1", "RestartCount": 0}

    @property
    def wall(self) -> float:
        return self.epoch + self.now

    def begin(self) -> None:
        self.watchdog.calendar.began_at, self.watchdog.calendar.offset = self.now, self.epoch
        self.do(self.watchdog.begin())

    def do(self, actions: Iterable[Action]) -> None:
        """What a daemon does, at once or a moment later."""
        for action in actions:
            match action:
                case sentinel.Log(level, text):
                    check_line(level, text)
                    self.lines[text] += 1
                case sentinel.Tell(notice) | sentinel.Amend(notice):
                    check_told(notice)
                    self.notices.append(notice)
                    notice = sentinel.replace(notice, id=1)
                    insides.notice_of(json.loads(json.dumps(insides.notice_record(notice, NOW))), NOW)
                case sentinel.Subscribe(since):
                    float(f"{since:.9f}")
                    self.jobs.append((self.now + 0.01, sentinel.StreamOpened(since, self.wall)))
                case sentinel.Recall(since, until):
                    self.jobs.append((self.now + 0.01, sentinel.Recalled(since, until)))
                case sentinel.CloseStream():
                    self.jobs.append((self.now + 0.01, sentinel.StreamClosed()))
                case sentinel.List() | sentinel.Look() | sentinel.Restart():
                    self.jobs.append((self.now + 0.01, self.answer(action)))
        for line, times in self.lines.most_common(1):
            assert times <= SAME_LINE, f"a flood of one line: {line[:80]}"

    def answer(self, job: Action) -> sentinel.Observation:
        """What `Engine` makes of the documents."""
        match job:
            case sentinel.List():
                rows = tuple(sentinel.row_of(row_for(doc)) for doc in self.documents.values())
                listed = sentinel.Listed(tuple(row for row in rows if row.id), "", "host", "engine")
                return sentinel.ListFailed("broken") if self.broken else listed
            case sentinel.Look():
                return sentinel.Looked(job.id, self.inspect(job.id))
            case sentinel.Restart():
                document = self.documents.get(job.id)
                if job.id == CANARY:
                    document["State"] |= {"Status": "running", "StartedAt": stamp(self.wall)}
                return sentinel.Restarted(job.key, job.id, sentinel.Outcome.DONE, container=self.inspect(job.id))
        raise AssertionError(job)

    def inspect(self, container_id: str) -> sentinel.Container | None:
        """As `Engine.inspect` does it."""
        if container_id not in self.documents:
            return None
        container = sentinel.container_of(self.documents[container_id])
        return container if container.id else sentinel.replace(container, id=container_id)

    def advance(self, seconds: float) -> None:
        """Let time go by; whatever is due is done. A watchdog that is due again and again at one moment spins."""
        until, steps = self.now + seconds, 0
        while True:
            due = min([self.watchdog.next_due_at() or until, *(when for when, _ in list(self.jobs)[:1])])
            if due >= until:
                break
            self.now, steps = max(self.now, due), steps + 1
            assert steps < 400 * (seconds + 5), "it spins"
            while self.jobs and self.jobs[0][0] <= self.now:
                self.do(self.watchdog.observe(self.jobs.popleft()[1], self.now))
            self.do(self.watchdog.tick(self.now))
        self.now = until
        insides.changed(self.watchdog)  # as the daemon does it

    def hear(self, document: Any) -> None:
        """An event's line came."""
        if event := sentinel.event_of(document):
            self.do(self.watchdog.observe(event, self.now))

    def canary_dies(self) -> None:
        """The proof that nothing is unwatched: red, a restart, and green."""
        mark = len(self.notices)
        state = self.documents[CANARY]["State"]
        state |= {"Status": "exited", "ExitCode": 3, "FinishedAt": stamp(self.wall)}
        self.hear({"Type": "container", "Action": "die", "timeNano": int(self.wall * 1e9),
                   "Actor": {"ID": CANARY, "Attributes": {**LABELS, "exitCode": "3", "name": "mine-canary-1"}}})
        self.advance(100.0)
        told = self.notices[mark:]
        bad = [notice for notice in told if notice.verdict in BAD]
        assert any(names(notice) & {"mine-canary-1", "canary"} for notice in bad), "it is not told"
        assert state["Status"] == "running", "it is not restarted"
        self.advance(400.0)
        assert self.watchdog.services["mine/canary/1"].phase == "up", "it is not seen to be back"

    def size(self) -> int:
        """How much it remembers."""
        memory = vars(self.watchdog) | {"seen": ()}
        return sum(len(value) for value in memory.values() if isinstance(value, dict | list | set))


def names(notice: sentinel.Notice) -> set[str]:
    """Everybody whom a notice names."""
    return {notice.name, *notice.names, *(chain for item in notice.consequences for chain in item.chain)}


def row_for(document: Any) -> Any:
    """A row of the listing that fits an inspect document, however odd."""
    status = sentinel.at(document, "State", "Status")
    return {"Id": sentinel.at(document, "Id"), "State": status, "Status": "Up 2 hours" if status == "running" else "Exited"}


# ── Timelines ─────────────────────────────────────────────────────────────────────────────────────────────────


def made_watchdog(mangler: Mangler) -> Any:
    """Steps: events of a recording and inspect documents that follow them, some odd, some out of order."""
    dice, steps, state = mangler.dice, list[Any](), dict[str, Any]()
    tape = [line["e"] for line in dice.choice(tapes()) if line["k"] == "event"]
    first = dice.randrange(max(1, len(tape) - 10))
    for event in tape[first : first + 25]:
        document = document_after(event, state)
        if dice.random() < 0.25:
            event = mangler.spoil(event)
        if document and dice.random() < 0.25:
            document = mangler.spoil(document)
        steps.append(["event", event])
        if document and dice.random() < 0.9:
            steps.append(["inspect", document])
        if dice.random() < 0.3:
            steps.append([dice.choice(("wait", "wait", "wait", "cut", "lost")), dice.choice((0.1, 2.0, 40.0))])
        if dice.random() < 0.1:
            dice.shuffle(steps)
    return json_bytes(steps).decode("utf-8", "surrogatepass")


def document_after(event: Any, state: dict[str, Any]) -> Any:
    """A container's inspect document after an event of it."""
    if event["Type"] != "container":
        return None
    attributes, when = event["Actor"].get("Attributes") or {}, event["timeNano"] / 1e9
    document = state.setdefault(event["Actor"]["ID"], full_inspect(attributes) | {
        "Id": event["Actor"]["ID"], "Name": "/" + attributes.get("name", "x")})
    document["State"]["Health"]["FailingStreak"] = 0
    if event["Action"] == "start":
        document["State"] |= {"Status": "running", "StartedAt": stamp(when)}
    elif event["Action"] == "die":
        document["State"] |= {"Status": "exited", "FinishedAt": stamp(when), "ExitCode": int(attributes.get("exitCode", 0))}
    return copy.deepcopy(document)


@target(made_watchdog)
def check_watchdog(text: Any) -> None:
    """Odd events and containers among good ones: all is told, nothing spins, and the canary is still watched."""
    try:
        steps = json.loads(text)
    except ValueError:
        return
    paper = Paper()
    paper.begin()
    paper.advance(1.0)
    for kind, value in (step for step in steps if isinstance(step, list) and len(step) == 2):
        play(paper, kind, value)
    paper.broken = False
    paper.advance(100.0)
    paper.canary_dies()


def play(paper: Paper, kind: str, value: Any) -> None:
    """One step of a timeline."""
    if kind == "event":
        paper.hear(value)
    elif kind == "inspect" and (container_id := sentinel.text_at(value, "Id")) and container_id != CANARY:
        if sentinel.container_of(value).key != sentinel.container_of(paper.documents[CANARY]).key:
            paper.documents[container_id] = value
    elif kind == "cut":
        paper.do(paper.watchdog.observe(sentinel.StreamClosed(), paper.now))
    elif kind == "lost":
        paper.broken = not paper.broken
    if kind in ("wait", "lost") and isinstance(value, int | float) and 0 <= value <= 100:
        paper.advance(float(value))


def made_growth(mangler: Mangler) -> Any:
    return [json_bytes(mangler.spoil(mangler.dice.choice(events()))).decode("utf-8", "surrogatepass"),
            made_inspect(mangler)]


@target(made_growth)
def check_growth(case: Any) -> None:
    """The same nonsense again and again, under ever new ids, leaves nothing behind once it is gone."""
    try:
        event, document = json.loads(case[0]), json.loads(case[1])
    except ValueError:
        return
    paper, sizes = Paper(remind=0.0, settle=1.0), []
    paper.begin()
    paper.advance(1.0)
    for number in range(12):
        fresh = f"{number:064x}"
        if isinstance(sentinel.at(event, "Actor"), dict):
            event["Actor"]["ID"] = fresh
        if isinstance(document, dict):
            document["Id"], document["Name"] = fresh, f"/n{number}"
            paper.documents[fresh] = copy.deepcopy(document)
        paper.hear(event)
        paper.lines.clear()
        paper.advance(0.1)
        paper.documents.pop(fresh, None)
        paper.advance(1300.0)
        sizes.append(paper.size())
    assert sizes[-1] <= sizes[3] + 2, f"it grows: {sizes}"


# ── The ledger ────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def staged(engine: Callable[[], FakeEngine], data: bytes | None = None, away: float = 0.0) -> Iterator[tuple[Any, ...]]:
    """A life with an engine, a strict Discord and a ledger, which may be there already, `away` seconds old."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sentinel-fuzz-")))
        if data is not None:
            (folder / "sentinel.db").write_bytes(data)
        clock, served = stack.enter_context(one_clock()), stack.enter_context(engine())
        clock.at += away
        discord = stack.enter_context(FakeDiscord(clock=lambda: clock.at, wall=clock.time))
        add_services(served)
        url = sentinel.webhook(discord.add_webhook().url)
        yield stack.enter_context(Life(served, folder, clock, webhook_url=url)), served, discord


@cache
def full_ledger() -> bytes:
    """A ledger with everything in it: services in every phase, outages, notices that wait, a mute, an edit."""
    with staged(FakeEngine) as (life, engine, discord):
        life.run(5)
        containers = {container.name: container for container in engine.containers.values()}
        engine.on_start(containers["loop"], crash_after=0.0, code=3)
        for name in ("loop", "db"):
            engine.crash(containers[name], 3)
        life.run(30)
        engine.stop_by_operator(containers["stopped"])
        engine.remove(containers["gone"])
        discord.refuse()
        engine.crash(containers["web"], 1)
        life.daemon.books.ledger.put("mute", "other", life.clock.time() + 600.0, life.clock.time())
        life.run(3)
        return Path(life.daemon.books.ledger.file.path).read_bytes()


def add_services(engine: FakeEngine) -> None:
    for name, depends in (("db", ""), ("web", "db:service_started:false"), ("loop", ""), ("stopped", ""), ("gone", ""),
                          ("other", "")):
        engine.add(name, project="shop", depends_on=depends, started_ago=3600.0, stop_timeout=1)
    engine.add("canary", project="mine", started_ago=3600.0, stop_timeout=1)


@cache
def full_rows() -> list[tuple[str, str, float, str]]:
    """The records of that ledger."""
    with tempfile.TemporaryDirectory(prefix="sentinel-fuzz-") as folder:
        path = Path(folder) / "sentinel.db"
        path.write_bytes(full_ledger())
        with contextlib.closing(sqlite3.connect(path)) as database:
            return [tuple(row) for row in database.execute("SELECT kind, key, at, value FROM record ORDER BY kind, key")]


def made_records(mangler: Mangler) -> Any:
    """Rows of the ledger, some odd."""
    rows: list[Any] = []
    for kind, key, at_time, text in full_rows():
        if mangler.dice.random() < 0.15 and key != "mine/canary/1":
            odd = mangler.spoil(json.loads(text))
            text = json.dumps(odd) if mangler.dice.random() < 0.9 else mangler.text()
            key = mangler.text()[:60] if mangler.dice.random() < 0.1 else key
        rows.append([kind, key, at_time, text])
    return rows


class PaperLedger(sentinel.Ledger):
    """Records without a file."""

    def __init__(self, rows: list[Any], mask: Callable[[str], str]) -> None:
        super().__init__("/nonexistent", mask)
        self.file.path = "/dev/null"  # it is there
        self.file.note_stamp()
        database = self.file.database = sqlite3.connect(":memory:", isolation_level=None)
        database.execute(sentinel.MIGRATIONS[0][0])
        for row in rows:
            with contextlib.suppress(sqlite3.Error, UnicodeError):  # what SQLite does not take is in no ledger
                database.execute("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", tuple(row))

    def open(self) -> str:
        return ""


@target(made_records)
def check_records(rows: Any) -> None:
    """A ledger whose records make no sense: what is left out has a line, what is taken can be lived with and kept again."""
    if not all(isinstance(row, list) and len(row) == 4 and all(isinstance(part, str) for part in (row[0], row[1], row[3]))
               and isinstance(row[2], float) for row in rows):
        return
    lines: list[str] = []
    with one_clock() as clock:
        settings = Settings(docker_host="unix:///nonexistent", webhook_url=sentinel.Secret(HOOK), state="/nonexistent")
        daemon = sentinel.Daemon(settings, {"NO_COLOR": "1"})
        daemon.journal.log = lambda level, text: (check_line(level, text), lines.append(text))[1]  # type: ignore[method-assign]
        daemon.books.ledger = PaperLedger(rows, daemon.journal.mask)
        assert daemon.books.ledger.database
        rows = daemon.books.ledger.database.execute("SELECT kind, key, at, value FROM record").fetchall()
        clock.now += 120.0
        daemon.remember()
        taken = {"service": set(daemon.watchdog.services), "mute": set(insides.mutes(daemon.watchdog))}
        live(daemon, clock)
        check_missing(rows, taken, lines)


def check_missing(rows: list[Any], taken: dict[str, set[str]], lines: list[str]) -> None:
    """Nothing that the ledger holds of services and mutes is lost without a word."""
    for kind, key, _, _ in rows:
        if kind in taken and key.isascii() and key.isprintable() and key not in taken[kind]:
            assert any(key[:20] in line for line in lines), f"a {kind} is lost without a line"


def live(daemon: sentinel.Daemon, clock: Clock) -> None:
    """Some minutes with what was remembered, without the threads; the engine has the canary alone."""
    paper = Paper(clock.booted)
    paper.watchdog, paper.now = daemon.watchdog, clock.now
    paper.do(daemon.watchdog.begin())
    for _ in range(20):
        paper.advance(15.0)
        clock.now = paper.now
        for notice in paper.notices:
            daemon.post.tell(notice, paper.now)
        paper.notices.clear()
        for channel, outbox in daemon.post.outboxes.items():
            if job := outbox.take(paper.now, "host", 0.0):
                check_told(*job.notices)
                daemon.post.delivered(sentinel.Delivered(channel, sentinel.Fate.SENT, message="1"), paper.now)
        daemon.books.save(daemon.watchdog, daemon.post, paper.now)
        json.dumps(sentinel.status_document(daemon.watchdog, daemon.post.outboxes, 0.0, 0.0), ensure_ascii=False).encode()
        sentinel.metrics(daemon.watchdog, daemon.post.outboxes, daemon.figures, paper.now).encode()
    if not {"all", "mine", "canary", "mine-canary-1"} & set(insides.mutes(daemon.watchdog)):
        paper.canary_dies()
    for kind, key in list(daemon.books.ledger.alive):
        assert key in daemon.books.ledger.records(kind), f"a {kind} is written so that it can't be read"


def made_history(mangler: Mangler) -> Any:
    return made_records(mangler)


@target(made_history)
def check_history(rows: Any) -> None:
    """`history`, `mute` and `explain` on a ledger whose records make no sense."""
    if not all(isinstance(row, list) and len(row) == 4 and isinstance(row[3], str) for row in rows):
        return
    ledger = PaperLedger(rows, str)
    found = insides.incidents_of(*(ledger.records(kind) for kind in ("notice", "delivery", "outbox")))
    sentinel.history_table(found, 80, 1.8e9)
    assert ledger.database
    sentinel.known_names(ledger.database)


def made_ledger(mangler: Mangler) -> bytes:
    return mangler.spoil_bytes(full_ledger(), mangler.dice.choice((1, 1, 3, 20)))


@target(made_ledger)
def check_beside(data: Any) -> None:
    """`history`, `mute` and `unmute` beside a ledger whose bytes were garbled: they work, or say why not."""
    with tempfile.TemporaryDirectory(prefix="sentinel-fuzz-") as folder:
        (Path(folder) / "sentinel.db").write_bytes(data)
        settings, words = Settings(state=folder), io.StringIO()
        with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
            for as_json in (False, True):
                assert sentinel.history(settings, {}, as_json) in (0, 1)
            for seconds in (60.0, 0.0):
                assert sentinel.mute(settings, {}, ["canary"], seconds) in (0, 1)
        assert words.getvalue()


def on_canary(life: Life, engine: FakeEngine, discord: FakeDiscord) -> None:
    """The canary dies in a whole life: red arrives, it is restarted, green arrives."""
    canary = next(container for container in engine.containers.values() if container.name == "canary")
    calls = len(engine.called("POST", canary.id))
    engine.crash(canary, 3)
    life.run(60)
    assert len(engine.called("POST", canary.id)) > calls, "it is not restarted"
    life.run(120)
    text = "\n".join(message.text for message in discord.messages)
    assert "canary is DEAD" in text or "canary" in text, "it is not told"
    assert "canary is back online" in text or "Recovered" in text, "its return is not told"
    refused = [request for request in discord.refused if request.method != "PATCH"]  # what another Discord was told
    assert discord.lint == [] and refused == [], f"Discord refuses {discord.lint} {refused}"
    lines = Counter(line[28:] for line in life.lines)
    for line in life.lines:
        check_line("info", line)
    most = lines.most_common(1)
    assert not most or most[0][1] <= SAME_LINE, f"a flood of one line: {most[0][0][:80]}"


@target(made_ledger, slow=True)
def check_ledger(data: Any) -> None:
    """A ledger whose bytes were garbled: Sentinel starts, says what is lost, and watches."""
    with staged(FakeEngine, data, 60.0) as (life, engine, discord):
        lost = {key for kind, key, _, _ in full_rows() if kind == "service"} - set(life.watchdog.services)
        life.run(30)
        on_canary(life, engine, discord)
        assert life.daemon.books.ledger.database, "it is not written any more"
        assert not lost or "ledger: " in life.said, "services are lost without a line"


# ── An engine that is out of its mind ─────────────────────────────────────────────────────────────────────────


class Mad(FakeEngine):
    """An engine that garbles some of its answers, until it is cured."""

    def __init__(self, answers: list[Any]) -> None:
        super().__init__()
        self.mad, self.answers = True, answers
        self.asked, self.spared = 0, "-"  # whose inspect is left as it is: whoever is told of other labels believes them

    def dispatch(self, request: Request) -> Reply:
        reply = super().dispatch(request)
        self.asked += 1
        if not self.mad or not self.answers or request.method == "POST":
            return reply
        kind, seed = self.answers[self.asked % len(self.answers)]
        mangler = Mangler(random.Random(f"{seed}/{self.asked}"))
        if kind == "status":
            reply.status = mangler.dice.choice((204, 301, 404, 409, 500, 503))
        elif self.spared in request.path:
            pass
        elif kind == "json" and reply.body[:1] in (b"{", b"["):
            reply.body = json_bytes(mangler.spoil(json.loads(reply.body)))
        elif kind == "bytes":
            reply.body = mangler.spoil_bytes(reply.body)
        return reply


def made_engine_life(mangler: Mangler) -> Any:
    dice = mangler.dice
    return [[dice.choice(("good", "good", "json", "json", "bytes", "status")), dice.randrange(10**6)]
            for _ in range(dice.randrange(1, 12))]


@target(made_engine_life, slow=True)
def check_engine_life(answers: Any) -> None:
    """An engine garbles its answers for minutes, and is cured: the canary is watched as ever."""
    with staged(lambda: Mad(answers)) as (life, engine, discord):
        containers = {container.name: container for container in engine.containers.values()}
        engine.spared = containers["canary"].id
        life.run(100)
        engine.crash(containers["web"], 3)
        life.run(100)
        engine.mad = False
        life.run(700)
        life.lines.clear()
        on_canary(life, engine, discord)
