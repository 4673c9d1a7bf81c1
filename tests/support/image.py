"""Sentinel's image, built for real: the Dockerfile on a base that is made here, since no registry of images is reached.

The base is a minimal Debian with its Python, made once by debootstrap (which needs root) and kept in the cache.
Standard library only.
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
BASE, IMAGE = "sentinel-test-base:latest", "sentinel-test-image:latest"
#: Its Python is the oldest that Sentinel supports, and every debootstrap knows it.
SUITE = "bookworm"
#: Not needed to run anything, and half of all there is.
LEFT_OUT = ("./var/cache/apt/*", "./var/lib/apt/lists/*", "./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*")


def base_tar() -> Path:
    """The base's files as a tar in the cache; EngineError says why it can't be had."""
    folder = engines.cache_root() / "images"
    tar = folder / f"{SUITE}-python3.tar"
    if not tar.is_file():
        if os.geteuid() != 0 or not shutil.which("debootstrap"):
            raise engines.EngineError("a base image needs root and debootstrap (apt-get install debootstrap)")
        with engines.locked(folder):
            if not tar.is_file():
                make_base(tar)
    return tar


def make_base(tar: Path) -> None:
    """Bootstrap a Debian and pack it."""
    source = engines.debian_source()
    options = ["--variant=minbase", "--include=python3"]
    if source.get("signed-by", "").startswith("/"):
        options.append(f"--keyring={source['signed-by']}")
    engines.log(f"making a base image of {SUITE}")
    with tempfile.TemporaryDirectory(dir=tar.parent, prefix=".new-") as name:
        root, new = Path(name, "root"), Path(name, "tar")
        engines.run(["debootstrap", *options, SUITE, str(root), source["uris"].split()[0]], timeout=900)
        left_out = [f"--exclude={pattern}" for pattern in LEFT_OUT]
        engines.run(["tar", "-C", str(root), *left_out, "-cf", str(new), "."], timeout=300)
        new.replace(tar)


@contextlib.contextmanager
def built(engine: Engine) -> Iterator[str]:
    """Sentinel's image on this engine; it and its base are gone afterwards."""
    engine.docker("import", str(base_tar()), BASE, timeout=180)
    try:
        # Without a network: the build fetches nothing. The old builder does it as well as BuildKit.
        engine.docker("build", "--network", "none", "--build-arg", f"BASE={BASE}", "--build-arg", "VERSION=0.0.0+test",
                      "--tag", IMAGE, str(ROOT), timeout=300)  # fmt: skip
        yield IMAGE
    finally:
        for image in (IMAGE, BASE):
            with contextlib.suppress(Exception):
                engine.docker("image", "rm", "--force", image)
