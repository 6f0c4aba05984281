"""Disks that are full, read-only, cut off from power, or that fail calls."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.arena import Arena, Run, arena
from tests.chaos.fleet import Peer
from tests.chaos.sick import Image, Shim, build_shim, image, missing, small_disk, tool

SMALL_DISK_MIB = 12
# What 2+2 can lose: faults that eat data strike this many peers, so that each loss is a defect and no bad luck.
SICK_PEERS = 2
# Longer than a put of one small item makes calls of one kind.
NTH_CALL_MAX = 40


def full_disk(run: Run) -> None:
    """Two peers on 12 MiB of tmpfs run full by puts, then to the last byte by others; restarted full; given room."""
    with ExitStack() as stack:
        # The disks go last, after the daemons that use them.
        disks = stack.enter_context(ExitStack())
        the = stack.enter_context(arena(run, "full-disk", largest_bytes=1 << 21))
        sick = the.fleet.peers[:SICK_PEERS]
        for peer in sick:
            disks.enter_context(small_disk(peer.home, SMALL_DISK_MIB))
        the.begin()
        for passed in the.until(run.seconds):
            if passed > run.seconds / 2:
                for peer in sick:
                    _fill(peer)
            time.sleep(0.2)
        the.note(f"filled: {[shutil.disk_usage(peer.home).free for peer in sick]} bytes are free")
        for peer in sick:
            the.fleet.kill(peer)
            _fill(peer)
            the.fleet.await_start(peer) if peer.home.joinpath("state", "address").exists() else time.sleep(2)
        _must_serve(the, sick)
        for peer in sick:
            (peer.home / "filler").unlink(missing_ok=True)
            tool("mount", "-o", "remount,size=256m", peer.home)
        the.settle()


def _fill(peer: Peer) -> None:
    try:
        with open(peer.home / "filler", "ab") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
    except OSError:
        return


def _must_serve(the: Arena, sick: list[Peer]) -> None:
    """Daemons whose disks take no writes have come up and answer."""
    names = {peer.name for peer in sick}
    deadline = time.monotonic() + 30
    answering: set[str] = set()
    while time.monotonic() < deadline:
        done = the.fleet.ask("peers")
        if done.status in (0, 3):
            answering = {peer["name"] for peer in json.loads(done.output)["peers"] if peer["answers"]}
            if names <= answering:
                return
    logs = "\n".join(the.fleet.logs()[name][-1500:] for name in sorted(names - answering))
    the.fleet.wrong.append(f"{sorted(names - answering)} do not serve what they hold:\n{logs}")


def read_only_disk(run: Run) -> None:
    """The ext4 of one peer turns read-only under load, as after an error; it is restarted so; then repaired."""
    with ExitStack() as stack:
        disks = stack.enter_context(ExitStack())
        the = stack.enter_context(arena(run, "read-only-disk"))
        peer = the.fleet.peers[0]
        disk = _own_disk(disks, run, "ext4", peer)
        the.begin()
        time.sleep(run.seconds / 3)
        assert disk.turn_read_only(), "the file system does not turn read-only"
        the.note("read-only")
        time.sleep(run.seconds / 3)
        the.fleet.kill(peer)
        time.sleep(run.seconds / 3)
        _must_serve(the, [peer])
        the.fleet.stop(peer)
        disk.unmount()
        disk.repair()
        disk.mount()
        the.settle()


def _own_disk(disks: ExitStack, run: Run, kind: str, peer: Peer) -> Image:
    aside = peer.home.with_name(f"{peer.name}.aside")
    peer.home.rename(aside)
    made = disks.enter_context(image(kind, run.folder / f"{peer.name}.{kind}", peer.home))
    shutil.copytree(aside, peer.home, dirs_exist_ok=True)
    peer.home.chmod(0o700)
    return made


def power_cuts(run: Run, kind: str) -> None:
    """All homes on one file system whose power is cut under load (FS_IOC_SHUTDOWN): what was not synced is gone."""
    with ExitStack() as stack:
        name = f"power-cuts-{kind}"
        disk = stack.enter_context(image(kind, run.folder / f"{name}.image", run.folder / f"{name}-disk"))
        the = stack.enter_context(arena(run, name, place=disk.place))
        the.begin()
        for number in range(1, run.cuts + 1):
            time.sleep(the.chance.uniform(1.0, 5.0))
            cut(the, disk)
            if number % 10 == 0:
                the.note(f"{number} cuts, {len(the.load.acknowledged)} objects acknowledged")
        time.sleep(2)
        the.load.stop()
        the.settle()


def cut(the: Arena, disk: Image) -> None:
    """The power goes and comes back, and all daemons are started."""
    the.load.hold()
    disk.cut_power()
    the.fleet.blackout()
    while the.load.busy:
        the.fleet.blackout()
        time.sleep(0.01)
    disk.unmount()
    disk.mount()
    the.fleet.counts["power cuts"] += 1
    the.fleet.up()
    the.load.go_on()


def injected_by_preload(run: Run) -> None:
    """Calls of two daemons fail or lie at random: fsync EIO, rename ENOSPC, short writes, bits flipped, reads EIO."""
    library = build_shim(run.folder)
    with arena(run, "preload") as the:
        shims: list[Shim] = []
        for number, peer in enumerate(the.fleet.peers[:SICK_PEERS]):
            shim = Shim(library, run.folder / f"{peer.name}.control", peer.home, the.chance.randrange(2**32))
            peer.environment = shim.environment
            shims.append(shim)
            the.note(f"{peer.name} has a sick disk, number {number}")
        the.begin()
        phase = max(1.0, run.seconds / 8)
        for _ in the.until(run.seconds):
            for shim in shims:
                shim.calm()
                kind = the.chance.choice(Shim.KINDS)
                shim.set(kind, {"fsync-eio": 30, "rename-enospc": 100, "short-write": 500}.get(kind, 10))
            time.sleep(phase)
        for shim in shims:
            shim.calm()
            for kind, count in shim.struck().items():
                the.fleet.counts[f"injected {kind}"] += count
        the.settle()


def injected_by_strace(run: Run) -> None:
    """The n-th call of a put fails or kills it, for each n in turn; and calls of two daemons at fixed distances."""
    with arena(run, "strace", workers=1) as the:
        the.fleet.peers[0].prefix = _strace("fsync", "error=EIO", "when=40+60", "-D")
        the.fleet.peers[1].prefix = _strace("rename", "error=ENOSPC", "when=20+30", "-D")
        the.begin()
        calls = (
            ("fsync", "error=EIO"),
            ("rename", "error=ENOSPC"),
            ("rename", "signal=KILL"),
            ("fsync", "signal=KILL"),
        )
        began = time.monotonic()
        for nth in range(1, NTH_CALL_MAX):
            if time.monotonic() - began > run.seconds:
                break
            for call, fault in calls:
                with the.fleet.wrapped(_strace(call, fault, f"when={nth}")):
                    the.load.put_new()
                the.fleet.counts["puts with a failing call"] += 1
        the.note(f"calls number 1 to {nth} of puts failed")
        the.settle()


def _strace(call: str, fault: str, when: str, *options: str) -> tuple[str, ...]:
    words = ("strace", "-f", "-qq", "-o", "/dev/null", *options)
    return (*words, "-e", f"trace={call}", "-e", f"inject={call}:{fault}:{when}")


def lacks_anything_of_disks() -> str:
    return missing("cc", "strace")


def rot(the: Arena, peer: Peer, count: int) -> int:
    """Flip a bit in some shards of a peer; how many."""
    paths = sorted(path for path in (peer.home / "shards").rglob("*") if path.is_file())
    chosen: list[Path] = the.chance.sample(paths, min(count, len(paths)))
    for path in chosen:
        try:
            with open(path, "r+b") as file:
                at = the.chance.randrange(path.stat().st_size)
                file.seek(at)
                old = file.read(1)
                file.seek(at)
                file.write(bytes([old[0] ^ 0x10]))
        except OSError:
            continue
    return len(chosen)
