"""Where a peer keeps what it holds, inside its home folder (docs/operations.md, "Homes")."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import MalformedIdError
from core.ids import ShardRoot


@dataclass(frozen=True, slots=True)
class Folders:
    """Paths below ``home``. Nothing but shards lies under ``shards``."""

    home: str

    @property
    def shards(self) -> str:
        return f"{self.home}/shards"

    @property
    def incoming(self) -> str:
        """Files that are still being received; whatever a crash leaves here is deleted at the next start."""
        return f"{self.home}/incoming"

    @property
    def quarantine(self) -> str:
        """Damaged files, kept until they are replaced: ``NAME.N``, N counting from 0."""
        return f"{self.home}/quarantine"

    @property
    def manifests(self) -> str:
        return f"{self.home}/manifests"

    @property
    def receipts(self) -> str:
        return f"{self.home}/receipts"

    def shard_folder(self, root: ShardRoot) -> str:
        """Two levels of 256: 10 TB are 1.6 million files, hence about 25 in each."""
        name = str(root)
        return f"{self.shards}/{name[:2]}/{name[2:4]}"

    def shard(self, root: ShardRoot) -> str:
        return f"{self.shard_folder(root)}/{root}"


def root_of_name(name: str) -> ShardRoot | None:
    """The root that a file's name is, if it is one."""
    try:
        return ShardRoot.parse(name)
    except MalformedIdError:
        return None


def is_fan_out(name: str) -> bool:
    """Whether a folder below ``shards`` is one of ours: two lower-case hexadecimal digits."""
    return len(name) == 2 and all(character in "0123456789abcdef" for character in name)
