"""What was learned of the pool, in a file of the home: a convenience for the next start, never more."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import MoorageError
from core.ports import Ports
from daemon.eventlog import EventLog
from dht.store import Quotas, read_store, write_store


class RecordFile:
    """Records of peers and providers, as they were when they were saved last."""

    def __init__(self, ports: Ports, path: str, quotas: Quotas, log: EventLog) -> None:
        self._ports = ports
        self._path = path
        self._quotas = quotas
        self._log = log

    async def load(self) -> Sequence[bytes]:
        """None of them checked; empty when they cannot be read: peers announce themselves again."""
        try:
            return await self._ports.threads.disk(read_store, self._ports.disk, self._path, self._quotas)
        except (OSError, MoorageError) as error:
            self._log.log("warning", "records-unreadable", str(error))
            return ()

    async def save(self, raws: Sequence[bytes]) -> None:
        """Never raises: a disk that is full or read-only is no reason not to serve what is on it."""
        try:
            await self._ports.threads.disk(write_store, self._ports.disk, self._path, raws)
        except OSError as error:
            self._log.log("warning", "records-not-saved", str(error))
