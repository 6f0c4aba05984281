"""What lies below ``shards``: the shards in their places, and the strays that are none. Nothing is kept in memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from core.errors import MalformedError
from core.ids import ShardRoot
from core.ports import Disk
from daemon.faults import read_fault
from daemon.folders import Folders, is_fan_out, root_of_name
from erasure.shardfile import HEAD_BYTES, parse_head

_NO_FAN_OUT = "is not one of the folders 00 to ff"


@dataclass(frozen=True, slots=True)
class Stray:
    """A file or folder below ``shards`` that is no shard in its place."""

    path: str
    why: str


def _top(disk: Disk, folders: Folders) -> list[str]:
    try:
        return disk.list_folder(folders.shards)
    except OSError as error:
        raise read_fault(error, "the list of shards") from error


def _names(disk: Disk, folder: str) -> list[str]:
    """No names when the folder is none or cannot be listed: ``walk_strays`` says so, the others must go on."""
    try:
        return disk.list_folder(folder)
    except OSError:
        return []


def walk_roots(disk: Disk, folders: Folders, *, after: ShardRoot | None = None) -> Iterator[ShardRoot]:
    """The roots by name and place, ascending, above ``after``; folders are listed as the walk gets there.

    Raises CorruptError when ``shards`` itself cannot be listed.
    """
    start = str(after) if after is not None else ""
    for outer in _top(disk, folders):
        if not is_fan_out(outer) or outer < start[:2]:
            continue
        for inner in _names(disk, f"{folders.shards}/{outer}"):
            if not is_fan_out(inner) or outer + inner < start[:4]:
                continue
            for name in _names(disk, f"{folders.shards}/{outer}/{inner}"):
                root = root_of_name(name)
                if root is not None and name.startswith(outer + inner) and name > start:
                    yield root


def walk_strays(disk: Disk, folders: Folders) -> Iterator[Stray]:
    """Everything below ``shards`` that ``walk_roots`` passes over, and shards whose own head names another.

    One read of 64 bytes per shard. Damaged heads are not strays: a scan finds them. Raises as ``walk_roots``.
    """
    for outer in _top(disk, folders):
        outer_path = f"{folders.shards}/{outer}"
        if not is_fan_out(outer):
            yield Stray(outer_path, _NO_FAN_OUT)
            continue
        for inner in (yield from _listed(disk, outer_path)):
            inner_path = f"{outer_path}/{inner}"
            if not is_fan_out(inner):
                yield Stray(inner_path, _NO_FAN_OUT)
                continue
            for name in (yield from _listed(disk, inner_path)):
                why = _what_is_wrong(disk, folders, f"{inner_path}/{name}", name)
                if why:
                    yield Stray(f"{inner_path}/{name}", why)


def _listed(disk: Disk, folder: str) -> Generator[Stray, None, list[str]]:
    """The folder's names as the generator's result, or a stray and no names."""
    try:
        return disk.list_folder(folder)
    except OSError as error:
        yield Stray(folder, f"cannot be listed: {error}")
        return []


def why_stray(disk: Disk, folders: Folders, path: str) -> str:
    """Why ``path`` is a stray, seen anew; empty when it is none. Raises OSError."""
    parts = path.removeprefix(f"{folders.shards}/").split("/")
    if not all(map(is_fan_out, parts[:2])):
        return _NO_FAN_OUT
    if len(parts) == 3:
        return _what_is_wrong(disk, folders, path, parts[2])
    # One of our own folders is a stray while it cannot be listed.
    try:
        disk.list_folder(path)
    except OSError as error:
        return f"cannot be listed: {error}"
    return ""


def _what_is_wrong(disk: Disk, folders: Folders, path: str, name: str) -> str:
    root = root_of_name(name)
    if root is None:
        return "is not named as a shard is"
    if path != folders.shard(root):
        return f"belongs in {folders.shard_folder(root)}"
    try:
        found = disk.stat(path)
        if found is not None and found.is_folder:
            return "is a folder where a shard should be"
        with disk.open(path, "read") as file:
            head = parse_head(file.read_at(0, HEAD_BYTES))
    except (OSError, MalformedError):
        return ""
    return "" if head.root == root else f"says itself that it is shard {head.root}"
