"""The demo's steps: each runs real commands, or hurts the pool as the world would, and checks what came of it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.demo_checks import differences, findings_of, health_of, is_whole, items, number, require, rows, words_of
from cli.demo_commands import Answer, Commands
from cli.demo_data import make_data
from cli.homes import read_home
from cli.output import size_text
from cli.pool import running_pid
from core.encoding import Value
from core.errors import EXIT_OK, EXIT_PARTIAL
from core.findings import Finding, FindingKind
from core.ids import ObjectId, ShardRoot
from erasure.shardfile import read_layout

PEERS, SITES, SCHEME = 6, 3, "4+2"
POOL_DOWN = "pool-down"
KILL_DEADLINE_S = 5.0
# The two that are killed are all of one site, the two that are hurt are of the others; peer-1 sweeps.
KILLED = ("peer-2", "peer-5")
FLIPPED, WIPED, SWEEPER = "peer-3", "peer-4", "peer-1"

Told = tuple[str, dict[str, Value]]
"""What happened, in words and as facts."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the story as it went."""

    name: str
    ok: bool
    seconds: float
    detail: str
    facts: Mapping[str, Value]

    def value(self) -> dict[str, object]:
        fixed: dict[str, object] = {
            "name": self.name,
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "detail": self.detail,
        }
        return {**self.facts, **fixed}


def step_titles() -> tuple[tuple[str, str], ...]:
    """(name, what is being done) of every step, in order."""
    return tuple((name, title) for name, title, _ in _STEPS)


class Story:
    """Holds what one step must know of another. ``folder`` is empty at the start."""

    def __init__(self, folder: Path, commands: Commands, advance: Callable[[float], None]) -> None:
        self.pool = folder / "pool"
        self._folder = folder
        self._records = folder / "records"
        self._commands = commands
        self._advance = advance
        self._object = ""
        self._holders = 0
        self._flipped = folder
        self._flipped_chunk = 0
        self._wiped: set[str] = set()
        self._receipt = folder / "receipt.json"

    def take(self, name: str) -> Told:
        """Run one step.

        Raises MoorageError or OSError when it does not go as it must, KeyboardInterrupt when told to stop.
        """
        self._commands.check()
        (step,) = (step for known, _, step in _STEPS if known == name)
        return step(self)

    # --- tools ----------------------------------------------------------------------------------

    def _home(self, name: str) -> str:
        return str(self.pool / name)

    def _run(self, *words: str, home: str = "client", expect: Sequence[int] = (EXIT_OK,)) -> Answer:
        return self._commands.run(self._home(home), *words, expect=expect)

    def _pool(self, *words: str) -> Answer:
        # Never cut short: it starts and stops processes, and must know of each.
        return self._commands.run(self._home("client"), "pool", *words, "--dir", str(self.pool), must_end=True)

    def _shards(self, peer: str) -> list[Path]:
        return sorted(path for path in Path(self._home(peer), "shards").rglob("*") if path.is_file())

    def _peer_id(self, peer: str) -> str:
        home = read_home(self._home(peer))
        return str(home.identity.peer)

    # --- steps ----------------------------------------------------------------------------------

    def make_data(self) -> Told:
        def advance(part: float) -> None:
            self._commands.check()
            self._advance(part)

        made = make_data(self._records, advance)
        absent = f"; no images from {' and '.join(made.missing)}: not installed" if made.missing else ""
        return f"{made.words}: {made.files} files, {size_text(made.total_bytes)}{absent}", {
            "files": made.files,
            "bytes": made.total_bytes,
            "images": made.images,
            "reads": "simulated over a real reference",
        }

    def pool_up(self) -> Told:
        answer = self._pool("up", "--peers", str(PEERS), "--sites", str(SITES), "--scheme", SCHEME)
        peers = rows(answer.value, "peers")
        require(len(peers) == PEERS and all(peer.get("pid") for peer in peers), f"{len(peers)} peers answer")
        sites = {str(peer.get("site")) for peer in peers}
        return f"{len(peers)} peers at {len(sites)} sites, each a process of its own", {"peers": list(peers)}

    def put(self) -> Told:
        value = self._run("put", str(self._records)).value
        self._object = str(value.get("object"))
        self._holders = len(items(value, "holders"))
        require(value.get("anchored") is True, "the object is not anchored")
        stored, plain = number(value, "stored_bytes"), number(value, "bytes")
        return (
            f"object {ObjectId.parse(self._object).short}: {value.get('files')} files, {size_text(plain)}, as "
            f"{size_text(stored)} on {self._holders} peers ({value.get('scheme')}); its manifest is on the ledger",
            {key: value[key] for key in ("object", "files", "bytes", "stored_bytes", "new_bytes", "scheme", "holders")},
        )

    def put_again(self) -> Told:
        value = self._run("put", str(self._records)).value
        require(value.get("object") == self._object, "the same files became another object")
        require(value.get("new_bytes") == 0, f"{value.get('new_bytes')} bytes were sent again")
        return "the same object; nothing was sent", {"new_bytes": 0}

    def verify(self) -> Told:
        return f"full: every share of {self._verify_full()} peers was read where it lies", {"health": "full"}

    def _verify_full(self) -> int:
        answer = self._run("verify", self._object, "--full", expect=(EXIT_OK, EXIT_PARTIAL))
        health = health_of(answer)
        require(health.get("health") == "full", f"verify says {health.get('health')}: {words_of(health)}")
        return self._holders

    def kill(self) -> Told:
        pids: list[Value] = []
        for peer in KILLED:
            pid = running_pid(self._home(peer))
            require(pid is not None, f"{peer} does not run")
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            pids.append(pid)
        deadline = time.monotonic() + KILL_DEADLINE_S
        while any(running_pid(self._home(peer)) is not None for peer in KILLED):
            require(time.monotonic() < deadline, "killed, but still running")
            time.sleep(0.02)
        return f"kill -9 {' and '.join(KILLED)}: one of {SITES} sites is gone", {"peers": list(KILLED), "pids": pids}

    def get(self) -> Told:
        return self._restore("restored-1", "from the four peers that are left")

    def _restore(self, folder: str, words: str) -> Told:
        target = self._folder / folder
        value = self._run("get", self._object, "--to", str(target)).value
        wrong = differences(self._records, target / self._records.name)
        require(not wrong, f"not what was stored: {', '.join(wrong[:3])}")
        return f"{value.get('files')} files {words}, compared byte for byte with the originals: equal", {
            "files": value.get("files"),
            "bytes": value.get("bytes"),
            "equal": True,
        }

    def verify_degraded(self) -> Told:
        answer = self._run("verify", self._object, expect=(EXIT_PARTIAL,))
        health = health_of(answer)
        require(health.get("health") == "degraded", f"verify says {health.get('health')}")
        silent = {str(finding.holder) for finding in findings_of(health) if finding.kind is FindingKind.SILENT}
        require(silent == {self._peer_id(peer) for peer in KILLED}, f"verify blames {silent or 'nobody'}")
        return f"degraded, because {' and '.join(KILLED)} do not answer", {
            "health": "degraded",
            "silent": sorted(silent),
        }

    def restart(self) -> Told:
        peers = rows(self._pool("up", "--peers", str(PEERS)).value, "peers")
        require(all(peer.get("pid") for peer in peers), "not all peers run")
        moved = {str(peer.get("name")): peer.get("address") for peer in peers if peer.get("name") in KILLED}
        return f"{' and '.join(KILLED)} run again, and are found", {"addresses": moved}

    def flip(self) -> Told:
        path = max(self._shards(FLIPPED), key=lambda path: path.stat().st_size)
        self._flipped = path
        with open(path, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            at = size // 2

            def read_at(offset: int, length: int) -> bytes:
                file.seek(offset)
                return file.read(length)

            _, layout = read_layout(read_at, size, ShardRoot.parse(path.name))
            before = read_at(at, 1)[0]
            file.seek(at)
            file.write(bytes([before ^ 0x40]))
        self._flipped_chunk = next(chunk for chunk, end in enumerate(layout.offsets[1:]) if at < end)
        return (
            f"byte {at:,} of shard {path.name[:8]} on {FLIPPED}, which is in chunk {self._flipped_chunk}: one bit of "
            f"{8 * size:,}",
            {"peer": FLIPPED, "shard": path.name, "byte": at, "chunk": self._flipped_chunk},
        )

    def sweep(self) -> Told:
        findings, repairs = self._sweep()
        require(len(findings) == 1, f"{len(findings)} findings, not one: {'; '.join(map(str, findings[:3]))}")
        (found,) = findings
        seen = (found.kind, str(found.holder), str(found.root), found.chunk)
        real = (FindingKind.CORRUPT, self._peer_id(FLIPPED), self._flipped.name, self._flipped_chunk)
        require(seen == real, f"the finding is {found}")
        require(len(repairs) == 1, f"{len(repairs)} repairs, not one")
        require(is_whole(self._flipped), "the shard on the disk is still damaged")
        require(not any(Path(self._home(FLIPPED), "quarantine").iterdir()), "the bad copy is still there")
        return f"{SWEEPER} found exactly that ({found}), rebuilt the shard without any key, and the bad copy is gone", {
            "findings": [found.to_value()],
            "repairs": len(repairs),
        }

    def _sweep(self) -> tuple[list[Finding], list[Value]]:
        """Sweep from a peer's home, where no key of the data is; what was wrong, and what was done."""
        answer = self._run("sweep", "--full", home=SWEEPER, expect=(EXIT_OK, EXIT_PARTIAL))
        wrong = [finding for finding in findings_of(answer.value) if not finding.kind.is_remedy]
        return wrong, items(answer.value, "repairs")

    def wipe(self) -> Told:
        shards = self._shards(WIPED)
        self._wiped = {path.name for path in shards}
        require(bool(shards), f"{WIPED} holds nothing")
        shutil.rmtree(Path(self._home(WIPED), "shards"))
        return f"all {len(shards)} shards of {WIPED} are deleted", {"peer": WIPED, "shards": sorted(self._wiped)}

    def sweep_again(self) -> Told:
        findings, repairs = self._sweep()
        missing = {str(finding.root) for finding in findings if finding.kind is FindingKind.MISSING}
        require(missing == self._wiped, f"{len(missing)} missing shards found, not {len(self._wiped)}")
        rebuilt = {path.name for path in self._shards(WIPED)}
        require(rebuilt == self._wiped, f"{len(rebuilt & self._wiped)} of {len(self._wiped)} shards are back")
        require(all(is_whole(path) for path in self._shards(WIPED)), "a rebuilt shard is damaged")
        return f"{SWEEPER} found all {len(missing)} gone and rebuilt them on {WIPED}, under the same names", {
            "missing": len(missing),
            "repairs": len(repairs),
        }

    def get_again(self) -> Told:
        return self._restore("restored-2", "from the repaired pool")

    def receipt(self) -> Told:
        output = self._run("receipt", self._object).output
        self._receipt.write_bytes(output)
        return f"a proof of {size_text(len(output))}, to be kept anywhere", {"bytes": len(output)}

    def pool_down(self) -> Told:
        peers = rows(self._pool("down").value, "peers")
        left = [str(peer.get("name")) for peer in peers if peer.get("pid")]
        require(not left, f"{', '.join(left)} still run")
        return f"all {len(peers)} peers have ended", {"peers": len(peers)}

    def check_receipt(self) -> Told:
        against = self._folder / "restored-2" / self._records.name
        # No home, no network, no peer: the receipt and the files are all there is.
        answer = self._commands.run("/nonexistent", "check-receipt", str(self._receipt), "--against", str(against))
        value = answer.value
        require(value.get("valid") is True, "the receipt does not prove the restored files")
        cosigners = items(value, "cosigners")
        return (
            f"with no peer running: entry {value.get('index')} of {value.get('origin')}, cosigned by "
            f"{', '.join(map(str, cosigners))}; the restored files are what it proves",
            {key: value.get(key) for key in ("valid", "origin", "index", "cosigners")},
        )


_STEPS: tuple[tuple[str, str, Callable[[Story], Told]], ...] = (
    ("make-data", "gathering images and genome", Story.make_data),
    ("pool-up", f"starting {PEERS} peers", Story.pool_up),
    ("put", "storing", Story.put),
    ("put-again", "storing the same again", Story.put_again),
    ("verify", "reading every share where it lies", Story.verify),
    ("kill", "killing two peers", Story.kill),
    ("get", "restoring without them", Story.get),
    ("verify-degraded", "asking how the object is", Story.verify_degraded),
    ("restart", "starting them again", Story.restart),
    ("flip", "damaging one bit on a disk", Story.flip),
    ("sweep", "sweeping and repairing", Story.sweep),
    ("verify-repaired", "reading every share again", Story.verify),
    ("wipe", "emptying a peer's disk", Story.wipe),
    ("sweep-again", "sweeping and rebuilding", Story.sweep_again),
    ("verify-rebuilt", "reading every share again", Story.verify),
    ("get-again", "restoring from the repaired pool", Story.get_again),
    ("receipt", "asking for the receipt", Story.receipt),
    (POOL_DOWN, "stopping all peers", Story.pool_down),
    ("check-receipt", "checking the receipt offline", Story.check_receipt),
)
