"""A drill on a real engine: the chain from a death to the green, as somebody who trusts nothing wants to see it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support import sentinel
from support.docker import Engine, Project
from support.fake_discord import FakeDiscord
from support.sentinel import Stage, stack


@pytest.mark.parametrize("policy", ["no", "unless-stopped"])
def test_a_drill_proves_the_chain(
    engine: Engine, project: Callable[[str], Project], tmp_path: Path, policy: str
) -> None:
    made = project(stack(web={"restart": policy, "labels": {"sentinel.drill": "true"}}, clock={}))
    made.up()
    with FakeDiscord() as discord:
        hook = discord.add_webhook()
        with Stage(engine, made, discord, hook, tmp_path) as scene:
            before, other = scene.started("web"), scene.started("clock")
            settings = {"DISCORD_WEBHOOK_URL": hook.url, "SENTINEL_PROJECTS": made.name}
            done = sentinel.run(tmp_path, engine.host, "drill", **settings)
            assert done.returncode == 0, done.stdout + done.stderr
            seconds = dict(re.findall(r"^(.+?) {2,}(\d+\.\d) s", done.stdout, re.M))
            assert list(seconds) == ["seen by the daemon", "alert taken by webhook", "alert read back from webhook",
                                     "running again", "green taken by webhook"]  # fmt: skip
            assert float(seconds["seen by the daemon"]) <= float(seconds["green taken by webhook"])
            scene.runs_again("web", before)
            assert scene.titles == ["[DEAD] web (drill)", "Recovered: web (drill)"] and scene.started("clock") == other
