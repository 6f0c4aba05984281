"""What must be true at the end, whatever was done to the pool."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from anchor.audit import check_log
from anchor.checkpoint import Checkpoint, parse_checkpoint
from anchor.merkle import leaf_hash, subtree_root
from anchor.note import parse_note
from anchor.proof import parse_proof
from anchor.receipt import parse_receipt
from anchor.stage import overlay, parse_stage
from anchor.tiles import ReadFile, TileTree, read_entries
from cli.pool import running_pid
from core.errors import MoorageError
from host.disk import RealDisk
from tests.chaos.fleet import Fleet, Peer
from tests.chaos.load import Load

# Objects named in one command: its words and its answer stay small.
OBJECTS_AT_ONCE = 40
WATCH_EVERY_S = 0.1
JUDGES = 4
# Longer than a grudge against a peer that was silent lasts.
ANSWER_DEADLINE_S = 60.0


class LedgerWatch:
    """Copies every checkpoint that a log of the pool publishes, as an auditor would, and compares them at the end."""

    def __init__(self, fleet: Fleet) -> None:
        self._homes = [fleet.client, *(peer.home for peer in fleet.peers)]
        self._fleet = fleet
        self.seen: dict[Path, dict[bytes, None]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ledger watch")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_EVERY_S):
            self.look()

    def look(self) -> None:
        for log in self.logs():
            try:
                note = (log / "checkpoint").read_bytes()
            except OSError:
                # Not there yet, or its disk is away.
                continue
            self.seen.setdefault(log, {})[note] = None

    def logs(self) -> list[Path]:
        found: list[Path] = []
        for home in self._homes:
            try:
                found += [path.parent for path in (home / "anchor").glob("*/stage")]
            except OSError:
                continue
        return sorted(found)

    def judge(self) -> list[str]:
        """Every checkpoint ever seen, in a log or in a receipt, must be a prefix of what the log is now."""
        self.look()
        wrong: list[str] = []
        lost = self.seen.keys() - set(self.logs())
        wrong += [f"the log {log} is gone" for log in sorted(lost)]
        for log in self.logs():
            notes = [*self.seen.get(log, {})]
            try:
                wrong += check_history(log, notes)
            except (MoorageError, OSError) as error:
                wrong.append(f"the log {log} cannot be read: {error}")
        receipts = [path for home in self._homes for path in sorted((home / "receipts").glob("*"))]
        wrong += self._judge_receipts([path for path in receipts if path.suffix != ".part"])
        for home in self._homes:
            wrong += [f"a witness saw two histories: {path}" for path in (home / "witness").rglob("refused")]
        return wrong

    def _judge_receipts(self, paths: Sequence[Path]) -> list[str]:
        by_origin = {_committed(log)[0].origin: log for log in self.logs()}
        wrong: list[str] = []
        for path in paths:
            try:
                proof = parse_proof(parse_receipt(path.read_bytes()).proof)
                checkpoint = parse_checkpoint(parse_note(proof.checkpoint).text)
                wrong += check_history(by_origin[checkpoint.origin], [proof.checkpoint], whole=False)
                if leaf_at(by_origin[checkpoint.origin], proof.index) != proof.extra:
                    wrong.append(f"the leaf of {path} is not in the log")
            except (MoorageError, OSError, KeyError) as error:
                wrong.append(f"{path}: {error!r}")
        return wrong


def _committed(log: Path) -> tuple[Checkpoint, TileTree]:
    stage = parse_stage((log / "stage").read_bytes())
    checkpoint = parse_checkpoint(parse_note(stage.checkpoint).text)
    return checkpoint, TileTree(_reader(log), checkpoint.size)


def _reader(log: Path) -> ReadFile:
    def read(path: str) -> bytes | None:
        file = log / path
        return file.read_bytes() if file.exists() else None

    return overlay(parse_stage((log / "stage").read_bytes()).files, read)


def leaf_at(log: Path, index: int) -> bytes:
    (entry,) = read_entries(_reader(log), _committed(log)[0].size, index, index + 1)
    assert leaf_hash(entry)
    return entry


def check_history(log: Path, notes: Sequence[bytes], *, whole: bool = True) -> list[str]:
    """What contradicts the log among signed checkpoints of it. Raises MoorageError for a log that is damaged."""
    now, tree = _committed(log)
    if whole:
        check_log(_reader(log), now)
    wrong: list[str] = []
    for note in notes:
        then = parse_checkpoint(parse_note(note).text)
        if then.size > now.size:
            wrong.append(f"{then.origin}: a published log of {then.size} leaves has {now.size} now")
        elif then.size and subtree_root(tree.hash_at, 0, then.size) != then.root:
            wrong.append(f"{then.origin}: its first {then.size} leaves are not those that were published: a fork")
    return wrong


def leftovers(fleet: Fleet) -> list[str]:
    """What a crash may leave for a while and a restart must clear. Call it with all daemons down."""
    wrong: list[str] = []
    homes = [fleet.client, *(peer.home for peer in fleet.peers)]
    for home in homes:
        names = [path for pattern in ("*.part", "*.tmp", "*.begun", "*.removed") for path in home.rglob(pattern)]
        names += list((home / "incoming").glob("*"))
        wrong += [f"left over: {path}" for path in sorted(set(names))]
        for lock in [home / "lock", *home.glob("anchor/*/lock"), *home.glob("witness/*/lock")]:
            if lock.exists():
                with RealDisk().lock(str(lock), wait=False) as free:
                    if not free:
                        wrong.append(f"still locked: {lock}")
    wrong += [f"left over: {path}" for path in sorted(fleet.temporary.rglob("*"))]
    return wrong


def in_parallel(jobs: Iterable[Callable[[], object]]) -> None:
    with ThreadPoolExecutor(JUDGES) as crew:
        for job in [crew.submit(job) for job in jobs]:
            job.result()


def settle(fleet: Fleet, load: Load, watch: LedgerWatch, note: Callable[[str], None]) -> None:
    """Heal, sweep, and look at everything. What is wrong joins ``fleet.wrong``."""
    load.stop()
    fleet.down()
    for peer in fleet.peers:
        peer.prefix, peer.environment = (), {}
    fleet.up()
    _until_all_answer(fleet)
    note("all daemons answer")
    load.finish_open()
    note("what was interrupted is put")
    _sweep(fleet)
    note("swept twice")
    _verify(fleet, load)
    in_parallel(partial(load.get, stored, must=True) for stored in list(load.acknowledged))
    note("restored and verified")
    fleet.down()
    watch.stop()
    fleet.wrong += watch.judge()
    fleet.wrong += leftovers(fleet)
    fleet.wrong += [f"still runs: {pid}" for pid in fleet.processes()]
    fleet.wrong += [f"{peer.name} is still locked" for peer in fleet.peers if running_pid(str(peer.home)) is not None]
    for name, log in fleet.logs().items():
        for mark in ("Traceback", "session-failed", "task-failed"):
            if mark in log:
                at = log.index(mark)
                fleet.wrong.append(f"{name} logged {mark}: {log[max(0, at - 300) : at + 1500]}")


def _until_all_answer(fleet: Fleet) -> None:
    deadline, said = time.monotonic() + ANSWER_DEADLINE_S, b""
    while time.monotonic() < deadline:
        done = fleet.ask("peers")
        said = done.output
        if done.status == 0 and sum(peer["answers"] for peer in json.loads(said)["peers"]) == len(fleet.peers):
            return
    fleet.wrong.append(f"a healed pool does not answer: {said!r}")


def _sweep(fleet: Fleet) -> None:
    """Twice from every peer: the first time mends, the second finds nothing."""
    for round_number in (1, 2):
        in_parallel(partial(_sweep_from, fleet, peer, round_number) for peer in fleet.peers)


def _sweep_from(fleet: Fleet, peer: Peer, round_number: int) -> None:
    done = fleet.ask("sweep", "--full", home=peer.home)
    if done.status != 0 and round_number == 2:
        fleet.wrong.append(f"a second sweep of {peer.name}: {done.status} {done.output[:600]!r} {done.complaint}")
    elif done.status in (0, 3):
        report = json.loads(done.output)
        fleet.counts[f"findings of sweep {round_number}"] += len(report["findings"])
        if round_number == 2 and report["findings"]:
            fleet.wrong.append(f"a second sweep of {peer.name} still finds: {report['findings'][:3]}")


def _verify(fleet: Fleet, load: Load) -> None:
    stored = list(load.acknowledged)
    for at in range(0, len(stored), OBJECTS_AT_ONCE):
        done = fleet.ask("verify", "--full", *stored[at : at + OBJECTS_AT_ONCE])
        try:
            objects = json.loads(done.output)["objects"]
        except (ValueError, KeyError):
            fleet.wrong.append(f"verify --full: {done.status} {done.complaint}")
            continue
        fleet.counts["objects full at the end"] += sum(item["health"] == "full" for item in objects)
        bad = [item for item in objects if item["health"] != "full"]
        fleet.wrong += [f"after a sweep {item['object']} is {item['health']}: {item['findings'][:4]}" for item in bad]
