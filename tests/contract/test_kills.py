"""Sentinel is killed with SIGKILL again and again while containers die and return: nothing is lost, nothing reordered."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine

PROGRAM = Path(__file__).resolve().parents[2] / "sentinel.py"
KILLS = int(os.environ.get("SENTINEL_TEST_KILLS", "12"))


def start(engine: FakeEngine, folder: Path, **settings: str) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": engine.host, "SENTINEL_STATE": str(folder / "state"),
                   "SENTINEL_SETTLE": "2s", "SENTINEL_POLL_INTERVAL": "2s", **settings}
    with open(folder / "log", "ab") as log:
        return subprocess.Popen([sys.executable, str(PROGRAM)], env=environment, stdout=log, stderr=log)


def story(fake: FakeDiscord, channel: str) -> list[tuple[str, str, str]]:
    """(incident, name, verdict) of every embed in a channel, in order."""
    found = []
    for message in fake.messages:
        if message.channel_id == channel:
            for embed in message.embeds:
                verdict, _, name = embed["title"].replace("]", ":").replace("[", "").partition(": ")
                number = re.search(r"incident (\d+)", embed.get("footer", {}).get("text", ""))
                found.append((number[1] if number else "", name, verdict))
    return found


def test_no_death_and_no_recovery_is_lost_when_sentinel_is_killed_at_any_moment(tmp_path: Path) -> None:
    seed = int(os.environ.get("SENTINEL_TEST_SEED", str(random.randrange(10**6))))
    print("seed", seed)
    chance = random.Random(seed)
    with FakeDiscord() as fake, FakeEngine() as engine:
        for key in fake.limits:
            fake.limits[key] = None
        fake.dead_rest = 0
        hook = fake.add_webhook()
        guild = fake.add_guild() if hasattr(fake, "add_guild") else "100000000000000001"
        channel = fake.add_channel("alerts", guild=guild)
        channel_id = channel if isinstance(channel, str) else channel.id
        fake.add_bot("bot-token-of-the-test", guild)
        webs = [engine.add(f"shop-web-{n}", "shop", "web", n, started_ago=100) for n in range(1, 9 + KILLS // 3)]
        settings = {"DISCORD_WEBHOOK_URL": hook.url, "DISCORD_BOT_TOKEN": "bot-token-of-the-test",
                    "DISCORD_CHANNEL_ID": channel_id, "DISCORD_API_URL": f"{fake.url}/api/v10"}
        process = start(engine, tmp_path, **settings)
        deaths: dict[str, int] = {}
        try:
            assert engine.wait_streams(1, 10) is not False
            for _ in range(KILLS):
                green = [name for _, name, verdict in story(fake, hook.channel_id) if verdict == "Recovered"]
                ready = [web for web in webs if web.status == "running" and deaths.get(web.name, 0) <= min(1, green.count(web.name))]
                for web in chance.sample(ready, min(1, len(ready))):
                    deaths[web.name] = deaths.get(web.name, 0) + 1
                    engine.crash(web, 3)
                time.sleep(chance.uniform(0, 0.6))
                process.send_signal(signal.SIGKILL)
                process.wait()
                fake.forgive()
                process = start(engine, tmp_path, **settings)
                time.sleep(chance.uniform(0, 0.5))

            def all_green(fake: FakeDiscord) -> bool:
                told = [name for _, name, verdict in story(fake, channel_id) if verdict == "Recovered"]
                return all(told.count(name) >= count for name, count in deaths.items())

            fake.wait_for(all_green, 60)
            fake.wait_for(lambda fake: set(story(fake, channel_id)) <= set(story(fake, hook.channel_id)), 20)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            print((tmp_path / "log").read_text()[-6000:])
        assert process.returncode == 0
        for where in (hook.channel_id, channel_id):
            told = list(dict.fromkeys(story(fake, where)))
            for name, count in deaths.items():
                ordered = [verdict for _, n, verdict in told if n == name]
                assert ordered.count("Recovered") == count, (name, count, ordered)
                red = [verdict for verdict in ordered if verdict != "Recovered"]
                assert len(red) >= count and ordered[0] != "Recovered" and ordered[-1] == "Recovered", (name, ordered)
        bot = story(fake, channel_id)
        assert len(bot) == len(set(bot)), "the bot told something twice"
        hooked = story(fake, hook.channel_id)
        assert len(hooked) - len(set(hooked)) <= KILLS
        assert not fake.refused, fake.refused
