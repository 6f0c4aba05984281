"""Sick disks, cut power, bad networks and wrong clocks, by what the machine has. Every context cleans up."""

from __future__ import annotations

import array
import fcntl
import mmap
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SHIM_SOURCE = Path(__file__).with_name("shim.c")
# linux/fs.h of XFS and ext4: _IOR('X', 125, __u32); the log is not flushed, as when the power goes.
FS_IOC_SHUTDOWN = 0x8004587D
SHUTDOWN_NO_LOG_FLUSH = 2
UNMOUNT_DEADLINE_S = 20.0
CLOCK_LIBRARY = "libfaketimeMT.so.1"


# --- what is there ----------------------------------------------------------------------------


def missing(*tools: str, root: bool = False) -> str:
    """What is not there of what a scenario needs; empty when all is."""
    absent = [
        tool for tool in tools if shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None
    ]
    lines = ["it is not run as root"] if root and os.geteuid() != 0 else []
    lines += [f"no {tool} is installed" for tool in absent]
    return "; ".join(lines)


def missing_mounts(*makers: str) -> str:
    """Why no file system can be mounted here."""
    why = missing("mount", "umount", *makers, root=True)
    if why or not makers:
        return why
    kinds = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}
    lines = [
        f"the kernel has no {maker[5:]}" for maker in makers if maker.startswith("mkfs.") and maker[5:] not in kinds
    ]
    return "; ".join(lines + ([] if Path("/dev/loop-control").exists() else ["there are no loop devices"]))


def missing_network() -> str:
    why = missing("ip", "nft", "tc", root=True)
    if why:
        return why
    tried = tool("unshare", "--net", "nft", "add", "table", "inet", "moorage", check=False)
    return "" if tried.returncode == 0 else f"network namespaces or nft do not work: {tried.stderr.decode().strip()}"


def clock_library() -> Path | None:
    return next((path for path in Path("/usr/lib").glob(f"**/faketime/{CLOCK_LIBRARY}")), None)


def tool(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    done = subprocess.run([str(word) for word in words], capture_output=True, check=False, env=environment)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.decode().strip()}")
    return done


# --- disks ------------------------------------------------------------------------------------


def is_mounted(place: Path) -> bool:
    """By the kernel's list: a file system whose power was cut cannot be asked itself."""
    return any(line.split()[1] == str(place) for line in Path("/proc/self/mounts").read_text().splitlines())


def unmount(place: Path) -> None:
    """At once if possible, within some seconds otherwise, lazily at last."""
    deadline = time.monotonic() + UNMOUNT_DEADLINE_S
    while is_mounted(place):
        done = tool("umount", place, check=False)
        if done.returncode and time.monotonic() > deadline:
            tool("umount", "--lazy", place, check=False)
            raise RuntimeError(f"{place} stays busy: {done.stderr.decode().strip()}")
        time.sleep(0.05 if done.returncode else 0)


@contextmanager
def small_disk(place: Path, size_mib: int) -> Iterator[None]:
    """A tmpfs of so much room, with what was in the folder."""
    aside = place.with_name(f"{place.name}.aside")
    place.rename(aside)
    place.mkdir(mode=0o700)
    tool("mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0700", "chaos", place)
    try:
        shutil.copytree(aside, place, dirs_exist_ok=True)
        yield
    finally:
        unmount(place)


class Image:
    """A file system in a file, mounted at ``place``, whose power can be cut."""

    def __init__(self, kind: str, file: Path, place: Path, size_mib: int = 512) -> None:
        self.kind = kind
        self.place = place
        self._file = file
        with open(file, "wb") as image:
            image.truncate(size_mib << 20)
        tool(f"mkfs.{kind}", "-q", file)
        place.mkdir(parents=True, exist_ok=True)
        self.mount()

    def mount(self) -> None:
        tool("mount", "-o", "loop", self._file, self.place)

    def unmount(self) -> None:
        unmount(self.place)

    def cut_power(self) -> None:
        """Nothing more reaches the disk, not even what the kernel had in its journal's memory."""
        folder = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, FS_IOC_SHUTDOWN, struct.pack("I", SHUTDOWN_NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def turn_read_only(self) -> bool:
        """As the kernel does on an error that it meets (ext4); False where that cannot be asked for."""
        if tool("mount", "-o", "remount,ro", self.place, check=False).returncode == 0:
            return True
        device = os.stat(self.place).st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        tool("mount", "-o", "remount,errors=remount-ro", self.place, check=False)
        with suppress(OSError):
            Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("chaos")
        return "ro" in self._options()

    def _options(self) -> list[str]:
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, place, _, options, *_ = line.split()
            if place == str(self.place):
                return options.split(",")
        return []

    def repair(self) -> None:
        """What an operator does before the disk is used again."""
        if self.kind == "ext4":
            tool("fsck.ext4", "-p", self._file, check=False)


@contextmanager
def image(kind: str, file: Path, place: Path) -> Iterator[Image]:
    made: Image | None = None
    try:
        made = Image(kind, file, place)
        yield made
    finally:
        unmount(place)
        file.unlink(missing_ok=True)


class Shim:
    """Faults of a disk as one process sees it, changed while it runs. Rates are in 1/1000 of the calls."""

    KINDS = ("fsync-eio", "rename-enospc", "short-write", "bit-flip", "read-eio")

    def __init__(self, library: Path, control: Path, home: Path, seed: int) -> None:
        control.write_bytes(bytes(4096))
        with open(control, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 4096)
        self.environment = {
            "LD_PRELOAD": str(library),
            "CHAOS_CONTROL": str(control),
            "CHAOS_PREFIX": f"{home}/",
            "CHAOS_SEED": str(seed),
        }

    def set(self, kind: str, per_mille: int) -> None:
        struct.pack_into("I", self._map, 4 * self.KINDS.index(kind), per_mille)

    def calm(self) -> None:
        for kind in self.KINDS:
            self.set(kind, 0)

    def struck(self) -> dict[str, int]:
        counts = array.array("I", self._map[20:40])
        return dict(zip(self.KINDS, counts, strict=True))


def build_shim(folder: Path) -> Path:
    library = folder / "shim.so"
    tool("cc", "-O2", "-shared", "-fPIC", "-o", library, SHIM_SOURCE, "-ldl")
    return library


# --- network ----------------------------------------------------------------------------------


class Namespace:
    """A network of its own: a loopback device on which each peer has an address, with rules that can be set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = ("ip", "netns", "exec", name)
        tool("ip", "netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")
        self.calm()

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return tool(*self.prefix, *words, check=check)

    def calm(self) -> None:
        self.run("nft", "flush", "ruleset")
        self.run("tc", "qdisc", "del", "dev", "lo", "root", check=False)
        self.run("nft", "add", "table", "inet", "chaos")
        self.run("nft", "add", "chain", "inet", "chaos", "in", "{ type filter hook input priority 0 ; }")

    def rule(self, *words: str) -> None:
        """What is done to packets as they arrive, in nft's words."""
        self.run("nft", "add", "rule", "inet", "chaos", "in", *words)

    def lose(self, percent: int) -> None:
        self.rule("meta", "l4proto", "tcp", "numgen", "random", "mod", "100", "<", str(percent), "drop")

    def slow(self, mbit_s: int) -> None:
        words = ("rate", f"{mbit_s}mbit", "burst", "128kb", "latency", "300ms")
        self.run("tc", "qdisc", "replace", "dev", "lo", "root", "tbf", *words)

    def delete(self) -> None:
        tool("ip", "netns", "del", self.name, check=False)


@contextmanager
def namespace(name: str) -> Iterator[Namespace]:
    made: Namespace | None = None
    try:
        made = Namespace(name)
        yield made
    finally:
        tool("ip", "netns", "del", name, check=False)
