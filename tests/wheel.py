"""The wheel as users get it, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("core", "erasure", "anchor", "wire", "dht", "host", "client", "daemon", "cli")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")


def run(*command: str | Path, folder: Path) -> str:
    """Standard output of a command that must succeed. It sees nothing of the environment that runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Environment:
    """A virtual environment with moorage's wheel in it; its dependencies are those of the running one."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def command(self) -> Path:
        return self.folder / "bin" / "moorage"

    def install(self, *requirements: str | Path) -> None:
        # The running environment's pip works on this one: making a pip here would take longer than the test.
        run(*PIP[:3], "--python", self.python, *PIP[3:], "install", "--no-deps", *requirements, folder=self.folder)

    def evaluate(self, expression: str, *imports: str) -> str:
        program = f"import {', '.join(imports)}; print({expression})"
        return run(self.python, "-c", program, folder=self.folder).strip()


def build_wheel(folder: Path) -> Path:
    """Built from a copy, with the build backend that is already installed: nothing is fetched, no build/ is left."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "moorage", *LAYERS):
        run("cp", "-r", ROOT / name, folder / name, folder=folder)
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist", ".", folder=folder)
    (built,) = (folder / "dist").glob("*.whl")
    return built


def install_wheel(folder: Path, wheel: Path) -> Environment:
    made = Environment(folder)
    venv.create(folder, with_pip=False, symlinks=True)
    made.install(wheel)
    site_packages = Path(made.evaluate("sysconfig.get_path('purelib')", "sysconfig"))
    # A plain path line: the neighbour's folder is searched after this environment's own, its .pth files are not read,
    # so that the editable install of the checkout stays out of sight.
    (site_packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return made
