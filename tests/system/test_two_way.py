"""Two-way Discord: commands, buttons and presence, by the program itself against the strict gateway."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.fake_discord import Bot, Channel, FakeDiscord, Message
from support.fake_engine import FakeEngine, StartError
from support.fake_gateway import FakeGateway, Interaction, Member
from support.system import add, command, end, program, titles, until

MAY_BE_REFUSED = True  # an answer that another Sentinel was quicker with, a server without the bot

# What two Sentinels with one token, or two lives of one within 5 s, can't know of each other.
MAY_BE_BROKEN = ("IDENTIFY again within 5 s",)

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GaBcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"
BOSS = Member("200000000000000009", "boss", permissions=32)
ANN = Member("200000000000000002", "ann")


@dataclass
class Two:
    """Both ends of the wire, and the program between them."""

    folder: Path
    engine: FakeEngine
    discord: FakeDiscord
    bot: Bot
    channel: Channel
    settings: dict[str, str]

    @property
    def gateway(self) -> FakeGateway:
        return self.discord.gateway

    @contextlib.contextmanager
    def sentinel(self, ready: bool = True, log: str = "log", **settings: str) -> Iterator[Any]:
        news = 0 if (self.folder / "state/sentinel.db").exists() else len(self.engine.containers)
        with program(self.folder, self.engine.host, log=log, **{**self.settings, **settings}) as process:
            if ready:
                self.gateway.wait_ready(self.bot, 60)
                until(lambda: "commands and buttons work" in self.log(log))
                until(lambda: self.log(log).count(" watching ") >= news)
            yield process

    def log(self, name: str = "log") -> str:
        return (self.folder / name).read_text(errors="replace")

    def ask(self, command: str, who: Member = BOSS, /, **options: Any) -> Interaction:
        asked = self.gateway.slash(self.bot, command, options, member=who)
        asked.wait(4.0)
        return asked

    def said(self, command: str, who: Member = BOSS, /, **options: Any) -> str:
        return self.ask(command, who, **options).wait_text()

    def red(self, name: str) -> Message:
        def found() -> Message | None:
            return next((message for message in self.discord.messages if f"] {name}" in message.text), None)

        until(found)
        message = found()
        assert message
        return message

    def labels(self, message: Message) -> list[str]:
        return [button["label"] for button in message.buttons]


@pytest.fixture
def two(tmp_path: Path, engine: FakeEngine, discord: FakeDiscord) -> Iterator[Two]:
    channel = discord.add_channel("alerts")
    bot = discord.add_bot(TOKEN)
    settings = {"DISCORD_BOT_TOKEN": TOKEN, "DISCORD_CHANNEL_ID": channel.id, "DISCORD_API_URL": f"{discord.url}/api/v10",
                "SENTINEL_GREET": "false"}
    yield Two(tmp_path, engine, discord, bot, channel, settings)
    assert [word for word in discord.gateway.violations if word not in MAY_BE_BROKEN] == []
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), f"the token is in {path}"


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_status_says_what_is_down_and_what_is_done_about_it_else_a_line_a_project(two: Two) -> None:
    web = add(two.engine, "web")
    add(two.engine, "db")
    two.engine.add("cache-1", "other", "cache", started_ago=100.0)
    with two.sentinel(SENTINEL_RESTART="false"):
        asked = two.ask("status", ANN)
        assert asked.ephemeral and "none is down" in asked.wait_text()
        assert "`shop`: 2 up" in asked.wait_text() and "`other`: 1 up" in asked.wait_text()
        two.engine.crash(web, 3)
        two.red("web")
        text = two.said("status", ANN)
        assert "web is DEAD — exit 3" in text and "is false" in text and re.search(r"<t:\d+:R>", text)
        assert "web is DEAD" in two.said("status", ANN, name="web") and "UP" in two.said("status", ANN, name="db")
        why = two.said("why", ANN, name="web")
        assert "exit 3" in why and "is false" in why
        assert "web" in two.said("history", ANN) and "DEAD, open" in two.said("history", ANN, name="web", days=1)
        assert "No incident of `db`" in two.said("history", ANN, name="db")


def test_logs_come_in_a_code_block_or_as_a_file_without_secrets(two: Two) -> None:
    short, long = add(two.engine, "short"), add(two.engine, "long")
    two.engine.log(short, "password=hunter2 @everyone ``` <@1>")
    two.engine.log(long, *(f"line {number} " + "x" * 30 for number in range(150)))
    with two.sentinel():
        asked = two.ask("logs", name="short")
        text = asked.wait_text()
        assert asked.ephemeral and "hunter2" not in text and text.count("```") == 2 and "@everyone" in text
        asked = two.ask("logs", name="long", lines=120)
        asked.wait_text()
        (file,) = asked.files
        assert file.name == "long.log" and file.data.decode().count("\n") == 120 and "line 149" in file.data.decode()


def test_names_are_completed_told_apart_and_not_invented(two: Two) -> None:
    two.engine.add("shop-web-1", "shop", "web", started_ago=9.0)
    two.engine.add("blog-web-1", "blog", "web", started_ago=9.0)
    two.engine.add("we__ird*`name", "odd", "odd", started_ago=9.0)
    with two.sentinel():
        typed = two.gateway.autocomplete(two.bot, "status", "name", "web")
        assert [choice["value"] for choice in typed.choices] == ["blog-web-1", "shop-web-1"]
        text = two.said("status", name="web")
        assert "means several" in text and "`shop-web-1`" in text and "`blog-web-1`" in text
        assert "UP" in two.said("status", name="shop-web-1")
        began = time.monotonic()
        asked = two.ask("why", name="shop-web-2")
        assert time.monotonic() - began > 1.4 and asked.ephemeral, "another Sentinel might know it"
        assert "did you mean shop-web-1" in asked.wait_text()
        assert "we__ird" in two.said("status", name="odd")


@pytest.mark.parametrize("seconds", [0.05, 0.5])
def test_logs_arrive_however_slowly_discord_takes_the_first_answer(two: Two, seconds: float) -> None:
    web = add(two.engine, "web")
    two.engine.log(web, "here it is")
    with two.sentinel():
        two.discord.arm("hang", times=1, path="callback", seconds=seconds)
        assert "here it is" in two.said("logs", name="web")


def test_logs_of_the_run_before_can_be_read(two: Two) -> None:
    web = add(two.engine, "web")
    with two.sentinel():
        two.engine.log(web, "it broke here")
        two.engine.crash(web, 3)
        until(lambda: web.status == "running")
        assert "it broke here" in two.said("logs", name="web")


def test_why_tells_the_last_death_of_what_is_back(two: Two) -> None:
    web = add(two.engine, "web")
    with two.sentinel():
        two.engine.crash(web, 7)
        until(lambda: any("Recovered" in title for title in titles(two.discord)))
        until(lambda: "**Last:**" in two.said("why", name="web"))
        assert "exit 7" in two.said("why", name="web")


@pytest.mark.parametrize(("fault", "facts"), [
    ("status", {"status": 500}), ("429", {"retry_after": 0.3}), ("reset_before", {})], ids=["500", "429", "reset"])
def test_an_answer_that_discord_does_not_take_at_once_is_said_again(two: Two, fault: str, facts: dict[str, Any]) -> None:
    web = add(two.engine, "web")
    two.engine.log(web, "here it is")
    with two.sentinel():
        two.discord.arm(fault, times=2, path="callback", **facts)
        assert "UP" in two.said("status", name="web")
        two.discord.arm(fault, times=2, path="original", **facts)
        assert "here it is" in two.said("logs", name="web")
        two.discord.forgive()


# ── Acting ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restart_that_somebody_asks_for_is_no_red_and_stands_in_the_history(two: Two) -> None:
    web = add(two.engine, "web")
    with two.sentinel():
        asked = two.ask("restart", name="web")
        assert not asked.ephemeral and asked.wait_text() == "`@Boss` asked: restarting `web` on `fakehost` now."
        until(lambda: len(two.engine.called("POST")) == 1)
        until(lambda: web.status == "running")
        until(lambda: "/restart" in two.engine.called("POST")[0].path)
        assert titles(two.discord) == []
        assert "restart asked for by @Boss" in command("history", SENTINEL_STATE=str(two.folder / "state")).out


def test_what_is_down_is_started_with_a_new_budget_and_the_red_says_who_asked(two: Two) -> None:
    web = add(two.engine, "web")
    two.engine.on_start(web, StartError(500, "no such device"))
    with two.sentinel(SENTINEL_MAX_RESTARTS="1"):
        two.engine.crash(web, 3)
        red = two.red("web")
        until(lambda: "Restart now" in two.labels(red))
        two.engine.on_start(web)
        pressed = two.gateway.press(red, "Restart now", member=BOSS)
        assert "starting `web`" in pressed.wait_text()
        until(lambda: web.status == "running")
        until(lambda: "restart asked for by @Boss" in red.text)
        until(lambda: any("Recovered" in title for title in titles(two.discord)))
        until(lambda: two.labels(red) == [])


def test_muting_is_the_same_act_as_on_the_command_line(two: Two) -> None:
    web = add(two.engine, "web")
    state = {"SENTINEL_STATE": str(two.folder / "state")}
    with two.sentinel():
        asked = two.ask("mute", name="shop", duration="30m")
        assert not asked.ephemeral and "Muted now: `shop`" in asked.wait_text()
        two.engine.crash(web, 3)
        until(lambda: two.gateway.presence(two.bot) and two.gateway.presence(two.bot)["status"] == "idle")  # type: ignore[index]
        assert "it is muted" in two.said("restart", name="web")
        assert command("unmute", "shop", **state).code == 0
        two.red("web")
        assert "No mute names `shop`" in two.said("unmute", name="shop")
        assert "no duration" in two.said("mute", name="web", duration="soon")
        assert "Muted now: `all`" in two.said("mute", name="all", duration="1h")
        assert "Nothing is muted" in two.said("unmute", name="all")


def test_what_was_done_is_told_also_where_the_answer_came_too_late(two: Two) -> None:
    web = add(two.engine, "web")
    with two.sentinel():
        two.discord.arm("hang", times=1, path="callback", seconds=4.0)
        two.gateway.slash(two.bot, "restart", {"name": "web"}, member=BOSS)
        until(lambda: any("`@Boss` asked: restarting `web`" in message.text for message in two.discord.messages))
        until(lambda: web.status == "running" and len(two.engine.called("POST")) == 1)


def test_a_restart_that_the_engine_refuses_is_no_red(two: Two) -> None:
    web = add(two.engine, "web")
    with two.sentinel():
        two.engine.refuse(f"/containers/{web.id}/restart", 500, {"message": "device or resource busy"})
        two.said("restart", name="web")
        until(lambda: any("was not done: device or resource busy" in message.text for message in two.discord.messages))
        assert not any("DEAD" in title for title in titles(two.discord))


def test_what_somebody_has_just_stopped_is_started_and_nobody_is_told_of_a_stop(two: Two) -> None:
    web = add(two.engine, "web")
    with two.sentinel(SENTINEL_SETTLE="3s"):
        two.engine.stop_by_operator(web)
        until(lambda: "`@Boss` asked" in two.said("restart", name="web"))  # though its end may not be known yet
        until(lambda: web.status == "running")
        until(lambda: shown(two) == ("online", "1 service"))
        assert titles(two.discord) == []


def test_reasons_against_a_restart_are_those_that_hold_otherwise(two: Two) -> None:
    two.engine.add("kept", "shop", "kept", started_ago=9.0, labels={"sentinel.restart": "false"})
    two.engine.add("job-1", "shop", "job", started_ago=9.0, labels={"sentinel.job": "true"})
    paused = add(two.engine, "paused")
    with two.sentinel():
        two.engine.pause(paused)
        assert "its label sentinel.restart is false" in two.said("restart", name="kept")
        assert "it is a job" in two.said("restart", name="job")
        until(lambda: "it is paused" in two.said("restart", name="paused"))
        assert two.engine.called("POST") == []


# ── Who may ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_may_not_act_is_told_whom_to_ask(two: Two) -> None:
    add(two.engine, "web")
    with two.sentinel():
        for name, options in (("restart", {}), ("logs", {}), ("mute", {"duration": "1h"}), ("unmute", {})):
            asked = two.gateway.slash(two.bot, name, {"name": "web", **options}, member=ANN, force=True)
            assert "Manage Server" in asked.wait_text() and asked.ephemeral
        assert two.engine.called("POST") == []


def test_operators_are_whom_the_settings_name_and_nobody_else(two: Two) -> None:
    web = add(two.engine, "web")
    with two.sentinel(DISCORD_OPERATORS="<@&200000000000000077>, 200000000000000088"):
        guarded = [each for each in two.bot.registered if each["default_member_permissions"]]
        assert guarded == [], "Discord hides nothing: Sentinel refuses by itself"
        assert "DISCORD_OPERATORS" in two.said("restart", BOSS, name="web"), "Manage Server is not enough then"
        assert "asked" in two.said("restart", Member("200000000000000088", "carl"), name="web")
        until(lambda: web.status == "running" and len(two.engine.called("POST")) == 1)
        until(lambda: "asked" in two.said("restart", Member("5" * 18, "dora", ("200000000000000077",)), name="web"))


def test_nothing_is_done_for_another_server_a_private_message_or_nobody(two: Two) -> None:
    add(two.engine, "web")
    with two.sentinel():
        asks: list[Callable[[], Interaction]] = [
            lambda: two.gateway.slash(two.bot, "restart", {"name": "web"}, member=BOSS, guild="3" * 18, force=True),
            lambda: two.gateway.slash(two.bot, "restart", {"name": "web"}, member=None, user=BOSS, force=True),
        ]
        for ask in asks:
            asked = ask()
            assert "there alone" in asked.wait_text() and asked.ephemeral
        assert two.engine.called("POST") == []


# ── Buttons ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_buttons_follow_the_incident_and_end_with_it(two: Two) -> None:
    web = add(two.engine, "web")
    with two.sentinel(SENTINEL_RESTART="false"):
        two.engine.crash(web, 3)
        red = two.red("web")
        assert two.labels(red) == ["Logs", "Mute 1 h", "I'm on it"], "none for what may not be done"
        pressed = two.gateway.press(red, "I'm on it", member=BOSS)
        assert "is on it" in pressed.wait_text() and not pressed.ephemeral
        until(lambda: "`@Boss`" in red.text and "I'm on it" not in two.labels(red))
        again = two.gateway.press(red, pressed.payload["data"]["custom_id"], member=BOSS, force=True)
        assert "on it already" in again.wait_text() and again.ephemeral
        old = red.buttons[0]["custom_id"]
        two.engine.start_by_operator(web)
        until(lambda: two.labels(red) == [])
        late = two.gateway.press(red, old, member=BOSS, force=True)
        assert "over" in late.wait_text() and late.ephemeral


def test_a_button_of_another_ledger_is_known_as_such(two: Two) -> None:
    web = add(two.engine, "web")
    with two.sentinel(SENTINEL_RESTART="false"):
        two.engine.crash(web, 3)
        old = two.red("web").buttons[0]["custom_id"]
    with two.sentinel(SENTINEL_RESTART="false", SENTINEL_STATE=str(two.folder / "another"), log="second"):
        red = two.red("web")
        pressed = two.gateway.press(red, old, member=BOSS, force=True)
        assert "another Sentinel's" in pressed.wait_text() and pressed.ephemeral


def test_a_webhook_has_no_buttons_and_says_what_to_type(two: Two) -> None:
    hook = two.discord.add_webhook()
    web = add(two.engine, "web")
    with two.sentinel(DISCORD_WEBHOOK_URL=hook.url, SENTINEL_RESTART="false"):
        two.engine.crash(web, 3)
        until(lambda: two.discord.posts(hook.channel_id) and two.discord.posts(two.channel.id))
        (typed,), (pressed,) = two.discord.posts(hook.channel_id), two.discord.posts(two.channel.id)
        assert "/logs web" in typed.text and typed.buttons == []
        assert "/logs web" not in pressed.text and two.labels(pressed)


# ── Presence, and the way there ───────────────────────────────────────────────────────────────────────────────


def shown(two: Two) -> tuple[str, str]:
    presence = two.gateway.presence(two.bot)
    return (presence["status"], presence["activities"][0]["name"]) if presence else ("", "")


def test_presence_is_a_board(two: Two) -> None:
    web = add(two.engine, "web")
    add(two.engine, "db")
    with two.sentinel(SENTINEL_RESTART="false") as process:
        until(lambda: shown(two) == ("online", "2 services"))
        two.engine.crash(web, 3)
        until(lambda: shown(two) == ("dnd", "1 down: web"))
        two.engine.start_by_operator(web)
        until(lambda: shown(two) == ("online", "2 services"))
        two.said("mute", name="db", duration="1h")
        until(lambda: shown(two)[0] == "idle")
        assert end(process) == 0
        assert two.gateway.closes[-1].code in (1000, 1001)


def test_a_wrong_token_is_said_once_and_alerts_go_on(two: Two) -> None:
    hook = two.discord.add_webhook()
    web = add(two.engine, "web")
    with two.sentinel(ready=False, DISCORD_BOT_TOKEN=TOKEN[:-4] + "zzzz", DISCORD_WEBHOOK_URL=hook.url):
        until(lambda: "token is wrong" in two.log() and "watching web" in two.log())
        two.engine.crash(web, 3)
        until(lambda: two.discord.posts(hook.channel_id))
        said = [line for line in two.log().splitlines() if "discord:" in line]
        assert len(said) == 1 and "alerts go on" in said[0], said


def test_a_bot_without_the_scope_is_told_how_to_be_invited(tmp_path: Path, engine: FakeEngine, discord: FakeDiscord) -> None:
    channel = discord.add_channel("alerts")
    bot = discord.add_bot(TOKEN, commands=False)
    settings = {"DISCORD_BOT_TOKEN": TOKEN, "DISCORD_CHANNEL_ID": channel.id, "DISCORD_API_URL": f"{discord.url}/api/v10"}
    with program(tmp_path, engine.host, **settings):
        discord.gateway.wait_ready(bot, 60)
        until(lambda: "invite it anew by https://" in (tmp_path / "log").read_text())
        assert "commands and buttons work" not in (tmp_path / "log").read_text()
    discord.forgive()
    tried = command("test", **settings)
    assert "the gateway answers, so buttons will work" in tried.out and "applications.commands" in tried.out
    assert re.search(r"client_id=\d+&scope=bot\+applications\.commands&permissions=\d+", tried.out), tried.out
    assert tried.code == 0 and TOKEN not in tried.out


def test_a_gateway_that_goes_away_and_returns_is_a_line_or_two(two: Two) -> None:
    add(two.engine, "web")
    with two.sentinel():
        two.gateway.refuse()
        two.gateway.close_all(None)
        until(lambda: "can't be had" in two.log())
        two.gateway.accept()
        two.gateway.wait_ready(two.bot, 60)
        assert "UP" in two.said("status", name="web")
        assert len([line for line in two.log().splitlines() if "discord:" in line]) == 2, "a return is said once it holds"


@pytest.mark.parametrize("how", ["reconnect", "invalid", "resumable", "reset", "4000", "4009"])
def test_it_comes_back_from_whatever_the_gateway_does(two: Two, how: str) -> None:
    add(two.engine, "web")
    with two.sentinel():
        before = len(two.gateway.resumes), len(two.gateway.identifies)
        deeds: dict[str, Callable[[], object]] = {
            "reconnect": two.gateway.reconnect, "invalid": two.gateway.invalidate,
            "resumable": lambda: two.gateway.invalidate(resumable=True), "reset": lambda: two.gateway.close_all(None)}
        deeds.get(how, lambda: two.gateway.close_all(int(how)))()
        until(lambda: (len(two.gateway.resumes), len(two.gateway.identifies)) > before
              or len(two.gateway.identifies) > before[1])
        until(lambda: two.gateway.connected(two.bot) == 1)
        assert "UP" in two.said("status", name="web")


def test_nothing_is_registered_anew_where_it_is_as_it_should_be(two: Two) -> None:
    add(two.engine, "web")
    for life in ("one", "two"):
        with two.sentinel(log=life):
            assert two.said("status", name="web")
    puts = [request for request in two.discord.requests if request.method == "PUT"]
    assert len(puts) == 1, "what Discord drops from it, or adds, is no difference"


def test_two_sentinels_with_one_token_share_the_work(two: Two, tmp_path: Path) -> None:
    add(two.engine, "web")
    with FakeEngine() as other, contextlib.ExitStack() as stack:
        other.add("far", "away", "far", started_ago=9.0)
        stack.enter_context(two.sentinel())
        second = tmp_path / "second"
        second.mkdir()
        stack.enter_context(program(second, other.host, **two.settings))
        two.gateway.wait_ready(two.bot, 60, count=2)
        until(lambda: "commands and buttons work" in (second / "log").read_text())
        for name in ("web", "far"):
            asked = two.ask("status", name=name)
            assert "UP" in asked.wait_text() and asked.followups == []
        for name in ("web", "far"):
            assert two.gateway.autocomplete(two.bot, "why", "name", name).choices == [{"name": name, "value": name}]
        asked = two.ask("status")
        until(lambda: len(asked.followups) == 1)
        assert asked.followups[0].ephemeral, "each says how it stands, and to who asked alone"
        asked = two.ask("why", name="nobody")
        assert "Nothing that is watched" in asked.wait_text()
        until(lambda: len(asked.callbacks) == 2)
        assert asked.followups == []
        other.heal()


def test_the_switch_switches_it_off(two: Two) -> None:
    web = add(two.engine, "web")
    with two.sentinel(ready=False, SENTINEL_COMMANDS="false"):
        until(lambda: "watching web" in two.log())
        two.engine.crash(web, 3)
        assert two.labels(two.red("web")) == []
        assert not [request for request in two.discord.requests if "gateway" in request.path]


def test_a_channel_found_by_name_and_deleted_is_made_anew(two: Two) -> None:
    web, db = add(two.engine, "web"), add(two.engine, "db")
    two.settings.pop("DISCORD_CHANNEL_ID")
    with two.sentinel(DISCORD_GUILD_ID=two.discord.guild, DISCORD_CHANNEL="ops", SENTINEL_RESTART="false"):
        two.engine.crash(web, 3)
        first = two.red("web").channel_id
        two.discord.delete_channel(first)
        two.engine.crash(db, 3)
        assert two.red("db").channel_id != first
