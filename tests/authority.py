"""A time stamping authority (RFC 3161) of one's own: ``openssl ts`` behind HTTP on loopback."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

CONFIG = """
[tsa]
default_tsa = one
[one]
serial = ./serial
default_policy = 1.2.3.4.1
digests = sha256, sha512
signer_digest = sha256
ess_cert_id_alg = sha256
crypto_device = builtin
accuracy = secs:1
tsa_name = no
"""
EXTENSIONS = (
    "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:false\n"
)
SUBJECT = "/C=CN/O=Test Time Office/CN=Test TSA"


class Authority(NamedTuple):
    """``certificates``: PEM of its root and its own certificate; ``other``: of a root that nobody should believe."""

    url: str
    certificates: Path
    other: Path


def openssl(folder: Path, *words: str, stdin: bytes = b"") -> bytes:
    ran = subprocess.run(["openssl", *words], cwd=folder, input=stdin, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


def _make_keys(folder: Path) -> None:
    for name in ("root", "other"):
        words = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", f"/CN=Test Root {name}")
        extension = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        openssl(folder, *words, *extension, "-keyout", f"{name}.key", "-out", f"{name}.pem")
    openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-subj", SUBJECT, "-keyout", "tsa.key", "-out", "tsa.csr")
    (folder / "extensions").write_text(EXTENSIONS)
    signed = ("x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial")
    openssl(folder, *signed, "-days", "3650", "-extfile", "extensions", "-out", "tsa.pem")
    (folder / "config").write_text(CONFIG)
    (folder / "serial").write_text("01\n")
    (folder / "chain.pem").write_bytes((folder / "root.pem").read_bytes() + (folder / "tsa.pem").read_bytes())


@contextmanager
def authority(folder: Path) -> Iterator[Authority]:
    """Skips the test, saying why, where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here, which plays the time stamping authority")
    folder.mkdir()
    _make_keys(folder)

    class Stamper(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Type"] != "application/timestamp-query" or self.path == "/down":
                self.send_error(503)
                return
            (folder / "query").write_bytes(query)
            words = ("ts", "-reply", "-config", "config", "-section", "one", "-queryfile", "query")
            openssl(folder, *words, "-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "reply")
            reply = (folder / "reply").read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

        def log_error(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stamper) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            yield Authority(url, folder / "chain.pem", folder / "other.pem")
        finally:
            server.shutdown()
            thread.join()
