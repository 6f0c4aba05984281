"""The agent of a real pool: its commands do what they do without it, and nothing depends on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.background import exists, launcher
from cli.front import AGENT_VARIABLE, OFF
from tests.cli.probe import NOT_BY_AGENT
from tests.integration.pool import Pool, Running, run, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent

BY_AGENT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from cli.front import run_by_agent
status = run_by_agent(sys.argv[1:])
sys.exit({NOT_BY_AGENT} if status is None else status)
"""

NEW_MODULES = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from cli.agent import load
from cli.main import main
load()
before = set(sys.modules)
status = main(sys.argv[1:])
print("new:", *sorted(set(sys.modules) - before), file=sys.stderr)
sys.exit(status)
"""


@pytest.fixture
def with_agent(pool: Pool) -> Pool:
    wait_until(lambda: pool.agent is not None, what="the pool's agent")
    return pool


def by_agent(pool: Pool, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
    """The command as the agent runs it; status NOT_BY_AGENT where it does not."""
    command = [sys.executable, "-c", BY_AGENT, "--home", str(pool.home("client")), *map(str, words)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def without(pool: Pool, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [*launcher(), "--home", str(pool.home("client")), *map(str, words)]
    environment = os.environ | {AGENT_VARIABLE: OFF}
    return subprocess.run(command, capture_output=True, timeout=60, check=False, env=environment)


def test_commands_say_and_end_as_without_it(with_agent: Pool, blob: Path, tmp_path: Path) -> None:
    pool = with_agent
    put = by_agent(pool, "--json", "put", blob)
    assert (put.returncode, put.stderr) == (0, b"")
    stored = pool.put(blob)["object"]
    assert stored.encode() in put.stdout
    for words in (
        ["cat", stored, blob.name],
        ["ls"],
        ["--json", "ls", stored],
        ["verify", "--full", stored],
        ["--json", "receipt", stored],
        ["status"],
        ["cat", stored, "elsewhere"],
        ["get", "0" * 64, "--to", tmp_path / "none"],
        ["put", tmp_path / "missing"],
        ["get", "--json"],
        ["put", "--help"],
    ):
        ran, alone = by_agent(pool, *words), without(pool, *words)
        assert (ran.returncode, ran.stdout, ran.stderr) == (alone.returncode, alone.stdout, alone.stderr), words
        assert ran.stdout or ran.stderr, words
    got = by_agent(pool, "get", stored, "--to", tmp_path / "out")
    assert b"restored 1 files" in got.stdout
    assert (tmp_path / "out" / blob.name).read_bytes() == blob.read_bytes()


def test_no_module_is_left_for_a_command_to_load(pool: Pool, blob: Path, tmp_path: Path) -> None:
    stored = pool.put(blob)["object"]
    other = tmp_path / "other"
    other.write_bytes(b"other")
    home = str(pool.home("client"))
    for words in (
        ["put", str(other)],
        ["get", stored, "--to", str(tmp_path / "out")],
        ["cat", stored, blob.name, "--range", "0-9"],
        ["ls", stored],
        ["verify", stored],
        ["repair", stored],
        ["sweep", stored],
        ["status"],
        ["peers"],
        ["events"],
        ["receipt", stored],
    ):
        command = [sys.executable, "-c", NEW_MODULES, "--home", home, *words]
        ran = subprocess.run(command, capture_output=True, timeout=60, check=True)
        assert ran.stderr.splitlines()[-1] == b"new:", words


def test_a_put_whose_front_is_killed_can_be_given_again(with_agent: Pool, tmp_path: Path) -> None:
    pool = with_agent
    source = tmp_path / "large"
    source.write_bytes(os.urandom(60_000_000))
    agent = with_agent.agent  # who asks for it connects to it, and so has a child forked too
    assert agent is not None
    wait_until(lambda: children(agent) == [], what="the end of that child")
    running = Running(["--home", str(pool.home("client")), "--json", "put", str(source)])
    wait_until(lambda: children(agent) != [], what="the command's process")
    (worker,) = children(agent)
    running.kill()
    wait_until(lambda: worker not in children(agent), what="the end of the command's process")
    assert pool.verify(pool.put(source)["object"])["health"] == "full"


def children(agent: int) -> list[int]:
    ran = subprocess.run(["ps", "-o", "pid=", "--ppid", str(agent)], capture_output=True, check=False)
    return [int(pid) for pid in ran.stdout.split()]


def test_up_starts_it_and_down_stops_it(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    wait_until(lambda: pool.agent is not None, what="the pool's agent")
    first = pool.agent
    assert first is not None
    second = run("--home", pool.home("client"), "agent", expect=1)
    assert f"another agent, process {first}," in second.complaint
    pool.up()
    assert pool.agent == first
    # One that was killed is replaced, one that is stopped (SIGSTOP) is brought down too.
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: pool.agent is None, what="the end of the agent")
    assert pool.run("status").status == 0
    pool.up()
    wait_until(lambda: pool.agent is not None, what="another agent")
    second_pid = pool.agent
    assert second_pid is not None
    os.kill(second_pid, signal.SIGSTOP)
    pool.down()
    assert pool.agent is None
    wait_until(lambda: not exists(second_pid), what="the end of the stopped agent")


def test_nobody_who_wants_none_gets_one(make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AGENT_VARIABLE, OFF)
    pool = make_pool()
    assert pool.run("status").status == 0
    assert pool.agent is None
    assert not (pool.home("client") / "agent.log").exists()


def test_a_home_that_is_none_has_no_agent(tmp_path: Path) -> None:
    assert "is not a moorage home" in run("--home", tmp_path / "none", "agent", expect=1).complaint
