"""What the demo's steps check: restored trees, shards on disks, and the fields of a command's answer."""

from __future__ import annotations

import filecmp
from collections.abc import Mapping
from pathlib import Path

from cli.demo_commands import Answer
from core.encoding import Value
from core.errors import MoorageError
from core.findings import Finding
from core.ids import ShardRoot
from erasure.shardfile import scan_shard


def differences(wanted: Path, found: Path) -> list[str]:
    """Paths that are not in both trees, or differ in content, time or permission."""
    names = {path.relative_to(wanted) for path in wanted.rglob("*")}
    others = {path.relative_to(found) for path in found.rglob("*")}
    wrong = [str(name) for name in sorted(names ^ others)]
    for name in sorted(names & others):
        one, other = (wanted / name).lstat(), (found / name).lstat()
        same = (one.st_mode, one.st_mtime_ns) == (other.st_mode, other.st_mtime_ns)
        if (wanted / name).is_file():
            same = same and filecmp.cmp(wanted / name, found / name, shallow=False)
        if not same:
            wrong.append(str(name))
    return wrong


def is_whole(path: Path) -> bool:
    """Whether a shard file is what its name says, to the last byte. Raises OSError."""
    with open(path, "rb") as file:

        def read_at(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        return scan_shard(read_at, path.stat().st_size, ShardRoot.parse(path.name)).whole


def require(true: bool, otherwise: str) -> None:
    """Raises MoorageError with the text when a promise was not kept."""
    if not true:
        raise MoorageError(otherwise)


def items(value: Mapping[str, Value], key: str) -> list[Value]:
    """A list of a command's answer. Raises MoorageError."""
    found = value.get(key)
    if not isinstance(found, list):
        raise MoorageError(f"the answer has no list {key!r}")
    return found


def rows(value: Mapping[str, Value], key: str) -> list[dict[str, Value]]:
    """A list of objects of a command's answer. Raises MoorageError."""
    rows: list[dict[str, Value]] = []
    for row in items(value, key):
        if not isinstance(row, dict):
            raise MoorageError(f"the answer's {key!r} are no objects")
        rows.append({str(name): item for name, item in row.items()})
    return rows


def number(value: Mapping[str, Value], key: str) -> int:
    """Raises MoorageError."""
    found = value.get(key)
    if not isinstance(found, int):
        raise MoorageError(f"the answer has no number {key!r}")
    return found


def health_of(answer: Answer) -> dict[str, Value]:
    """The one object of verify's answer."""
    (health,) = rows(answer.value, "objects")
    return health


def findings_of(value: Mapping[str, Value]) -> list[Finding]:
    """The findings of a command's answer. Raises MoorageError."""
    # The holder's name stands beside its id for people's sake.
    kept = ({key: item for key, item in row.items() if key != "holder_name"} for row in rows(value, "findings"))
    return [Finding.from_value(row) for row in kept]


def words_of(health: Mapping[str, Value]) -> str:
    """The first findings, for people."""
    return "; ".join(str(finding) for finding in findings_of(health)[:3])
