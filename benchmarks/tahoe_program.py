"""Tahoe-LAFS 1.20 in an environment of its own, with every dependency pinned."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.processes import Commands

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "tahoe-requirements.txt"
ENVIRONMENT = HERE.parent / ".venv" / "tahoe"
CREATE_DEADLINE_S = 60
INSTALL_DEADLINE_S = 600


def install() -> Path:
    """The ``tahoe`` command of an environment of its own, made on first use and when the pins change."""
    stamp = ENVIRONMENT / "installed.txt"
    wanted = REQUIREMENTS.read_text()
    command = ENVIRONMENT / "bin" / "tahoe"
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"installing Tahoe-LAFS into {ENVIRONMENT}", flush=True)
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        output = Commands().output
        output([sys.executable, "-m", "venv", ENVIRONMENT], deadline_s=CREATE_DEADLINE_S)
        pip: list[str | Path] = [ENVIRONMENT / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        output([*pip, "install", "--requirement", REQUIREMENTS], deadline_s=INSTALL_DEADLINE_S)
        stamp.write_text(wanted)
    return command
