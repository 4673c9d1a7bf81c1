"""A fleet: whole daemons with engines of their own, which hear of each other through one channel of the strict fake."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.fake_discord import FakeDiscord, Message
from support.fake_engine import FakeEngine
from support.lives import Clock, Life
from support.system import add, changed, command, end, program, until

from sentinel import Secret

MAY_BE_REFUSED = True
TOKEN = "a-bot-token-for-a-fleet"
FLEET = "sentinel-fleet"
Ask = Callable[..., "Fleet"]


class Fleet:
    """Lives on one clock, each with an engine of its own."""

    def __init__(self, stack: ExitStack, discord: FakeDiscord, clock: Clock, folder: Path, **settings: Any) -> None:
        self.stack, self.discord, self.clock, self.folder, self.settings = stack, discord, clock, folder, settings
        self.engines: dict[str, FakeEngine] = {}
        self.lives: dict[str, Life] = {}
        self.alerts = discord.add_channel("alerts")

    def start(self, name: str, **settings: Any) -> Life:
        """A host's Sentinel starts, on the ledger that it has."""
        engine = self.engines.get(name)
        if engine is None:
            engine = self.engines[name] = self.stack.enter_context(FakeEngine())
            add(engine, f"web-{name}")
        given: dict[str, Any] = {"greet": False, "host": name, "fleet": FLEET, "api_url": f"{self.discord.url}/api/v10",
                                 "bot_token": TOKEN, "channel_id": self.alerts.id}  # fmt: skip
        chosen = {**given, **self.settings, **settings}
        chosen["bot_token"] = Secret(chosen["bot_token"])
        life = self.lives[name] = Life(engine, self.folder / name, self.clock, **chosen)
        life.__enter__()
        return life

    def kill(self, name: str) -> None:
        """As SIGKILL does."""
        self.lives.pop(name).__exit__(None, None, None)

    def run(self, seconds: float) -> None:
        """Let so much time go by for all."""
        then = self.clock.now + seconds
        while True:
            life = min(self.lives.values(), key=lambda life: life.next_due())
            due = life.next_due()
            if due > then:
                break
            life.run_until(max(due, self.clock.now))
        for life in self.lives.values():
            life.run_until(then)

    @property
    def told(self) -> list[str]:
        """The titles of all alerts, in order; a red that is over has the green beside it."""
        posts = self.discord.posts(self.alerts.id)
        return [embed["title"].removeprefix("✓ ") for message in posts for embed in message.embeds]

    @property
    def roll(self) -> list[Message]:
        """The roll calls, as people see them."""
        channel = next(channel for channel in self.discord.channels.values() if channel.name == FLEET)
        return [message for message in self.discord.posts(channel.id) if not message.deleted]

    def call(self, name: str) -> Message:
        """The roll call of a host."""
        (message,) = [message for message in self.roll if f"`{name}`**" in message.content]
        return message


@pytest.fixture
def fleet(discord: FakeDiscord, clock: Clock, tmp_path: Path) -> Iterator[Ask]:
    """Make a fleet of these hosts."""
    discord.add_bot(TOKEN)
    with ExitStack() as stack:
        made: list[Fleet] = []

        def make(*names: str, **settings: Any) -> Fleet:
            fleet = Fleet(stack, discord, clock, tmp_path, **settings)
            made.append(fleet)
            for name in names:
                fleet.start(name)
            return fleet

        yield make
        for each in made:
            for name in list(each.lives):
                each.kill(name)


def test_a_roll_call_is_read_by_people_and_kept_current(fleet: Ask) -> None:
    hosts = fleet("a", "b")
    hosts.run(75)
    assert len(hosts.roll) == 2
    message = hosts.call("a")
    words = r"🟢 \*\*`a`\*\* · Docker [\d.]+ · 1 service, all up · watching since <t:\d+:R> · `\w+`"
    assert re.fullmatch(words, message.content)
    assert message.mentions == ([], [], False)
    hosts.run(600)
    assert 9 <= len(message.history) <= 12 and len(hosts.roll) == 2


def test_three_hosts_tell_what_there_is_to_tell_and_nothing_else(fleet: Ask, discord: FakeDiscord) -> None:
    hosts = fleet("a", "b", "c")
    hosts.run(600)
    assert hosts.told == []
    hosts.kill("b")
    hosts.run(330)
    assert hosts.told == ["[DARK] b"]
    red = discord.posts(hosts.alerts.id)[0].embeds[0]
    assert "is DARK" in red["description"] and "**Down then:** `nothing`" in red["description"]
    hosts.start("b")
    hosts.run(150)
    assert hosts.told == ["[DARK] b", "Recovered: b"]
    hosts.run(60)
    discord.arm("status", times=100_000, status=503)  # for ten minutes
    hosts.run(600)
    discord.disarm()
    hosts.run(1800)
    assert hosts.told == ["[DARK] b", "Recovered: b"]
    hosts.lives["c"].rest()
    hosts.kill("c")
    hosts.run(3600)
    assert hosts.told == ["[DARK] b", "Recovered: b"] and "at rest" in hosts.call("c").content


def test_what_was_down_is_said_of_a_host_that_is_lost(fleet: Ask, discord: FakeDiscord) -> None:
    hosts = fleet("a", "b", restart=False)
    engine = hosts.engines["b"]
    web = next(iter(engine.containers.values()))
    hosts.run(120)
    engine.crash(web, 3)
    hosts.run(120)
    assert "1 service, 1 down: `web-b`" in hosts.call("b").content and hosts.call("b").content.startswith("🔴")
    hosts.kill("b")
    hosts.run(330)
    red = discord.posts(hosts.alerts.id, "DARK")[-1].embeds[-1]
    assert "**Down then:** `web-b`" in red["description"] and "**Last heard:** <t:" in red["description"]


def test_alerts_go_first(fleet: Ask, discord: FakeDiscord) -> None:
    hosts = fleet("a", restart=False)
    hosts.run(100)
    edits = len(hosts.call("a").history)
    discord.arm("429", path=f"{hosts.alerts.id}/messages", method="POST", retry_after=90.0)
    engine = hosts.engines["a"]
    engine.crash(next(iter(engine.containers.values())), 3)
    hosts.run(85)
    assert len(hosts.call("a").history) == edits and hosts.told == []
    hosts.run(60)
    assert hosts.told == ["[DEAD] web-a"] and len(hosts.call("a").history) > edits


def test_a_roll_call_whose_edits_are_too_many_is_made_anew(fleet: Ask, discord: FakeDiscord) -> None:
    hosts = fleet("a")
    hosts.run(120)
    before = hosts.call("a").id
    discord.arm("429", path=f"messages/{before}", method="PATCH", retry_after=90.0, code=30046)
    hosts.run(130)
    assert hosts.call("a").id != before and len(hosts.roll) == 1
    hosts.run(1200)
    assert len(hosts.call("a").history) > 15 and hosts.told == []


def test_who_may_not_read_the_channel_says_so_and_calls_nobody_dark(fleet: Ask, discord: FakeDiscord) -> None:
    hosts = fleet("a", "b")
    hosts.run(120)
    discord.take_permission(discord.bots[TOKEN], 1 << 16, hosts.roll[0].channel_id)  # Read Message History
    hosts.run(120)
    hosts.kill("b")
    hosts.run(1200)
    assert hosts.told == [] and len(hosts.roll) == 2
    assert hosts.lives["a"].said.count("Read Message History missing?") == 1


def test_a_channel_that_somebody_deletes_is_made_anew(fleet: Ask, discord: FakeDiscord) -> None:
    hosts = fleet("a")
    hosts.run(120)
    before = hosts.roll[0].channel_id
    discord.delete_channel(before)
    hosts.run(400)
    assert len(hosts.roll) == 1 and hosts.roll[0].channel_id != before and hosts.told == []


def test_a_server_and_a_name_lead_to_the_same_channel_as_an_id(fleet: Ask, discord: FakeDiscord) -> None:
    hosts = fleet("a")
    hosts.start("b", channel_id="", guild_id=discord.guild, channel="alerts")
    hosts.run(120)
    assert len(hosts.roll) == 2
    assert len([channel for channel in discord.channels.values() if channel.name == FLEET]) == 1
    hosts.start("c", fleet=hosts.roll[0].channel_id)
    hosts.run(120)
    assert len(hosts.roll) == 3


@pytest.fixture
def stamped(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are stamped by the test's clock, as those of one file server are by its own."""
    replace = os.replace

    def stamping(source: str, target: str) -> None:
        os.utime(source, (clock.at, clock.at))
        replace(source, target)

    monkeypatch.setattr(os, "replace", stamping)


def dropped(folder: Path) -> list[str]:
    """Verdict and name of all alerts in a folder, in order."""
    documents = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [f"{document['verdict']} {document['name']}" for document in documents]


@pytest.mark.usefixtures("stamped")
def test_files_do_where_discord_is_not_to_be_had(fleet: Ask, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    hosts = fleet("a", "b", "c", bot_token="", channel_id="", drop_dir=str(drop))
    hosts.run(600)
    assert len(list((drop / "fleet").glob("*.json"))) == 3 and not dropped(drop)
    hosts.kill("b")
    hosts.run(330)
    assert dropped(drop) == ["DARK b"]
    hosts.start("b")
    hosts.run(150)
    assert dropped(drop) == ["DARK b", "Recovered b"]
    hosts.lives["c"].rest()
    hosts.kill("c")
    hosts.run(3600)
    assert dropped(drop) == ["DARK b", "Recovered b"]


@pytest.mark.usefixtures("stamped")
def test_while_discord_is_away_a_host_is_heard_by_its_file_and_missed_by_it(
    fleet: Ask, discord: FakeDiscord, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    hosts = fleet("a", "b", "c", drop_dir=str(drop))
    hosts.run(600)
    assert len(hosts.roll) == 3
    discord.refuse()
    hosts.run(600)
    assert not dropped(drop)
    hosts.kill("c")
    hosts.run(330)
    assert dropped(drop) == ["DARK c"]
    discord.accept()
    hosts.run(900)
    assert hosts.told == ["[DARK] c"] and dropped(drop) == ["DARK c"]
    hosts.start("c")
    hosts.run(400)
    assert hosts.told == ["[DARK] c", "Recovered: c"] and dropped(drop) == ["DARK c", "Recovered c"]


@pytest.mark.usefixtures("stamped")
def test_who_is_cut_off_from_discord_alone_is_not_missed_where_its_file_goes_on(
    fleet: Ask, discord: FakeDiscord, tmp_path: Path
) -> None:
    hosts = fleet("a", "b", drop_dir=str(tmp_path / "drop"))
    hosts.run(600)
    hosts.kill("b")
    hosts.start("b", api_url="http://127.0.0.1:9/api/v10")  # where nobody answers
    hosts.run(1800)
    assert hosts.told == []


def test_status_and_figures_have_the_hosts(fleet: Ask) -> None:
    hosts = fleet("a", "b", "c")
    hosts.run(300)
    hosts.kill("b")
    hosts.lives["c"].rest()
    hosts.kill("c")
    hosts.run(600)
    text = hosts.lives["a"].asked("/metrics")[2]
    lines = [line for line in text.splitlines() if line.startswith("sentinel_fleet_host_up{")]
    assert lines == ['sentinel_fleet_host_up{host="a"} 1', 'sentinel_fleet_host_up{host="b"} 0']
    document = json.loads(hosts.lives["a"].asked("/status")[2])
    assert [(host["host"], host["state"]) for host in document["fleet"]] == [
        ("a", "here"), ("b", "dark"), ("c", "at rest")]  # fmt: skip


def settings_for(discord: FakeDiscord, **more: str) -> dict[str, str]:
    """What a program of a fleet is told."""
    made = [channel for channel in discord.channels.values() if channel.name == "alerts"]
    alerts = made[0] if made else discord.add_channel("alerts")
    return {"DISCORD_BOT_TOKEN": TOKEN, "DISCORD_CHANNEL_ID": alerts.id, "DISCORD_API_URL": f"{discord.url}/api/v10",
            "SENTINEL_COMMANDS": "false", "SENTINEL_FLEET": FLEET, "SENTINEL_GREET": "false", **more}  # fmt: skip


def test_a_program_calls_within_its_time_is_at_rest_when_asked_to_end_and_fleet_shows_it(
    engine: FakeEngine, discord: FakeDiscord, tmp_path: Path
) -> None:
    discord.add_bot(TOKEN)
    add(engine, "web")
    settings = settings_for(discord, SENTINEL_HOST="web-1")
    code, _, err = command("fleet", **settings)
    assert code == 1 and "there is no channel sentinel-fleet" in err
    assert not [channel for channel in discord.channels.values() if channel.name == FLEET], "looking makes nothing"
    with program(tmp_path, engine.host, **settings) as process:
        until(lambda: discord.posts(None, "web-1"), 75.0)
        code, out, _ = command("fleet", **settings)
        assert code == 0 and re.search(r"^web-1 +here +\d+s ago +1 +– +Docker", out, re.M), out
        assert end(process) == 0
    (message,) = discord.posts(None, "web-1")
    assert "at rest" in message.content and message.as_json()["flags"] & 4
    code, out, _ = command("fleet", "--json", **settings)
    (host,) = json.loads(out)
    assert code == 0 and host["state"] == "at rest" and host["host"] == "web-1"


#: The program, with time to say its last words on a busy machine.
UNHURRIED = changed("sentinel.LEAVING = 9.0")


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_who_is_asked_to_end_while_its_first_roll_call_is_made_is_at_rest(
    engine: FakeEngine, discord: FakeDiscord, tmp_path: Path, seconds: float
) -> None:
    """Found by a busy machine: it did not know of its message yet, so the others would have missed it."""
    discord.add_bot(TOKEN)
    add(engine, "web")
    discord.arm("hang", seconds=seconds, method="POST", path="/messages", after_storing=True)
    with program(tmp_path, engine.host, *UNHURRIED, **settings_for(discord, SENTINEL_HOST="web-1")) as process:
        until(lambda: discord.posts(None, "web-1"), 75.0)
        assert end(process) == 0
    (message,) = discord.posts(None, "web-1")
    assert "at rest" in message.content


@pytest.mark.parametrize("fault", [{"fault": "status", "status": 500}, {"fault": "429", "retry_after": 0.2},
                                   {"fault": "reset_before"}])  # fmt: skip
def test_the_last_words_are_said_again_where_they_were_not_taken(
    engine: FakeEngine, discord: FakeDiscord, tmp_path: Path, fault: dict[str, Any]
) -> None:
    discord.add_bot(TOKEN)
    add(engine, "web")
    with program(tmp_path, engine.host, *UNHURRIED, **settings_for(discord, SENTINEL_HOST="web-1")) as process:
        until(lambda: discord.posts(None, "web-1"), 75.0)
        until(lambda: "sentinel" in (tmp_path / "log").read_text().lower())
        discord.arm(method="PATCH", **fault)
        assert end(process) == 0
    (message,) = discord.posts(None, "web-1")
    assert "at rest" in message.content


@pytest.mark.parametrize(("settings", "said"), [
    ({}, "SENTINEL_FLEET: needs DISCORD_BOT_TOKEN, or a SENTINEL_DROP_DIR"),
    ({"DISCORD_BOT_TOKEN": TOKEN, "DISCORD_CHANNEL_ID": "1000000000000000001", "SENTINEL_FLEET": "1000000000000000001"},
     "SENTINEL_FLEET: is the alerts' channel"),
    ({"SENTINEL_DROP_DIR": "/tmp", "SENTINEL_FLEET": "x" * 101}, "SENTINEL_FLEET: "),
])  # fmt: skip
def test_settings_that_make_no_fleet_are_refused(settings: dict[str, str], said: str) -> None:
    code, _, err = command("watch", **{"SENTINEL_FLEET": FLEET, **settings})
    assert code == 78 and said in err
    assert command("fleet").code == 78


def test_a_fleet_that_can_not_be_read_is_said(engine: FakeEngine, discord: FakeDiscord) -> None:
    code, out, err = command("fleet", **settings_for(discord))
    assert (code, out) == (1, "") and "401" in err and TOKEN not in err
