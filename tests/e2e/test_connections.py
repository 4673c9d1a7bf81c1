"""Real engines behind TLS, with certificates and contexts that the docker client itself has written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import docker, engines
from support.fake_discord import FakeDiscord
from support.ports import free_port
from support.sentinel import Sentinel, do, run, stack, versions


class TlsEngine(engines.PrivateEngine):
    """An engine that also listens on TCP, for clients with a certificate (dockerd --tlsverify)."""

    def __init__(self, suite: str, certificates: Path) -> None:
        super().__init__(suite)
        self.certificates, self.port = certificates, free_port()

    @property
    def tcp(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        files = {"tlscacert": "ca.pem", "tlscert": "server-cert.pem", "tlskey": "server-key.pem"}
        options = [f"--{key}={self.certificates / name}" for key, name in files.items()]
        return [*super()._command(), f"--host={self.tcp}", "--tlsverify", *options]


@pytest.fixture(scope="module")
def behind_tls(certificates: Path) -> Iterator[TlsEngine]:
    suite = os.environ.get("SENTINEL_E2E_SUITE")
    if not suite:
        pytest.skip("only where tests/run starts private engines")
    with TlsEngine(suite, certificates) as made:
        docker.ensure_image(docker.Engine(made.host, environ=made.environ()))
        yield made


def test_a_death_behind_tls_is_told_and_healed(behind_tls: TlsEngine, certificates: Path, tmp_path: Path) -> None:
    client = docker.Engine(behind_tls.host, environ=behind_tls.environ())
    with client.project(tmp_path, stack(web={})) as project, FakeDiscord() as discord:
        project.up()
        name, hook = project.container("web"), discord.add_webhook()
        settings = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates / "client"),
                    "DISCORD_WEBHOOK_URL": hook.url, "SENTINEL_PROJECTS": project.name}  # fmt: skip
        with Sentinel(tmp_path, behind_tls.tcp, **settings) as sentinel:
            sentinel.wait_ready(name)
            do(client, name, "exit 3")
            discord.wait_for(lambda fake: fake.posts(text=f"{name} is DEAD"))
            discord.wait_for(lambda fake: fake.posts(text=f"{name} is back online"), 20)
        titles = {alert.title for message in discord.messages for alert in versions(message)}
        assert titles == {f"[DEAD] {name}", f"Recovered: {name}"}


@pytest.mark.parametrize(("folder", "verify", "code"), [
    ("client", True, 3), ("client", False, 3), ("stranger", False, 3), ("stranger", True, 3), ("nobody", True, 3)])
def test_check_sees_an_engine_behind_tls_as_its_certificates_allow(
    behind_tls: TlsEngine, certificates: Path, tmp_path: Path, folder: str, verify: bool, code: int
) -> None:
    """The engine holds nothing that is watched: that is unknown, too, but for another reason."""
    settings = {"DOCKER_CERT_PATH": str(certificates / folder), **({"DOCKER_TLS_VERIFY": "1"} if verify else {})}
    done = run(tmp_path, behind_tls.tcp, "check", **settings)
    assert done.returncode == code
    reached = folder == "client" or not verify
    assert ("nothing is watched" in done.stderr) is reached, done.stderr
    assert ("DOCKER_CERT_PATH" in done.stderr) is not reached, done.stderr


def test_without_tls_such_an_engine_is_told_from_one_that_is_away(behind_tls: TlsEngine, tmp_path: Path) -> None:
    done = run(tmp_path, behind_tls.tcp, "check")
    assert done.returncode == 3 and "HTTPS" in done.stderr, done.stderr


def test_a_context_that_the_client_wrote_is_read(behind_tls: TlsEngine, certificates: Path, tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(behind_tls.environ()["DOCKER_CONFIG"], config, symlinks=True)
    environ = {**behind_tls.environ(), "DOCKER_CONFIG": str(config)}
    environ.pop("DOCKER_HOST")
    files = ",".join(f"{key}={certificates / 'client' / name}"
                     for key, name in (("ca", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem")))  # fmt: skip
    for command in (["create", "far", "--docker", f"host={behind_tls.tcp},{files}"], ["use", "far"]):
        done = subprocess.run(["docker", "context", *command], env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    for settings in ({}, {"DOCKER_CONTEXT": "far"}):
        done = run(tmp_path, "", "check", DOCKER_CONFIG=str(config), **settings)
        assert "nothing is watched" in done.stderr, done.stderr
