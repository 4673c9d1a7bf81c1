"""Two-way Discord with real containers that die: a strict gateway asks, a real engine does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.docker import Engine, Project
from support.fake_discord import Bot, FakeDiscord, Message
from support.fake_gateway import Interaction, Member
from support.sentinel import Alert, Stage, run, stack, versions

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GaBcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"
BOSS = Member("200000000000000009", "boss", permissions=32)
WEB: dict[str, Any] = {"restart": "no"}


class Asked(Stage):
    """A stage with a bot beside the webhook."""

    bot: Bot

    @property
    def alerts(self) -> list[Alert]:
        """What the webhook was told: answers to commands are no alerts."""
        return [alert for message in self.discord.posts(self.hook.channel_id) for alert in versions(message)]

    def ask(self, command: str, **options: Any) -> Interaction:
        asked = self.discord.gateway.slash(self.bot, command, options, member=BOSS)
        asked.wait(3.0)
        return asked

    def said(self, command: str, **options: Any) -> str:
        return self.ask(command, **options).wait_text()

    def red_of_bot(self, service: str) -> Message:
        found: list[Message] = []

        def there(_: FakeDiscord) -> bool:
            posts = [message for message in self.discord.posts() if message.channel_id != self.hook.channel_id]
            found[:] = [message for message in posts if f"] {self.name(service)}" in message.text]
            return bool(found)

        self.discord.wait_for(there)
        return found[0]


@pytest.fixture
def stage(engine: Engine, project: Callable[[str], Project], tmp_path: Path) -> Iterator[Callable[..., Asked]]:
    """Makes the scene of a test, with the project up and Sentinel connected."""
    with contextlib.ExitStack() as scenes:

        def make(yaml_text: str, **settings: str) -> Asked:
            made = project(yaml_text)
            made.up()
            discord = scenes.enter_context(FakeDiscord())
            channel, bot = discord.add_channel("alerts"), discord.add_bot(TOKEN)
            folder = tmp_path / "sentinel"
            folder.mkdir()
            scene = Asked(engine, made, discord, discord.add_webhook(), folder, DISCORD_BOT_TOKEN=TOKEN,
                          DISCORD_CHANNEL_ID=channel.id, DISCORD_API_URL=f"{discord.url}/api/v10", **settings)
            scene.bot = bot
            scenes.enter_context(scene)
            discord.gateway.wait_ready(bot, 60)
            scene.sentinel.wait_log("commands and buttons work", 60)
            return scene

        yield make


def test_a_running_service_is_restarted_without_a_red(stage: Callable[..., Asked]) -> None:
    scene = stage(stack(web=WEB, db={}))
    before = scene.started("web")
    assert "restarting" in scene.said("restart", name="web")
    scene.runs_again("web", before, 20)
    scene.sentinel.wait_log("restarting")
    scene.do("db", "exit 3")  # what comes after it is told, so all that was before it has been
    scene.red("db")
    assert scene.about("web") == []


def test_what_is_down_is_started_by_the_button_and_is_green_in_the_end(stage: Callable[..., Asked]) -> None:
    scene = stage(stack(web=WEB), SENTINEL_MAX_RESTARTS="0")
    before = scene.started("web")
    scene.do("web", "echo it broke; exit 3")
    red = scene.red_of_bot("web")
    assert [button["label"] for button in red.buttons] == ["Restart now", "Logs", "Mute 1 h", "I'm on it"]
    logs = scene.discord.gateway.press(red, "Logs", member=BOSS)
    assert "it broke" in logs.wait_text()
    assert "exit 3" in scene.said("status", name="web") and "exit 3" in scene.said("why", name="web")
    pressed = scene.discord.gateway.press(red, "Restart now", member=BOSS)
    assert "starting" in pressed.wait_text() and not pressed.ephemeral
    scene.runs_again("web", before)
    scene.green("web")
    scene.discord.wait_for(lambda _: red.buttons == [] and "restart asked for by @Boss" in red.text)
    told = run(scene.sentinel.folder, scene.engine.host, "history").stdout
    assert "restart asked for by @Boss" in " ".join(told.split())


def test_a_mute_holds_and_its_end_tells(stage: Callable[..., Asked]) -> None:
    scene = stage(stack(web=WEB, db={}))
    assert "muted" in scene.said("mute", name="web", duration="1h")
    scene.do("web", "exit 3")
    scene.engine.wait(lambda: not scene.state("web")["Running"], what="its end")
    assert "it is muted" in scene.said("restart", name="web")
    scene.do("db", "exit 4")
    scene.red("db")
    assert scene.about("web") == []
    before = scene.started("web")
    assert "unmuted" in scene.said("unmute", name="web")
    scene.wait_alert("what changed", lambda alert: scene.name("web") in alert.title + alert.text)
    scene.runs_again("web", before)
