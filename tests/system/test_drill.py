"""A drill: a service is killed on purpose, and the command says what the running daemon made of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine
from support.system import Done, add, command, program, titles, until

ADD = {"labels": {"sentinel.drill": "true"}}


def drill(engine: FakeEngine, folder: Path, *arguments: str, **settings: str) -> Done:
    """The command, beside the daemon of program()."""
    return command("drill", *arguments, DOCKER_HOST=engine.host, SENTINEL_STATE=str(folder / "state"), **settings)


def test_a_drill_is_told_as_one_pings_nobody_and_its_table_has_every_channel(
    engine: FakeEngine, discord: FakeDiscord, tmp_path: Path
) -> None:
    web, _ = add(engine, "web", **ADD), add(engine, "db")
    settings = {"DISCORD_WEBHOOK_URL": discord.add_webhook().url, "DISCORD_MENTION": "@here", "SENTINEL_GREET": "false",
                "SENTINEL_DROP_DIR": str(tmp_path / "drop")}  # fmt: skip
    with program(tmp_path, engine.host, **settings):
        until(lambda: (tmp_path / "log").read_text().count("watching ") == 2)
        code, out, err = drill(engine, tmp_path, **settings)
    assert (code, err) == (0, ""), out
    for step in ("seen by the daemon", "alert taken by webhook", "alert taken by drop", "alert read back from webhook",
                 "running again", "green taken by webhook", "green taken by drop"):  # fmt: skip
        assert re.search(rf"^{step} +\d+\.\d s", out, re.M), out
    assert titles(discord) == ["[DEAD] web (drill)", "Recovered: web (drill)"]
    assert all(message.content == "" for message in discord.messages), "nobody is pinged"
    assert all("· drill" in embed["footer"]["text"] for message in discord.messages for embed in message.embeds)
    assert web.status == "running" and engine.called("POST", f"{web.id}/kill")
    code, out, _ = command("history", "--json", SENTINEL_STATE=str(tmp_path / "state"))
    assert [incident["drill"] for incident in json.loads(out)] == [True]


def test_a_drill_pings_where_that_is_asked_for_and_the_next_death_is_none(
    engine: FakeEngine, discord: FakeDiscord, tmp_path: Path
) -> None:
    web = add(engine, "web")
    settings = {"DISCORD_WEBHOOK_URL": discord.add_webhook().url, "DISCORD_MENTION": "@here",
                "SENTINEL_GREET": "false"}  # fmt: skip
    with program(tmp_path, engine.host, **settings):
        until(lambda: "watching web" in (tmp_path / "log").read_text())
        assert drill(engine, tmp_path, "web", "--yes", "--ping", **settings).code == 0
        assert "@here" in discord.messages[0].content
        engine.crash(web, 3)
        until(lambda: len(titles(discord)) >= 3)
        assert titles(discord)[2] == "[DEAD] web"


REFUSED = {
    "down": "it is exited",
    "muted": "it is muted",
    "job": "it is a job",
    "off": "its label sentinel.restart is false",
    "task": "Swarm replaces its tasks itself",
    "unit": "systemd restarts it",
    "passing": "(--rm)",
    "never": "max-restarts",
    "paused": "it is paused",
    "unwatched": "is not watched: its label sentinel.watch is false",
    "nobody": "there is no such container",
}


def test_each_refusal_has_its_reason_and_nothing_is_killed(engine: FakeEngine, tmp_path: Path) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "down": {"running": False}, "muted": {}, "job": {"labels": {"sentinel.job": "true"}},
        "off": {"labels": {"sentinel.restart": "false"}},
        "task": {"labels": {"com.docker.swarm.service.name": "task", "com.docker.swarm.task.name": "task.1.x"}},
        "unit": {"labels": {"PODMAN_SYSTEMD_UNIT": "unit.service"}}, "passing": {"auto_remove": True},
        "never": {"labels": {"sentinel.max-restarts": "0"}}, "paused": {},
        "unwatched": {"labels": {"sentinel.watch": "false"}},
    }  # fmt: skip
    for name, facts in kinds.items():
        made = add(engine, name, **facts)
        if name == "paused":
            engine.pause(made)
    with program(tmp_path, engine.host):
        until(lambda: (tmp_path / "log").read_text().count("watching ") == len(kinds) - 1)
        assert command("mute", "muted", "1h", SENTINEL_STATE=str(tmp_path / "state")).code == 0
        for name, why in REFUSED.items():
            code, out, err = drill(engine, tmp_path, name, "--yes")
            assert (code, out) == (2, "") and why in err, f"{name}: {err}"
    assert not engine.called("POST")


def test_what_others_need_and_what_no_label_allows_wants_a_yes(engine: FakeEngine, tmp_path: Path) -> None:
    add(engine, "db", **ADD)
    add(engine, "web", depends_on="db:service_started:false")
    with program(tmp_path, engine.host):
        until(lambda: (tmp_path / "log").read_text().count("watching ") == 2)
        for arguments, why in ((("db",), "web would go down with it"), (("web",), "no label sentinel.drill=true"),
                               ((), "nothing that may be hurt is up")):  # fmt: skip
            code, _, err = drill(engine, tmp_path, *arguments)
            assert code == 2 and why in err
        assert not engine.called("POST")
        assert drill(engine, tmp_path, "db", "--yes").code == 0


def test_without_a_daemon_nothing_is_killed(engine: FakeEngine, tmp_path: Path) -> None:
    add(engine, "web", **ADD)
    code, _, err = drill(engine, tmp_path)
    assert code == 1 and "no Sentinel runs here" in err and not engine.called("POST")
