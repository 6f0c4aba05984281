"""The wheel owns one name only, hurts no neighbour, and its launcher finds the layers that it carries."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("core", "erasure", "anchor", "wire", "dht", "host", "client", "daemon", "cli")
# python-daemon installs ``daemon``: a wheel that carried our layers at top level would overwrite it.
NEIGHBOUR = {
    "daemon/__init__.py": "class DaemonContext:\n    pass\n",
    "neighbour-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: neighbour\nVersion: 1.0\n",
    "neighbour-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "neighbour-1.0.dist-info/RECORD": "daemon/__init__.py,,\nneighbour-1.0.dist-info/RECORD,,\n",
}


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

    def install(self, *requirements: str | Path) -> None:
        # The running environment's pip works on this one: making a pip here would take longer than the test.
        pip = (sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check", "-q")
        run(*pip, "install", "--no-deps", *requirements, folder=self.folder)

    def evaluate(self, expression: str, *imports: str) -> str:
        program = f"import {', '.join(imports)}; print({expression})"
        return run(self.python, "-c", program, folder=self.folder).strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, with the build backend that is already installed: nothing is fetched, no build/ is left."""
    folder = tmp_path_factory.mktemp("build")
    for name in ("pyproject.toml", "README.md", "LICENSE", "moorage", *LAYERS):
        run("cp", "-r", ROOT / name, folder / name, folder=folder)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist", ".", folder=folder)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    made = Environment(tmp_path_factory.mktemp("installed") / "venv")
    venv.create(made.folder, with_pip=False, symlinks=True)
    made.install(wheel)
    site_packages = Path(made.evaluate("sysconfig.get_path('purelib')", "sysconfig"))
    # A plain path line: the neighbour's folder is searched after this environment's own, its .pth files are not read,
    # so that the editable install of the checkout stays out of sight.
    (site_packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return made


def test_the_wheel_owns_one_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"moorage"}
    assert len(top) == 2
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_carries_every_module_of_every_layer(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        carried = {name.removeprefix("moorage/_app/") for name in archive.namelist()}
    modules = {path.relative_to(ROOT).as_posix() for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    assert modules - carried == set()


def test_the_wheel_carries_the_data_of_the_demo(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())
    assert {f"moorage/_app/cli/data/{path.name}" for path in (ROOT / "cli" / "data").iterdir()} <= carried


def test_the_installed_command_says_what_it_can_do(environment: Environment) -> None:
    command = environment.folder / "bin" / "moorage"
    assert "usage: moorage" in run(command, "--help", folder=environment.folder)
    assert "usage: moorage" in run(environment.python, "-m", "moorage", "--help", folder=environment.folder)


def test_the_launcher_runs_the_layers_that_it_carries(environment: Environment) -> None:
    found = environment.evaluate("moorage.__main__, cli.main.__file__", "moorage.__main__", "cli.main")
    assert f"{environment.folder}/lib" in found
    assert "/moorage/_app/cli/main.py" in found


def test_a_neighbour_that_owns_daemon_stays_whole(environment: Environment, tmp_path: Path) -> None:
    neighbour = tmp_path / "neighbour-1.0-py3-none-any.whl"
    with zipfile.ZipFile(neighbour, "w") as archive:
        for name, text in NEIGHBOUR.items():
            archive.writestr(name, text)
    environment.install(neighbour)
    assert environment.evaluate("daemon.DaemonContext", "daemon") == "<class 'daemon.DaemonContext'>"
    ours = environment.evaluate("daemon.__file__", "moorage.__main__", "daemon")
    assert ours.endswith("/moorage/_app/daemon/__init__.py")


@pytest.mark.slow
def test_python_daemon_from_the_registry_stays_whole(environment: Environment) -> None:
    environment.install("python-daemon", "lockfile")
    assert environment.evaluate("daemon.DaemonContext", "daemon") == "<class 'daemon.daemon.DaemonContext'>"
    assert environment.evaluate("daemon.__file__", "moorage.__main__", "daemon").endswith("_app/daemon/__init__.py")
