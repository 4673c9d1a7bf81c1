"""What a stranger meets at a terminal: what is said at wrong input, how tables fit, what a screen leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine
from support.lives import Clock, Whole
from support.system import PROGRAM, add, command, program, titles, until

import sentinel

SHOP_LABELS = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}


class Screen:
    """A program on a terminal of 80 columns, and all that it has written."""

    def __init__(self, *arguments: str, **settings: str) -> None:
        self.main, side = pty.openpty()
        environment = {"PATH": os.environ["PATH"], "COLUMNS": "80", "TERM": "xterm", **settings}
        self.process = subprocess.Popen([sys.executable, str(PROGRAM), *arguments], stdin=side, stdout=side, stderr=side,
                                        env=environment, start_new_session=True)  # fmt: skip
        os.close(side)
        self.text = ""

    def read(self, wanted: str, timeout: float = 60.0) -> str:
        """All of it, once this has come."""
        end = time.monotonic() + timeout
        while wanted not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self.main], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    self.text += os.read(self.main, 65536).decode()
        return self.text

    def end(self) -> int:
        """What it exits with, once all that it has written is read."""
        end = time.monotonic() + 60.0
        while True:
            assert time.monotonic() < end, self.text
            try:
                data = os.read(self.main, 65536)
            except OSError:
                return self.process.wait()
            if not data:
                return self.process.wait()
            self.text += data.decode()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.main)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """A place for the ledger."""
    return {"HOME": str(tmp_path), "SENTINEL_STATE": str(tmp_path / "state")}


# ─── The terminal ─────────────────────────────────────────────────────────────────────────────────────────────


def test_cards_wrap_and_each_thing_is_said_once(engine: FakeEngine, home: dict[str, str]) -> None:
    web = add(engine, "web")
    engine.set_logs(web, ["a line that is much longer than what a terminal of eighty columns has room for, and goes on"])
    screen = Screen(DOCKER_HOST=engine.host, SENTINEL_RESTART="false", **home)
    try:
        screen.read("watching web")
        engine.crash(web, 3)
        text = screen.read("incident 1")
    finally:
        screen.close()
    assert text.count("web is DEAD") == 1, text
    assert "SENTINEL_RESTART is false" in text
    cards = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.startswith("▌")]
    assert not [line for line in cards if len(line) > 80 and "Recover: " not in line], text
    assert "and goes on" in cards[-2] and not [line for line in cards if "…" in line]
    assert not re.search(r"^\d{4}-\d\d-\d\dT", text, re.M), "local time, as on the cards"


def test_by_hand_there_are_cards_beside_discord_and_elsewhere_only_where_that_is_wanted(
    engine: FakeEngine, discord: FakeDiscord, home: dict[str, str], tmp_path: Path
) -> None:
    web, hook = add(engine, "web"), discord.add_webhook()
    screen = Screen(DOCKER_HOST=engine.host, DISCORD_WEBHOOK_URL=hook.url, SENTINEL_RESTART="false", **home)
    try:
        screen.read("watching web")
        engine.crash(web, 3)
        assert "[DEAD] web" in screen.read("incident 1")
        discord.wait_for(lambda _: "[DEAD] web" in titles(discord), 20)
    finally:
        screen.close()
    for wanted, there in (("true", True), ("", False)):
        settings = {"DISCORD_WEBHOOK_URL": hook.url, "SENTINEL_TERMINAL": wanted, "SENTINEL_RESTART": "false"}
        web, folder = add(engine, f"web{there}"), tmp_path / str(there)
        folder.mkdir()
        with program(folder, engine.host, out="out", **settings):
            until(lambda web=web, folder=folder: f"watching {web.name}" in (folder / "log").read_text())
            engine.crash(web, 3)
            discord.wait_for(lambda _, web=web: f"[DEAD] {web.name}" in titles(discord), 20)
            if there:
                until(lambda folder=folder: "[DEAD]" in (folder / "out").read_text())
        assert ("[DEAD]" in (folder / "out").read_text()) is there


def test_a_red_that_is_over_can_not_be_taken_for_one_of_now(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    web = add(engine, "web")
    with Whole(engine, tmp_path, clock, webhook_url=sentinel.webhook(discord.add_webhook().url)) as life:
        life.run(1)
        engine.crash(web, 3)
        life.run(60)
    red = discord.messages[0].embeds[0]
    assert red["title"] == "✓ [DEAD] web" and red["color"] == sentinel.DARK_GREEN
    assert red["description"].startswith("Recovered after ")


# ─── check ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_table_has_a_sum_and_shows_mutes(engine: FakeEngine, home: dict[str, str], tmp_path: Path) -> None:
    add(engine, "web")
    engine.crash(add(engine, "db"), 3)
    with program(tmp_path, engine.host, SENTINEL_RESTART="false"):
        until(lambda: "watching db" in (tmp_path / "log").read_text())
        assert command("mute", "web", "30m", **home).code == 0
        code, out, _ = command("check", DOCKER_HOST=engine.host, **home)
    assert code == 2 and out.splitlines()[-1] == "2 services: 1 ok, 1 critical"
    assert re.search(r"^web +UP +\S+ +muted for another (30m|29m\d+s)$", out, re.M), out


@pytest.mark.parametrize(("name", "said"), [
    ("SHOP", "compose writes it shop"),
    ("bare", "bare is not watched: it belongs to no compose project, and SENTINEL_WATCH is `compose`"),
    ("wep", "did you mean web?"),
])  # fmt: skip
def test_a_name_that_is_not_watched_says_what_to_do(engine: FakeEngine, name: str, said: str) -> None:
    add(engine, "web")
    engine.add("bare", started_ago=60.0)
    code, _, err = command("check", name, DOCKER_HOST=engine.host)
    assert code == 3 and said in err


def test_a_screen_is_kept_current_and_left_as_it_was(engine: FakeEngine, home: dict[str, str]) -> None:
    web = add(engine, "web")
    screen = Screen("check", "--watch", DOCKER_HOST=engine.host, **home)
    try:
        assert screen.read("1 service: 1 ok").startswith("\x1b[?1049h")
        engine.crash(web, 3)
        screen.read("1 service: 1 critical")
        os.killpg(screen.process.pid, 2)
        assert screen.end() == 0 and screen.text.endswith("\x1b[?25h\x1b[?1049l")
    finally:
        screen.close()
    code, _, err = command("check", "--watch", DOCKER_HOST=engine.host)
    assert code == 3 and "needs a terminal" in err


# ─── history ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def past(engine: FakeEngine, clock: Clock, tmp_path: Path) -> Iterator[tuple[Path, float]]:
    """A folder with a ledger, and when web died first, which has died twice and is back; db is down."""
    web, db = add(engine, "web-with-a-name-that-is-quite-long"), add(engine, "db")
    with Whole(engine, tmp_path / "state", clock, drop_dir=str(tmp_path / "drop")) as life:
        life.run(1)
        died = clock.at
        engine.crash(web, 3)
        life.run(3)
        engine.crash(web, 3)
        life.run(120)
        engine.crash(db, 4)
        life.run(0.5)
    yield tmp_path / "state", died


def test_history_fits_a_terminal_and_tells_the_first_death(
    past: tuple[Path, float], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, died = past
    settings = sentinel.Settings(state=str(folder))
    assert sentinel.history(settings, {}, True) == 0
    web, db = [each for each in json.loads(capsys.readouterr().out) if each["verdict"] == "DEAD"]
    assert web["start"] == pytest.approx(died, abs=0.5) and web["notices"][0]["at"] > died + 2, "its red is of the second"
    assert web["end"] > web["start"] and db["end"] is None and db["downtime"] is None
    assert sentinel.history(settings, {}, False) == 0
    table = capsys.readouterr().out.splitlines()
    assert max(map(len, table)) <= 80 and table[0].split() == ["#", "START", "END", "DOWN", "SERVICE", "WHAT"]
    assert re.fullmatch(r"Local time \(\S+, UTC[+-]\d{4}\)\.", table[-1])
    assert any(" open " in line and " db " in line for line in table)


def test_history_of_one_and_of_lately(
    past: tuple[Path, float], clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = sentinel.Settings(state=str(past[0]))
    sentinel.history(settings, {}, True, ["db"])
    assert {each["name"] for each in json.loads(capsys.readouterr().out)} == {"db"}
    clock.at += 86400 * 9
    sentinel.history(settings, {}, True, ["shop"], 7 * 86400.0)
    assert {each["name"] for each in json.loads(capsys.readouterr().out)} == {"db"}, "what goes on is never too old"
    sentinel.history(settings, {}, False, ["nobody"])
    assert "no incident of nobody is known" in capsys.readouterr().err


# ─── Wrong input ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (["watch", "shop"], 2, "watch takes no names: shop"),
    (["test", "shop"], 2, "test takes no names: shop"),
    (["history", "--since", "seven"], 2, "--since"),
    (["mute", "shop", "30"], 1, "30 what? Write 30m, 30s or 30h"),
    (["watch", "--watch"], 2, "expected one argument"),
    (["completion"], 2, "completion bash"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_with_a_reason(arguments: list[str], code: int, said: str) -> None:
    done = command(*arguments)
    assert done.code == code and said in done.err and done.err.count("\n") == 1


def test_each_command_has_a_help_of_its_own_with_defaults() -> None:
    whole = command("--help")
    for name in sentinel.COMMANDS:
        assert re.search(rf"^  {name}\b", whole.out, re.M)
        done = command(name, "--help")
        assert done.code == 0 and done.out.startswith(f"usage: sentinel.py {name}")
        assert "[30s]" in done.out and max(map(len, done.out.splitlines())) <= 90
    assert "--nagios" in command("check", "-h").out and "--nagios" not in command("history", "-h").out


def test_one_bad_setting_does_not_hide_the_other_warnings() -> None:
    code, _, err = command("watch", SENTINEL_SETTLE="soon", SENTINEL_POL="3", TZ="Europe/Berln")
    assert code == 78
    assert "SENTINEL_SETTLE: 'soon'" in err and "SENTINEL_POL: unknown setting" in err and "'Europe/Berln'" in err


def test_a_label_that_is_misspelt_is_warned_of_with_the_nearest(engine: FakeEngine, tmp_path: Path) -> None:
    add(engine, "web", labels={"sentinel.restrat": "false"})
    with program(tmp_path, engine.host):
        until(lambda: "watching web" in (tmp_path / "log").read_text())
    assert "label sentinel.restrat: unknown, ignored; did you mean sentinel.restart?" in (tmp_path / "log").read_text()


def test_unmute_does_not_list_what_is_over(engine: FakeEngine, home: dict[str, str], tmp_path: Path) -> None:
    add(engine, "web"), add(engine, "db"), add(engine, "cache")
    with program(tmp_path, engine.host):
        until(lambda: (tmp_path / "log").read_text().count("watching ") == 3)
        command("mute", "db", "1s", **home)
        command("mute", "cache", "1h", **home)
        until(lambda: "muted are cache" in command("unmute", "web", **home).err)


def forbidden(*_: object, **__: object) -> None:
    """What opening a file of somebody else's comes to."""
    raise PermissionError(13, "Permission denied")


def test_a_secret_that_can_not_be_read_says_who_must_be_able_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "webhook"
    secret.write_text("https://discord.com/api/webhooks/1/x")
    secret.chmod(0o000)
    monkeypatch.setenv("DISCORD_WEBHOOK_URL_FILE", str(secret))
    user = os.geteuid()
    if not user:  # to whom nothing is forbidden
        monkeypatch.setattr("builtins.open", forbidden)
    assert sentinel.main(["test"]) == 78
    assert f"must be able to read it (chown {user} FILE, chmod 400 FILE)" in capsys.readouterr().err


def test_plain_http_to_a_port_of_tls_names_the_setting() -> None:
    words = sentinel.error_text(400, b"Client sent an HTTP request to an HTTPS server.\n")
    assert "DOCKER_TLS_VERIFY" in words


def test_a_certificate_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("x")
    settings = {"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    code, _, err = command("check", **settings)
    assert code == 3 and f"there is no {tmp_path}/ca.pem" in err


# ─── explain ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_explain_never_calls_up_what_is_down_and_names_engine_and_zone(engine: FakeEngine, home: dict[str, str]) -> None:
    add(engine, "web")
    engine.crash(add(engine, "db"), 3)
    engine.add("bare", started_ago=60.0, labels={"com.docker.compose.oneoff": "True", **SHOP_LABELS})
    code, out, _ = command("explain", DOCKER_HOST=engine.host, TZ="UTC", **home)
    assert code == 0
    db = re.search(r"^db\n(?:  .*\n)*?  now: +(.*)$", out, re.M)
    web = re.search(r"^web\n(?:  .*\n)*?  now: +(.*)$", out, re.M)
    assert db and db[1].startswith("dead, exit 3") and "gave up" not in db[1] and web and web[1] == "up"
    assert f"engine: {engine.host} (Docker " in out and "local time: UTC (UTC+0000), by TZ" in out
    assert "it was made by `compose run`, whose containers are there to end" in out


# ─── Figures, removals ────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_counted_begins_with_0(engine: FakeEngine, clock: Clock, tmp_path: Path) -> None:
    add(engine, "web")
    with Whole(engine, tmp_path, clock) as life:
        life.run(1)
        text = life.asked("/metrics")[2]
    assert 'sentinel_restarts_total{project="shop",service="web"} 0\n' in text
    assert 'sentinel_deaths_total{project="shop",service="web"} 0\n' in text


def test_what_was_unhealthy_has_not_died(engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path) -> None:
    notice = sentinel.Notice(sentinel.Verdict.RECOVERED, "web", 1.0, cause=sentinel.Cause.UNHEALTHY, deaths=2, attempts=1)
    assert sentinel.outcome_lines(notice) == [("Incident", "unhealthy 2 times, 1 restart by Sentinel")]


def test_removals_of_what_nobody_named_are_one_notice_a_minute(
    engine: FakeEngine, discord: FakeDiscord, clock: Clock, tmp_path: Path
) -> None:
    made = [engine.add(f"ci-{number}", started_ago=60.0) for number in range(8)]
    web = add(engine, "web")
    settings = {"watch": "all", "settle": 1.0, "webhook_url": sentinel.webhook(discord.add_webhook().url)}
    with Whole(engine, tmp_path, clock, **settings) as life:
        life.run(1)
        for container in made:
            engine.remove(container, force=True)
            life.run(5)
        engine.remove(web, force=True)
        life.run(10)
        told = titles(discord)
        assert told[0] == "Stopped: ci-0" and "Stopped: web" in told and len(told) == 2
        life.run(60)
        assert titles(discord)[2:] == ["Stopped: 7 containers"]
    assert "`ci-1, ci-2, ci-3" in discord.messages[-1].text
