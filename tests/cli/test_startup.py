"""What a command loads before it works: people wait for it each time (docs/architecture.md, "Start-up")."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cli.main import _COMMANDS
from client.provision import Provisioner
from core.version import VERSION
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk

ROOT = Path(__file__).resolve().parent.parent.parent
NETWORK = {"trio", "asyncio", "ssl", "kademlia", "host.net", "host.tls", "dht.node", "wire.messages"}
HEAVY = {"trio", "asyncio", "cryptography", "rich", "msgpack", "blake3", "zfec", "kademlia", "tomllib"}
# Asked for by name when something is wrong or by special request, or the work of another command.
NEVER = {"rich", "difflib", "importlib.metadata", "daemon.node", "erasure.isal", "client.provision", "cli.demo"}
NEVER |= {"tuf", "securesystemslib", "anchor.rootchain", "anchor.draft"}
# Whoever reads what the holders of last time still have looks for nobody.
SEARCH = {"dht.node", "dht.records", "kademlia", "asyncio"}
UNUSED = {
    "put": NEVER | {"client.get", "client.fetch", "client.verify"},
    "get": NEVER | SEARCH | {"client.put", "client.verify", "anchor.log", "anchor.receipt", "tomllib"},
    "cat": NEVER | SEARCH | {"client.put", "client.verify", "anchor.log", "anchor.receipt", "tomllib"},
    "ls": NEVER | NETWORK | {"zfec", "tomllib"},
}


def loaded(code: str, *words: str) -> tuple[set[str], str]:
    """The modules that a fresh interpreter has after ``code``, and what it printed before."""
    script = f"""
import atexit, json, sys
atexit.register(lambda: print(json.dumps([name for name in sys.modules])))
{code}
"""
    ran = subprocess.run([sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert not ran.stderr, ran.stderr
    *printed, names = ran.stdout.splitlines()
    return set(json.loads(names)), "\n".join(printed)


MAIN = "from cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["put", "--help"]])
def test_help_and_version_load_no_library(words: list[str]) -> None:
    modules, printed = loaded(MAIN, *words)
    assert "moorage" in printed
    assert not modules & HEAVY


@pytest.mark.parametrize("command", UNUSED)
def test_a_command_loads_nothing_that_it_does_not_use(command: str) -> None:
    modules, _ = loaded(f"import {_COMMANDS[command].partition(':')[0]}")
    assert not modules & UNUSED[command]


def test_the_catalogue_is_listed_without_a_network(tmp_path: Path) -> None:
    homes = Provisioner(RealDisk(private=True), RealChance(), RealClock(), "p").make(str(tmp_path), peers=1, sites=1)
    modules, printed = loaded(MAIN, "--home", homes[0].folder, "ls")
    assert printed == ""
    assert "client.memory" in modules
    assert not modules & UNUSED["ls"]


def test_the_version_is_the_package_s() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


INTERRUPT = """
import os, signal, sys

# As at any start from a terminal: a shell's background jobs inherit that it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
from moorage.__main__ import main
sys.exit(main())
"""


def interrupted(name: str, *words: str) -> tuple[int, str]:
    """Exit status and complaint of a command that gets SIGINT when it looks for the module ``name``."""
    code = INTERRUPT.format(name=name)
    ran = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return ran.returncode, ran.stderr


@pytest.mark.parametrize("name", ["cli.main", "cli.catalogue", "msgpack"])
def test_an_interrupt_amid_the_imports_ends_a_command_silently(name: str) -> None:
    assert interrupted(name, "ls") == (-signal.SIGINT, "")


def test_an_interrupt_amid_the_command_is_said() -> None:
    assert interrupted("cli.contents", "ls", "0" * 64) == (130, "moorage: interrupted\n")
