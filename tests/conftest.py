"""Lets tests import Sentinel from the project's root and helpers from tests/support; says who may run beside whom."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent

# pyproject.toml says the same to pytest; this also holds when it is started with another config.
for folder in (str(TESTS), str(TESTS.parent)):
    if folder not in sys.path:
        sys.path.insert(0, folder)


#: What takes longest begins first, so that the others go on beside it.
LONG = ("test_swarm_fleet.py", "test_longrun.py", "test_kills.py", "test_after_an_outage_of_hours",
        "test_no_nonsense_breaks_anything", "test_slow_clients", "test_what_may_not_be_written", "test_walks.py",
        "test_chaos.py", "test_ten_outages", "test_an_engine_that_goes", "test_bench.py", "test_systemd.py", "test_image.py",
        "test_swarm.py", "test_outages.py")
#: Modules whose tests share what is made once: all of one run in one process, in their order.
TOGETHER = ("test_walks.py", "test_longrun.py", "test_image.py", "test_swarm.py", "test_swarm_fleet.py", "test_systemd.py",
            "test_connections.py", "test_pictures.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes the long ones come first; with one the quick ones do, as they stand."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: next((place for place, name in enumerate(LONG) if name in item.nodeid), len(LONG)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which process has which test: any the next one, but for what stays together."""
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class OneByOne(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.endswith(TOGETHER) else nodeid

    config.option.loadscopereorder = False  # the order is that of the collection
    return OneByOne(config, log)


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Quiet windows are local time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make_certificates()` makes, of an authority that only tests trust."""
    from support.certificates import CertificateError, make_certificates

    try:
        return make_certificates(tmp_path_factory.mktemp("tls"))
    except CertificateError as error:
        pytest.skip(str(error))
