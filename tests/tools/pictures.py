#!/usr/bin/env python3
"""Take the README's pictures: of what whole daemons really send and print in scenes that are played here.

    python3 tests/tools/pictures.py                    all of them, into .github/pictures, light and dark
    python3 tests/tools/pictures.py --only red,fleet   some
    python3 tests/tools/pictures.py --html FOLDER      the pages alone, which need no browser

The engine is the fake one, Discord the strict one: nothing is drawn that Discord would refuse. A picture is a page of
drawing.py, shot by a Chromium without a window (Debian: chromium, fonts-inter, fonts-dejavu-core, fonts-noto-color-emoji).
Where pngquant and optipng are there, they make it smaller; one that is too large is shot again at a smaller scale.
Exits with 1 where there is no Chromium, or a picture is too large in every way.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import fcntl
import os
import pty
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [folder for folder in (str(TESTS), str(TESTS.parent)) if folder not in sys.path]

import support.fake_engine  # noqa: E402
from support.fake_discord import FakeDiscord, Message  # noqa: E402
from support.fake_engine import Container, FakeEngine, StartError  # noqa: E402
from support.lives import Clock, EngineClock, Life, one_clock  # noqa: E402
from support.system import add, until  # noqa: E402

import sentinel  # noqa: E402
from tools.drawing import COLUMNS, THEMES, WIDTH, Posted, messages, page, terminal  # noqa: E402
from tools.hurried import HURRY, FastClock  # noqa: E402

PICTURES = TESTS.parent / ".github" / "pictures"
NAMES = ("red", "recovered", "fleet", "terminal", "check")
MOST_BYTES = 60_000
COLOURS = "64"  # of a picture: more can't be told apart in it
SCALES = (1.5, 1.25, 1.0)  # the first that makes it small enough
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
         "--default-background-color=00000000")  # fmt: skip
PATIENCE = 120  # seconds for one shot, on a machine that has other things to do

BEGIN = datetime(2026, 5, 4, 14, 2, 10, tzinfo=UTC).timestamp()
DAY = 86400.0
TOKEN = "the-token-of-a-bot-that-is-none"
ALERTS, FLEET = "sentinel-alerts", "sentinel-fleet"
SPEED = 8.0  # of the clock of a program that has to wait
BLUE, GREEN = (f"\x1b[{sentinel.ANSI[colour]}m" for colour in (sentinel.BLUE, sentinel.GREEN))


class PictureError(Exception):
    """A picture can't be taken, and why."""


@dataclass
class Picture:
    """What is drawn, and what it was drawn from: messages, and what was printed."""

    body: str
    posted: list[Posted] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)


# --------------------------------------------------------------------------- what is played


@contextlib.contextmanager
def stage() -> Iterator[tuple[Clock, FakeDiscord]]:
    """A clock, and a Discord whose bot may do all; chance is the same every time."""
    clock, chance = Clock(), random.Random(7)
    clock.booted = BEGIN - clock.now
    with one_clock(clock), mock.patch.object(os, "urandom", chance.randbytes), \
            FakeDiscord(clock=lambda: clock.at, wall=clock.time) as discord:  # fmt: skip
        discord.add_bot(TOKEN)
        yield clock, discord
        if complaints := [*discord.lint, *(f"{request.path}: {request.status}" for request in discord.refused)]:
            raise PictureError(f"Discord complains: {'; '.join(complaints)}")


def service(engine: FakeEngine, name: str, needs: str = "", **facts: Any) -> Container:
    """A service of the project shop, as compose makes it."""
    labels = {"com.docker.compose.project.working_dir": "/srv/shop",
              "com.docker.compose.project.config_files": "/srv/shop/compose.yaml"}  # fmt: skip
    usual: dict[str, Any] = {"service": name, "labels": labels, "started_ago": 4 * DAY + 2.2 * 3600}
    return add(engine, f"shop-{name}-1", needs, **usual | facts)


def settings_of(discord: FakeDiscord, host: str) -> dict[str, Any]:
    """What a Sentinel with a bot is told."""
    (channel,) = [channel for channel in discord.channels.values() if channel.name == ALERTS]
    return {"greet": False, "host": host, "bot_token": sentinel.Secret(TOKEN), "channel_id": channel.id,
            "api_url": f"{discord.url}/api/v10"}  # fmt: skip


def as_it_stands(message: Message) -> Posted:
    """A message as it is read now."""
    return Posted(message.wall, message.content, copy.deepcopy(message.embeds), copy.deepcopy(message.components),
                  bool(message.history))  # fmt: skip


def run_until(life: Life, condition: Callable[[], Any], seconds: float = 120.0) -> None:
    """Let time go by until something is so."""
    end = life.now + seconds
    while not condition():
        if life.now >= end:
            raise PictureError("what was to happen in a scene has not happened")
        life.run(0.1)


def play_outage(folder: Path) -> Iterator[tuple[str, Picture]]:
    """`red`: db runs out of memory twice, and api and web die of it. `recovered`: the same once all is back."""
    with stage() as (clock, discord), FakeEngine() as engine:
        discord.add_channel(ALERTS)
        db, api = service(engine, "db", memory=512 << 20), service(engine, "api", "db")
        web = service(engine, "web", "api")
        with Life(engine, folder, clock, **settings_of(discord, "vm1")) as life:
            life.run(5.0)
            engine.log(db, "LOG:  checkpoint starting: time")
            engine.oom(db)
            life.run(0.4)
            engine.crash(api, 1)
            life.run(0.5)
            engine.crash(web, 1)
            run_until(life, lambda: db.running)
            life.run(3.4)  # which is not long enough to count as back
            engine.log(db, "LOG:  database system was not properly shut down; automatic recovery in progress",
                       "LOG:  redo starts at 0/1A3F2C80")  # fmt: skip
            (red,) = discord.messages
            told = len(red.history)
            engine.oom(db)
            run_until(life, lambda: len(red.history) > told)
            life.run(2.0)
            seen = [as_it_stands(red)]
            yield "red", Picture(messages(ALERTS, seen, clock.at), seen)
            run_until(life, lambda: len(discord.messages) > 1)
            life.run(14.0)
            seen = [as_it_stands(message) for message in discord.messages]
            yield "recovered", Picture(messages(ALERTS, seen, clock.at), seen)


def play_fleet(folder: Path) -> Iterator[tuple[str, Picture]]:
    """`fleet`: three hosts call the roll, one of them is lost."""
    with stage() as (clock, discord), contextlib.ExitStack() as stack:
        alerts = discord.add_channel(ALERTS)
        lives: list[Life] = []
        for number, others in enumerate((9, 4, 6), 1):
            engine = stack.enter_context(FakeEngine())
            for name in ("db", "api", "web", *(f"worker-{count}" for count in range(others))):
                service(engine, name)
            cron = service(engine, "cron")
            settings = {**settings_of(discord, f"vm{number}"), "fleet": FLEET, "max_restarts": 1}
            lives.append(stack.enter_context(Life(engine, folder / f"vm{number}", clock, **settings)))
            if number == 2:
                engine.on_start(cron, StartError(500, "no such device"))
                lost, down = engine, cron
        run_all(lives, clock, 12 * 60.0)
        lost.crash(down, 1)
        run_all(lives, clock, 150.0)
        run_all([lives[0], lives[2]], clock, 275.0)  # nobody hears of the second any more
        roll = [message for message in discord.posts() if discord.channels[message.channel_id].name == FLEET]
        calls = [as_it_stands(message) for message in roll if not message.deleted]
        reds = [as_it_stands(message) for message in discord.posts(alerts.id, "DARK")]
        drawn = messages(FLEET, calls, clock.at) + messages(ALERTS, reds, clock.at)
        yield "fleet", Picture(drawn, [*calls, *reds])


def run_all(lives: Sequence[Life], clock: Clock, seconds: float) -> None:
    """Let so much time go by for these, each in its turn."""
    then = clock.now + seconds
    while (due := min(life.next_due() for life in lives)) <= then:
        min(lives, key=lambda life: life.next_due()).run_until(max(due, clock.now))
    for life in lives:
        life.run_until(then)


# --------------------------------------------------------------------------- what is printed


class Window:
    """The program itself in a terminal, on a clock that is given; killed at the end of the block if it still runs."""

    def __init__(self, clock: FastClock, folder: Path, host: str, *words: str) -> None:
        self.host, self._printed = host, b""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        clocked = [str(sentinel.__file__), str(clock.speed), str(clock.began), str(clock.began_time)]
        environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": host, "HOME": str(folder), "TERM": "xterm-256color",
                       "SENTINEL_STATE": str(folder / "state"), "TZ": "UTC"}  # fmt: skip
        self.process = subprocess.Popen([sys.executable, "-c", HURRY, *clocked, *words], env=environment, cwd=folder,
                                        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)  # fmt: skip
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._ours)

    @property
    def text(self) -> str:
        """All that was printed; the fake's socket is called as a real engine's."""
        return self._printed.decode(errors="replace").replace(self.host, "unix:///var/run/docker.sock")

    def has_card(self, colour: str) -> bool:
        """Whether a card of this colour was drawn, to its end."""
        _, drawn, rest = self.text.rpartition(colour)
        return bool(drawn) and "\r\n\r\n" in rest

    def end(self) -> int:
        """Wait for its end: its exit code."""
        code = self.process.wait(30)
        self._reader.join()
        return code

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other side is gone
            while some := os.read(self._ours, 1 << 16):
                self._printed += some


@contextlib.contextmanager
def engine_at(clock: Any) -> Iterator[FakeEngine]:
    """An engine that lives by this clock, on the host vm1."""
    with mock.patch.object(support.fake_engine, "time", EngineClock(clock)), FakeEngine() as engine:
        engine.info["Name"] = "vm1"
        yield engine


def play_terminal(folder: Path) -> Iterator[tuple[str, Picture]]:
    """`terminal`: without a channel alerts are drawn there; web dies, and is back."""
    clock = FastClock(SPEED, BEGIN, DAY)
    with engine_at(clock) as engine:
        service(engine, "db")
        service(engine, "api", "db")
        web = service(engine, "web", "api")
        with Window(clock, folder, engine.host) as window:
            until(lambda: window.has_card(BLUE) and clock.time() >= BEGIN + 7.0, what=lambda: window.text)
            engine.log(web, "GET /cart 200 12 ms", "Error: connect ETIMEDOUT 10.0.3.2:5432")
            engine.crash(web, 1)
            until(lambda: window.has_card(GREEN), what=lambda: window.text)
            printed = window.text
    yield "terminal", Picture(terminal("vm1", [("python3 sentinel.py", printed)]), printed=[printed])


def play_check(folder: Path) -> Iterator[tuple[str, Picture]]:
    """`check`: a table of all that is watched, and the exit code."""
    clock = Clock()
    clock.at = BEGIN - 4 * 3600.0
    with engine_at(clock) as engine:
        db, _ = service(engine, "db", healthcheck=True, started_ago=23.1 * DAY), service(engine, "web")
        api = service(engine, "api", healthcheck=True)
        worker = service(engine, "worker", memory=256 << 20, started_ago=1.3 * DAY)
        cache, mail = service(engine, "cache", started_ago=9.8 * DAY), service(engine, "mail")
        service(engine, "migrate", labels={"sentinel.job": "true"}, running=False, started_ago=2 * DAY)
        engine.health(db, "healthy")
        deeds: list[tuple[int, Callable[[], Any]]] = [
            (47, lambda: engine.pause(cache)), (26, lambda: engine.stop_by_operator(mail, 1)),
            (12, lambda: engine.oom(worker)),
            (3, lambda: engine.health(api, "unhealthy", "curl: (28) timed out after 3001 ms"))]  # fmt: skip
        for minutes, happens in deeds:
            clock.at = BEGIN - 60.0 * minutes
            happens()
        clock.at = BEGIN
        with Window(FastClock(0.001, clock.at, DAY), folder, engine.host, "check") as window:
            code, printed = window.end(), window.text
    typed = [("python3 sentinel.py check", printed), ("echo $?", str(code))]
    yield "check", Picture(terminal("vm1", typed), printed=[printed])


SCENES: dict[Callable[[Path], Iterator[tuple[str, Picture]]], tuple[str, ...]] = {
    play_outage: ("red", "recovered"), play_fleet: ("fleet",), play_terminal: ("terminal",), play_check: ("check",)}


def play(only: Sequence[str] = NAMES) -> dict[str, Picture]:
    """Play the scenes of these pictures."""
    found: dict[str, Picture] = {}
    for scene, names in SCENES.items():
        if set(names) & set(only):
            with tempfile.TemporaryDirectory() as folder:
                found |= {name: picture for name, picture in scene(Path(folder)) if name in only}
    return found


def pages(pictures: dict[str, Picture]) -> dict[str, str]:
    """Each picture in each theme, by the name of its file without a suffix."""
    return {f"{name}-{theme}": page(picture.body, theme) for name, picture in pictures.items() for theme in THEMES}


# --------------------------------------------------------------------------- shooting


@dataclass
class Camera:
    """A Chromium, and a folder for what it needs."""

    browser: str
    folder: Path

    def ask(self, *words: str) -> str:
        """One call, with a profile of its own: what it prints."""
        with tempfile.TemporaryDirectory(dir=self.folder) as profile:
            done = subprocess.run([self.browser, *QUIET, f"--user-data-dir={profile}/new", *words], capture_output=True,
                                  text=True, timeout=PATIENCE, check=False)  # fmt: skip
        if done.returncode:
            raise PictureError(f"{self.browser} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def height(self, path: Path) -> int:
        """How high a page is."""
        found = re.search(r'<html[^>]* data-height="(\d+)"', self.ask("--dump-dom", path.as_uri()))
        if not found:
            raise PictureError(f"{path.name} does not say how high it is")
        return int(found[1])

    def shoot(self, path: Path, height: int, scale: float) -> bytes:
        """A PNG of a page, as small as can be."""
        raw, small = self.folder / "raw.png", self.folder / "small.png"
        self.ask(f"--force-device-scale-factor={scale}", f"--window-size={WIDTH},{height}", f"--screenshot={raw}",
                 path.as_uri())  # fmt: skip
        small.write_bytes(raw.read_bytes())
        if pngquant := shutil.which("pngquant"):
            subprocess.run([pngquant, "--force", "--strip", "--speed=1", "--nofs", "--output", small, COLOURS, raw],
                           check=True)  # fmt: skip
        if optipng := shutil.which("optipng"):
            subprocess.run([optipng, "-quiet", "-o4", small], check=True)
        return small.read_bytes()


def take(pictures: dict[str, Picture], browser: str, target: Path) -> None:
    """Shoot all pages, and write them down."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        camera, heights = Camera(browser, Path(folder)), dict[str, int]()
        for name, text in pages(pictures).items():
            path = Path(folder) / f"{name}.html"
            path.write_text(text, encoding="utf-8")
            picture = name.rpartition("-")[0]
            heights[picture] = heights.get(picture) or camera.height(path)  # the same in each theme
            for scale in SCALES:
                shot = camera.shoot(path, heights[picture], scale)
                if len(shot) < MOST_BYTES:
                    break
            else:
                raise PictureError(f"{name} is too large: {len(shot):,} bytes")
            (target / f"{name}.png").write_bytes(shot)
            print(f"{name}.png: {WIDTH} × {heights[picture]} at {scale}, {len(shot):,} bytes", flush=True)


def main() -> int:
    """Play, and take the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default=",".join(NAMES), help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--html", type=Path, metavar="FOLDER", help="write the pages there, and take no pictures")
    chosen = parser.parse_args()
    only = chosen.only.split(",")
    if unknown := set(only) - set(NAMES):
        parser.error(f"there is no picture {', '.join(sorted(unknown))}")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not (browser or chosen.html):
        print("no Chromium is here to take pictures with (Debian: apt install chromium); --html FOLDER writes the pages")
        return 1
    try:
        pictures = play(only)
        if chosen.html:
            chosen.html.mkdir(parents=True, exist_ok=True)
            for name, text in pages(pictures).items():
                (chosen.html / f"{name}.html").write_text(text, encoding="utf-8")
        else:
            take(pictures, str(browser), PICTURES)
    except (PictureError, AssertionError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
