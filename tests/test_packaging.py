"""The wheel owns one name only, hurts no neighbour, and its launcher finds the layers that it carries."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.wheel import LAYERS, ROOT, Environment, build_wheel, install_wheel, run

# python-daemon installs ``daemon``: a wheel that carried our layers at top level would overwrite it.
NEIGHBOUR = {
    "daemon/__init__.py": "class DaemonContext:\n    pass\n",
    "neighbour-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: neighbour\nVersion: 1.0\n",
    "neighbour-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "neighbour-1.0.dist-info/RECORD": "daemon/__init__.py,,\nneighbour-1.0.dist-info/RECORD,,\n",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    return install_wheel(tmp_path_factory.mktemp("installed") / "venv", wheel)


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
