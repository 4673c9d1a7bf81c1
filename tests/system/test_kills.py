"""Sentinel is killed with SIGKILL again and again while containers die and return: nothing is lost, nothing reordered."""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
from pathlib import Path

from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine
from support.system import program, until

KILLS = int(os.environ.get("SENTINEL_TEST_KILLS", "12"))
OFTEN = {"SENTINEL_SETTLE": "2s", "SENTINEL_POLL_INTERVAL": "2s"}


SAID = re.compile(r"`([\w-]+) (is DEAD|is in a CRASH LOOP|stays down|is back online)\b")


def story(fake: FakeDiscord, channel: str) -> list[tuple[str, str, str]]:
    """(incident, name, verdict) of all that a channel was told, in order; digests name no incident."""
    found = []
    for message in fake.posts(channel):
        for embed in message.embeds:
            number = re.search(r"incident (\d+)", embed.get("footer", {}).get("text", ""))
            found += [(number[1] if number else "", name, "green" if "back" in words else "red")
                      for name, words in SAID.findall(embed["description"])]
    return found


def missing(told: list[tuple[str, str, str]], deaths: dict[str, int]) -> dict[str, list[str]]:
    """What each service's story lacks: as many greens as deaths, a red before each."""
    stories = {name: [verdict for _, n, verdict in dict.fromkeys(told) if n == name] for name in deaths}
    return {name: verdicts for name, verdicts in stories.items() if verdicts != ["red", "green"] * deaths[name]}


def test_no_death_and_no_recovery_is_lost_when_sentinel_is_killed_at_any_moment(tmp_path: Path) -> None:
    seed = int(os.environ.get("SENTINEL_TEST_SEED") or "28112026")
    print("seed", seed)
    chance = random.Random(seed)
    with FakeDiscord() as fake, FakeEngine() as engine:
        for key in fake.limits.keys() - {"nonce"}:
            fake.limits[key] = None
        fake.dead_rest = 0
        hook = fake.add_webhook()
        channel_id = fake.add_channel("alerts").id
        fake.add_bot("bot-token-of-the-test")
        places = (hook.channel_id, channel_id)
        webs = [engine.add(f"shop-web-{n}", "shop", "web", n, started_ago=100) for n in range(1, 9 + KILLS // 3)]
        settings = {"DISCORD_WEBHOOK_URL": hook.url, "DISCORD_BOT_TOKEN": "bot-token-of-the-test",
                    "DISCORD_CHANNEL_ID": channel_id, "DISCORD_API_URL": f"{fake.url}/api/v10", **OFTEN}
        deaths: dict[str, int] = {}
        log = tmp_path / "log"
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: print(log.read_text()[-6000:]))
            process = stack.enter_context(program(tmp_path, engine.host, **settings))
            # The first life has nothing to go on: what dies before it has looked was never seen alive.
            until(lambda: all(f"watching {web.name} " in log.read_text() for web in webs))
            for _ in range(KILLS):
                green = [name for _, name, verdict in story(fake, hook.channel_id) if verdict == "green"]
                ready = [web for web in webs if web.status == "running" and deaths.get(web.name, 0) <= min(1,
                                                                                                           green.count(web.name))]
                for web in chance.sample(ready, min(1, len(ready))):
                    deaths[web.name] = deaths.get(web.name, 0) + 1
                    engine.crash(web, 3)
                time.sleep(chance.uniform(0, 0.6))
                process.kill()
                process.wait()
                fake.forgive()
                process = stack.enter_context(program(tmp_path, engine.host, **settings))
                time.sleep(chance.uniform(0, 0.5))

            with contextlib.suppress(AssertionError):  # what is missing then is said below, in fewer words
                fake.wait_for(lambda fake: not any(missing(story(fake, where), deaths) for where in places), 60)
            process.terminate()
            assert process.wait(10) == 0
        assert [missing(story(fake, where), deaths) for where in places] == [{}, {}]
        bot = story(fake, channel_id)
        assert len(bot) == len(set(bot)), "the bot told something twice"
        hooked = story(fake, hook.channel_id)
        assert len(hooked) - len(set(hooked)) <= KILLS
        assert not fake.refused and not fake.lint, fake.story()
