"""Clients that put, get and verify all the time, and the list of what was acknowledged to them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.fleet import Done, Fleet

# Commands may end with these while peers are away: partial, not enough peers, try again. Any other is looked at.
HONEST_STATUSES = frozenset({0, 3, 5, 75})
KILLED = -9
STAMP_S = 1_700_000_000
RETRIES_IN_A_ROW_MAX = 8


@dataclass(frozen=True)
class Item:
    """Content that a seed makes: one folder of some files."""

    number: int
    seed: str

    @property
    def name(self) -> str:
        return f"item-{self.number}"

    def files(self, largest_bytes: int) -> Iterator[tuple[str, bytes]]:
        """Mostly small ones, as in hospitals; sizes are even in their logarithm."""
        chance = random.Random(self.seed)
        for at in range(chance.randint(1, 4)):
            size_bytes = int(2 ** chance.uniform(0, largest_bytes.bit_length()))
            yield f"{at}.bin", chance.randbytes(min(size_bytes, largest_bytes))

    def digest(self, largest_bytes: int) -> str:
        return _digest(self.files(largest_bytes))

    def write(self, folder: Path, largest_bytes: int) -> Path:
        made = folder / self.name
        made.mkdir(parents=True, exist_ok=True)
        for name, data in self.files(largest_bytes):
            (made / name).write_bytes(data)
            os.utime(made / name, (STAMP_S, STAMP_S))
        # A put that is tried again must find the very same folder: times are stored too.
        os.utime(made, (STAMP_S, STAMP_S))
        return made


def _digest(files: Iterator[tuple[str, bytes]]) -> str:
    digest = hashlib.blake2b()
    for name, data in files:
        digest.update(f"{name} {len(data)} ".encode())
        digest.update(data)
    return digest.hexdigest()


def digest_of_folder(folder: Path) -> str:
    return _digest((path.name, path.read_bytes()) for path in sorted(folder.iterdir()))


class Load:
    """Threads that run commands one after another until ``stop``. What they saw stays here, outside the pool."""

    def __init__(
        self, fleet: Fleet, folder: Path, seed: str, *, workers: int = 3, largest_bytes: int = 1 << 20
    ) -> None:
        self._fleet = fleet
        self._folder = folder
        self._seed = seed
        self._largest_bytes = largest_bytes
        self._mutex = threading.Lock()
        self._stop = threading.Event()
        self._gate = threading.Event()
        self._gate.set()
        self._busy = 0
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(workers)]
        self._items = 0
        self.acknowledged: dict[str, Item] = {}
        """By object id, in the order of acknowledgement."""
        self.open: list[Item] = []
        """Begun, and not acknowledged."""

    # --- threads --------------------------------------------------------------------------------

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """What is under way ends by itself."""
        self._stop.set()
        self._gate.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def hold(self) -> None:
        """Begin nothing more until ``go_on``; ``busy`` falls to 0 when what is under way has ended."""
        self._gate.clear()

    def go_on(self) -> None:
        self._gate.set()

    @property
    def busy(self) -> int:
        return self._busy

    def _work(self, number: int) -> None:
        chance = random.Random(f"{self._seed}/worker/{number}")
        while not self._stop.is_set():
            with self._mutex:
                free = self._gate.is_set()
                self._busy += free
            if not free:
                self._gate.wait()
                continue
            try:
                self._do_something(chance)
            finally:
                with self._mutex:
                    self._busy -= 1

    def _do_something(self, chance: random.Random) -> None:
        known = list(self.acknowledged)
        drawn = chance.random()
        if drawn < 0.15 and (item := self._take_open()) is not None:
            self.put(item)
        elif drawn < 0.55 or not known:
            self.put(self._new_item())
        elif drawn < 0.85:
            self.get(chance.choice(known))
        else:
            self.verify(chance.choice(known), full=chance.random() < 0.3)

    def _new_item(self) -> Item:
        with self._mutex:
            self._items += 1
            return Item(self._items, f"{self._seed}/item/{self._items}")

    def _take_open(self) -> Item | None:
        with self._mutex:
            return self.open.pop(0) if self.open else None

    # --- commands -------------------------------------------------------------------------------

    def put(self, item: Item) -> bool:
        """Whether it was acknowledged."""
        source = item.write(self._folder / "sources", self._largest_bytes)
        done = self._fleet.ask("put", str(source))
        shutil.rmtree(source)
        self._count("put", done)
        with self._mutex:
            if done.status == 0:
                self.acknowledged[json.loads(done.output)["object"]] = item
            else:
                self.open.append(item)
        return done.status == 0

    def put_new(self) -> bool:
        return self.put(self._new_item())

    def get(self, stored: str, *, must: bool = False) -> bool:
        """Whether it came back. Other bytes than were put are wrong at any time; none at all, only when it ``must``."""
        item = self.acknowledged[stored]
        target = self._folder / "targets" / f"{item.name}-{threading.get_ident()}"
        done = self._fleet.ask("get", stored, "--to", str(target))
        self._count("get", done)
        if done.status == 0 and digest_of_folder(target / item.name) != item.digest(self._largest_bytes):
            self._fleet.wrong.append(f"{item.name} ({stored}) came back with other bytes")
        elif done.status != 0 and must:
            self._fleet.wrong.append(f"{item.name} ({stored}) does not come back: {done.status} {done.complaint}")
        shutil.rmtree(target, ignore_errors=True)
        return done.status == 0

    def verify(self, stored: str, *, full: bool) -> None:
        done = self._fleet.ask("verify", stored, *(["--full"] if full else []))
        self._count("verify", done, also=(4,))

    def finish_open(self) -> None:
        """Put again what was never acknowledged: the pool is whole, so each must be taken now."""
        for _ in range(RETRIES_IN_A_ROW_MAX):
            items, self.open = self.open, []
            for item in items:
                self.put(item)
            if not self.open:
                return
        names = ", ".join(item.name for item in self.open)
        self._fleet.wrong.append(f"a whole pool does not take what was interrupted before: {names}")

    def _count(self, command: str, done: Done, *, also: tuple[int, ...] = ()) -> None:
        counts = self._fleet.counts
        with self._mutex:
            if done.status == 0:
                counts[f"{command}s done"] += 1
            elif done.status == KILLED:
                counts[f"{command}s killed"] += 1
            else:
                counts[f"{command}s ended with status {done.status}"] += 1
        if done.status not in HONEST_STATUSES | {KILLED, *also} and done.status >= 0:
            self._fleet.counts[f"{command}: {done.complaint.strip()[-160:]}"] += 1
