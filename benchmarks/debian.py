"""Real data that Debian ships in example packages: found where installed, else unpacked beside the benchmarks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = Path(__file__).resolve().parent / "data"
DOWNLOAD_DEADLINE_S = 120


def package_file(package: str, inside: str) -> Path | None:
    """A file of a Debian package, such as ``usr/share/doc/x/y``; None where it cannot be had.

    Looks on the system, then in ``benchmarks/data``, then asks ``apt-get download``, which needs no rights
    beyond a readable package list and installs nothing.
    """
    for root in (Path("/"), DATA / package):
        if (root / inside).is_file():
            return root / inside
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return None
    (DATA / package).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            _run("apt-get", "download", package, folder=folder)
            (archive,) = Path(folder).glob("*.deb")
            _run("dpkg", "-x", str(archive), str(DATA / package), folder=folder)
        except (subprocess.SubprocessError, ValueError) as error:
            print(f"Debian's {package} cannot be had here: {error}", file=sys.stderr)
            return None
    found = DATA / package / inside
    return found if found.is_file() else None


def _run(*command: str, folder: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=DOWNLOAD_DEADLINE_S)
