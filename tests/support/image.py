"""Sentinel's image, built for real: the Dockerfile on a base that is made here, for want of a registry.

The base is a minimal Debian with its Python, made once by debootstrap (which needs root) and kept in the cache; where
SENTINEL_TEST_BASE names an image, that one, like the Dockerfile's own. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from support import engines
from support.docker import Engine

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "sentinel-test-image:latest"
#: An image that the engine has or gets, to build on; else one is made.
GIVEN = os.environ.get("SENTINEL_TEST_BASE", "")
BASE = GIVEN or "sentinel-test-base:latest"
#: Its Python is the oldest that Sentinel supports, and every debootstrap knows it.
SUITE = "bookworm"
#: Not needed to run anything, and half of all there is.
LEFT_OUT = ("./var/cache/apt/*", "./var/lib/apt/lists/*", "./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*")


def base_tar(*packages: str) -> Path:
    """A minimal Debian with these packages as a tar in the cache; EngineError says why it can't be had."""
    folder = engines.cache_root() / "images"
    tar = folder / f"{'-'.join([SUITE, *packages])}.tar"
    if not tar.is_file():
        if os.geteuid() != 0 or not debootstrap():
            raise engines.EngineError("a base image needs root and debootstrap (apt-get install debootstrap), or the"
                                      " name of one in SENTINEL_TEST_BASE")  # fmt: skip
        with engines.locked(folder):
            if not tar.is_file():
                make_base(tar, packages)
    return tar


def debootstrap() -> str | None:
    """The program, which not every PATH leads to."""
    return shutil.which("debootstrap", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def make_base(tar: Path, packages: tuple[str, ...]) -> None:
    """Bootstrap a Debian and pack it."""
    source = engines.debian_source()
    options = ["--variant=minbase", f"--include={','.join(packages)}"]
    if source.get("signed-by", "").startswith("/"):
        options.append(f"--keyring={source['signed-by']}")
    engines.log(f"making a base image of {SUITE} with {', '.join(packages)}")
    with tempfile.TemporaryDirectory(dir=tar.parent, prefix=".new-") as name:
        root, new = Path(name, "root"), Path(name, "tar")
        engines.run([debootstrap() or "debootstrap", *options, SUITE, str(root), source["uris"].split()[0]], timeout=900)
        left_out = [f"--exclude={pattern}" for pattern in LEFT_OUT]
        engines.run(["tar", "-C", str(root), *left_out, "-cf", str(new), "."], timeout=300)
        new.replace(tar)


@contextlib.contextmanager
def built(engine: Engine) -> Iterator[str]:
    """Sentinel's image on this engine; it and its base are gone afterwards."""
    if GIVEN:
        engine.docker("pull", BASE, timeout=300)
    else:
        engine.docker("import", str(base_tar("python3")), BASE, timeout=180)
    try:
        # Without a network: the build fetches nothing. The old builder does it as well as BuildKit.
        engine.docker("build", "--network", "none", "--build-arg", f"BASE={BASE}", "--build-arg", "VERSION=0.0.0+test",
                      "--tag", IMAGE, str(ROOT), timeout=300)  # fmt: skip
        yield IMAGE
    finally:
        for image in (IMAGE,) if GIVEN else (IMAGE, BASE):
            with contextlib.suppress(Exception):
                engine.docker("image", "rm", "--force", image)
