"""kill -9 of real operators and witnesses at random moments: no fork, no acknowledged leaf lost."""

from __future__ import annotations

import contextlib
import functools
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from anchor.audit import check_log
from anchor.checkpoint import Checkpoint
from anchor.files import read_file
from anchor.log import Log
from anchor.merkle import leaf_hash, node_hash, subtree_root
from anchor.note import decode_hash
from anchor.policy import parse_policy
from anchor.roster import parse_roster
from benchmarks.processes import free_ports
from client.service import SERVICE_LOG_FOLDER, SERVICE_WITNESS_FOLDER
from core.identity import key_from_seed
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk
from tests.ledger.members import Member, folder_name, make_members, roster_of

START_DEADLINE_S = 60.0


@dataclass
class Life:
    """One process, and what it said."""

    process: subprocess.Popen[str]
    ready: threading.Event = field(default_factory=threading.Event)
    lines: list[str] = field(default_factory=list[str])
    reader: threading.Thread | None = None

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == "ready\n":
                self.ready.set()
            elif line.endswith("\n"):
                self.lines.append(line)

    def kill(self) -> list[str]:
        """The lines that it acknowledged."""
        self.process.kill()
        self.process.wait(START_DEADLINE_S)
        assert self.reader is not None
        self.reader.join(START_DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.lines


class Arena:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = RealClock().now()
        self.ports = free_ports(4)
        self.members: list[Member] = make_members(now=self.now)
        disk = RealDisk()
        self.lives: list[Life | None] = [None] * 4
        self.acknowledged: list[str] = []
        for member in self.members:
            home = self.home(member.number)
            Path(home).mkdir()
            member.create(disk, home)

    def home(self, number: int) -> str:
        return str(self.folder / str(number))

    def start(self, number: int) -> None:
        words = ["-m", "tests.ledger.member_process", str(number), self.home(number), str(self.now)]
        with (self.folder / f"{number}.log").open("a") as errors:
            life = Life(
                subprocess.Popen(
                    [sys.executable, *words, *map(str, self.ports)],
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
            )
        life.reader = threading.Thread(target=life.listen)
        life.reader.start()
        self.lives[number] = life

    def wait_ready(self, number: int) -> None:
        life = self.lives[number]
        assert life is not None
        assert life.ready.wait(START_DEADLINE_S), (self.folder / f"{number}.log").read_text()[-2000:]

    def kill(self, number: int) -> None:
        life, self.lives[number] = self.lives[number], None
        if life is not None:
            self.acknowledged += life.kill()

    def log(self) -> Log:
        organisation = parse_roster(roster_of(self.members, hybrid=False)).organisations[0]
        key = key_from_seed(self.members[0].keys.log_seed)
        folder = f"{self.home(0)}/{SERVICE_LOG_FOLDER}"
        return Log.open(RealDisk(), folder, key=key, policy=organisation.policy, witnesses=[])


@contextlib.contextmanager
def arena_in(folder: Path) -> Iterator[Arena]:
    arena = Arena(folder)
    try:
        yield arena
    finally:
        for number in range(4):
            arena.kill(number)


def check(arena: Arena) -> int:
    """Every acknowledged leaf is where it was said to be, under roots that are all of one history; how many."""
    log = arena.log()
    size = log.check()
    leaves = log.leaves(0, size)
    assert len(set(leaves)) == size, "a leaf is in twice"
    hashes = [leaf_hash(item) for item in leaves]

    @functools.cache
    def hash_at(level: int, index: int) -> bytes:
        if level == 0:
            return hashes[index]
        return node_hash(hash_at(level - 1, 2 * index), hash_at(level - 1, 2 * index + 1))

    @functools.cache
    def root_at(count: int) -> bytes:
        return subtree_root(hash_at, 0, count)

    for line in arena.acknowledged:
        index, count, root, leaf = line.split()
        assert leaves[int(index)] == bytes.fromhex(leaf), "an acknowledged leaf is lost"
        assert root_at(int(count)) == decode_hash(root), "two histories"
    policy = parse_policy(parse_roster(roster_of(arena.members, hybrid=False)).organisations[0].policy)
    disk = RealDisk()
    for number in range(4):
        path = f"{arena.home(number)}/{SERVICE_WITNESS_FOLDER}/{folder_name(arena.members[0].origin)}"
        data = read_file(disk, f"{path}/checkpoint")
        assert data is not None, (number, path)
        text = data.decode().split("\n")
        seen = Checkpoint(text[0], int(text[1]), decode_hash(text[2]))
        assert seen.size <= size, "a witness signed what was not durable"
        assert root_at(seen.size) == seen.root, "a witness signed another history"
        assert read_file(disk, f"{path}/refused") is None, "a witness met a second history"
    published = log.published()
    assert published is not None
    assert policy.check_checkpoint(published).checkpoint.size <= size
    check_log(lambda path: read_file(disk, f"{log.folder}/{path}"), Checkpoint(log.origin, size, root_at(size)))
    return len(arena.acknowledged)


def play(folder: Path, kills: int) -> int:
    chance = random.Random(RealChance().token(8))
    with arena_in(folder) as arena:
        for number in range(4):
            arena.start(number)
        for number in range(4):
            arena.wait_ready(number)
        for _ in range(kills):
            # Two of three times the operator: its commit has most steps.
            victim = chance.choice((0, 0, 0, 0, 1, 2, 3, 3))
            time.sleep(chance.uniform(0.0, 0.5))
            arena.kill(victim)
            arena.start(victim)
            if chance.random() < 0.8:
                arena.wait_ready(victim)
        for number in range(4):
            arena.wait_ready(number)
        time.sleep(2.0)
        for number in range(4):
            arena.kill(number)
        return check(arena)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_kills_make_no_fork_and_lose_nothing(tmp_path: Path) -> None:
    assert play(tmp_path, 200) > 200


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_few_kills_make_no_fork_and_lose_nothing(tmp_path: Path) -> None:
    assert play(tmp_path, 6) > 6
