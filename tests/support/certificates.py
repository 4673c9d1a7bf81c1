"""Certificates made by openssl: an authority, a server's and a client's, in folders as DOCKER_CERT_PATH has them."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path


class CertificateError(Exception):
    """There is no openssl that can make certificates here."""


def openssl(*arguments: object) -> None:
    """Run a command of openssl."""
    try:
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    except OSError as error:
        raise CertificateError(f"openssl is needed to make certificates: {error}") from None
    if done.returncode:
        raise CertificateError(f"openssl is needed to make certificates: {done.stderr}")


def authority(folder: Path) -> None:
    """ca.pem, with which the others are signed, and its key."""
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj", "/CN=test authority", "-addext",
            "keyUsage=critical,keyCertSign", "-keyout", folder / "ca-key.pem", "-out", folder / "ca.pem")  # fmt: skip


def signed(folder: Path, name: str, extension: str) -> tuple[Path, Path]:
    """NAME-cert.pem and NAME-key.pem."""
    key, request, certificate = (folder / f"{name}{ending}" for ending in ("-key.pem", ".csr", "-cert.pem"))
    (folder / f"{name}.ext").write_text(extension)
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    openssl("x509", "-req", "-days", 2, "-in", request, "-CA", folder / "ca.pem", "-CAkey", folder / "ca-key.pem",
            "-CAcreateserial", "-extfile", folder / f"{name}.ext", "-out", certificate)  # fmt: skip
    return certificate, key


def make_certificates(folder: Path) -> Path:
    """`server` for 127.0.0.1 and `elsewhere` for another host; and folders as DOCKER_CERT_PATH has them: `client`,
    `stranger` (trusts another authority), `nobody` (has no certificate)."""
    for name in ("client", "stranger", "nobody", "other"):
        (folder / name).mkdir()
    authority(folder)
    signed(folder, "server", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    signed(folder, "elsewhere", "subjectAltName=DNS:elsewhere.example\nextendedKeyUsage=serverAuth\n")
    pair = signed(folder, "client", "extendedKeyUsage=clientAuth\n")
    for name, file in zip(("cert.pem", "key.pem"), pair, strict=True):
        for place in ("client", "stranger"):
            shutil.copy(file, folder / place / name)
    authority(folder / "other")
    for source, place in ((folder, "client"), (folder, "nobody"), (folder / "other", "stranger")):
        shutil.copy(source / "ca.pem", folder / place / "ca.pem")
    return folder


def server_tls(certificates: Path, name: str = "server", clients: bool = True) -> ssl.SSLContext:
    """TLS as a server does it; `clients` have to show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{name}-cert.pem", certificates / f"{name}-key.pem")
    if clients:
        context.load_verify_locations(certificates / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context
