"""Fixtures of the end-to-end tests: a real Docker Engine, and Compose projects on it.

tests/run finds or starts the engine and says so in the environment:

DOCKER_HOST               where the engine is (without it, the usual sockets are tried)
SENTINEL_E2E_SKIP         why there is none; all tests here are then skipped
SENTINEL_E2E_SUITE        the Debian suite of a private engine
SENTINEL_E2E_VERSION      the version that a private engine should have
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import docker, engines

_SKIPPED = pytest.StashKey[str]()


def _connect() -> tuple[docker.Engine, bool]:
    """The engine of this run, and whether it got the test image now; EngineError says why not."""
    reason = os.environ.get("SENTINEL_E2E_SKIP")
    if reason:
        raise engines.EngineError(reason)
    host = engines.find_running()
    if host is None:
        raise engines.EngineError("no Docker Engine answers (tests/run as root would start one)")
    engine = docker.Engine(host, environ=engines.client_environ(host, os.environ))
    try:
        made = docker.ensure_image(engine)
        docker.probe(engine)
    except docker.DockerError as error:
        raise engines.EngineError(f"the engine at {host} cannot run a container: {error}") from None
    return engine, made


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[docker.Engine]:
    """A real engine that has the test image."""
    try:
        found, made = _connect()
    except engines.EngineError as error:
        reason = " ".join(str(error).split())
        request.config.stash[_SKIPPED] = reason
        pytest.skip(f"no Docker Engine: {reason}")
    yield found
    if made:  # it may be somebody's own engine: leave it as it was
        with contextlib.suppress(docker.DockerError):
            found.docker("image", "rm", docker.IMAGE)


@pytest.fixture
def heavy() -> Iterator[None]:
    """For what takes all that this machine has: one such at a time, of the tests on all engines."""
    with engines.one_at_a_time():
        yield


@pytest.fixture
def own_engine() -> Iterator[Callable[..., tuple[engines.PrivateEngine, docker.Engine]]]:
    """Starts engines that a test may stop, kill, freeze and restart, as own_engine(live_restore=True)."""
    suite = os.environ.get("SENTINEL_E2E_SUITE")
    if not suite:
        pytest.skip("only where tests/run starts private engines")
    with contextlib.ExitStack() as stack:

        def start(live_restore: bool = False) -> tuple[engines.PrivateEngine, docker.Engine]:
            daemon = stack.enter_context(engines.PrivateEngine(suite, live_restore=live_restore))
            client = docker.Engine(daemon.host, environ=daemon.environ())
            docker.ensure_image(client)
            return daemon, client

        yield start


@pytest.fixture
def project(
    engine: docker.Engine, tmp_path: Path
) -> Iterator[Callable[[str], docker.Project]]:
    """Makes Compose projects from the text of a compose.yaml; they are gone after the test."""
    with contextlib.ExitStack() as stack:

        def make(yaml_text: str) -> docker.Project:
            return stack.enter_context(engine.project(tmp_path, yaml_text))

        yield make


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say loudly when nothing was tried on a real engine."""
    reason = config.stash.get(_SKIPPED, None)
    if reason:
        terminalreporter.write_sep("!", "END-TO-END TESTS SKIPPED", red=True, bold=True)
        terminalreporter.write_line(reason, red=True)
