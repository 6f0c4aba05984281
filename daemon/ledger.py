"""The ledger peer in the daemon: operator of its organisation's log, witness for the others', by the roster of the day.

What is wrong with the ledger never keeps the peer from serving shards: it is logged, and this role stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

import trio

from anchor.note import Ed25519Signer, NoteKey
from anchor.policy import Policy, parse_policy
from anchor.roster import Roster
from anchor.witness import LocalWitness
from anchor.writer import LogWriter
from client.home import Home, LedgerKeys
from client.ledger import cosigners_of, log_origin
from client.service import RESYNC_FILE, SERVICE_LOG_FOLDER, SERVICE_WITNESS_FOLDER, check_is_local
from client.witness import WebWitness
from core.errors import BusyError, LedgerError, MalformedError, MoorageError, RefusedError
from core.identity import key_from_seed
from core.ports import Identity, Ports
from daemon.cosigners import AskedWitness
from daemon.eventlog import EventLog
from daemon.ledgerweb import LedgerWeb, is_large
from daemon.lookback import Told, ask_all
from daemon.operator import Operator
from daemon.submitters import Submitters
from daemon.supervise import supervise
from daemon.web import WebServer
from daemon.witnessdesk import OwnWitness, WitnessDesk
from wire.messages import LeavesAnchored, SubmitLeaves

# How often the roster is looked at; a new one is another object.
ROSTER_LOOK_S = 2.0
# After the log said that nothing more may be signed: an operator may have looked meanwhile.
RESTART_S = 60.0
# How long a witness' look back may take all in all: its first signature for a log in this life waits for it.
LOOK_BACK_S = 1.5
# A synchronisation is rare, and has to hear from most: it takes as long as this if somebody is down.
RESYNC_S = 30.0


class LedgerPeer:
    """``run`` it for as long as the daemon lives.

    Args:
        keys: the home's ``service``.
        roster: asked again and again.
    """

    def __init__(self, ports: Ports, home: Home, keys: LedgerKeys, roster: Callable[[], Roster], log: EventLog) -> None:
        self._ports = ports
        self._home = home
        self._keys = keys
        self._roster = roster
        self._log = log
        self._origin = log_origin(home.roster.pool_name, home.identity.organisation)
        self._log_key = Ed25519Signer(self._origin, key_from_seed(keys.log_seed)).key
        self._cosigners = cosigners_of(self._origin, keys.witness_seed)
        self._seen: Roster | None = None
        self._ours: str | None = None
        """The policy of our log; None while it is not on the roster."""
        self._looked_back = False
        self._policies: dict[str, Policy] = {}
        """By the origin of the log."""
        self._remote: dict[str, WebWitness] = {}
        self._submitters = Submitters(ports.clock)
        self._changed = trio.Event()
        self._operating = trio.CancelScope()
        self.web = LedgerWeb(ports.disk, home.path(SERVICE_LOG_FOLDER), ports.threads)
        self.witness: WitnessDesk | None = None
        self.operator: Operator | None = None
        self._writer: LogWriter | None = None

    # --- life ---------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[WebServer] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; then the log is closed. Tells what answers HTTP, at once: what is not open yet says so."""
        task_status.started(WebServer(self.web.answer, is_large=is_large))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(supervise, "ledger-roster", self._follow_roster, self._log)
                nursery.start_soon(supervise, "ledger", self._operate, self._log)
        finally:
            if self._writer is not None:
                self._writer.close()
            with trio.CancelScope(shield=True):
                await self._close_all_but(())

    async def _follow_roster(self) -> None:
        """Open what is there, and go by the roster of the day. What is wrong is said in the log, and tried again."""
        local = False
        while True:
            if not local and not (local := await self._is_local()):
                await trio.sleep(RESTART_S)
                continue
            failed = False
            # Each by itself: a witness signs for others while its own log is lost.
            for step in (self._look_at_roster, self._open_witness, self._open_log, self._look_back_once):
                try:
                    await step()
                except MoorageError as error:
                    self._stopped(str(error))
                    failed = True
            await trio.sleep(RESTART_S if failed else ROSTER_LOOK_S)

    async def _is_local(self) -> bool:
        """Whether nothing of the ledger is on a network's file system."""

        def check() -> None:
            disk = self._ports.disk
            for folder in (SERVICE_LOG_FOLDER, SERVICE_WITNESS_FOLDER):
                path = self._home.path(folder)
                check_is_local(disk, path if disk.stat(path) is not None else self._home.folder)

        try:
            await self._ports.threads.disk(check)
        except MoorageError as error:
            self._stopped(str(error))
            return False
        return True

    async def _look_back_once(self) -> None:
        if self.witness is not None and not self._looked_back:
            await self.witness.look_back()
            self._looked_back = True

    async def _operate(self) -> None:
        while True:
            while (operator := self.operator) is None:
                await self._changed.wait()
            with trio.CancelScope() as self._operating:
                if self._ours is None:
                    self._operating.cancel()
                try:
                    await operator.run()
                except LedgerError as error:
                    self._stopped(str(error))
                await trio.sleep(RESTART_S)
            if self._operating.cancelled_caught:
                self._retire(operator)

    def _retire(self, operator: Operator) -> None:
        failure = LedgerError(f"log {self._origin!r} left the roster: nothing more is written to it")
        self._stopped(str(failure))
        operator.retire(failure)
        if self._writer is not None:
            self._writer.close()
        self._writer = self.operator = None

    # --- the roster ---------------------------------------------------------------------------

    async def _look_at_roster(self) -> None:
        roster = self._roster()
        if roster is self._seen:
            return
        self._policies = self._policies_of(roster)
        if self.witness is not None:
            self.witness.use_logs(self._logs())
        self._ours = next((item.policy for item in roster.organisations if self._is_our_log(item.policy)), None)
        if self._ours is not None and self.operator is not None:
            self.operator.use(self._ours, self._witnesses_of(parse_policy(self._ours)))
        elif self._ours is None:
            self._operating.cancel()
        await self._close_all_but({item.url for policy in self._policies.values() for item in policy.witnesses})
        self._seen = roster

    def _policies_of(self, roster: Roster) -> dict[str, Policy]:
        found: dict[str, Policy] = {}
        for organisation in roster.organisations:
            try:
                policy = parse_policy(organisation.policy)
            except MalformedError as error:
                self._stopped(f"{organisation.name}: {error}")
                continue
            for key in policy.logs:
                found.setdefault(key.name, policy)
        return found

    def _is_our_log(self, policy: str) -> bool:
        try:
            return self._log_key in parse_policy(policy).logs
        except MalformedError:
            return False

    def _logs(self) -> dict[str, list[NoteKey]]:
        """Which logs we are to cosign: those whose policies name one of our keys, and no others."""
        ours = frozenset(cosigner.key for cosigner in self._cosigners)
        return {
            origin: [key for key in policy.logs if key.name == origin]
            for origin, policy in self._policies.items()
            if any(witness.key in ours for witness in policy.witnesses)
        }

    def _witnesses_of(self, policy: Policy) -> list[AskedWitness]:
        """Each once, though it has two keys; our own is asked without a network."""
        ours = frozenset(cosigner.key for cosigner in self._cosigners)
        found: dict[str, AskedWitness] = {}
        for witness in policy.witnesses:
            if witness.key in ours:
                found[witness.key.name] = OwnWitness(lambda: self.witness)
            elif witness.key.name not in found and (remote := self._remote_witness(witness.url)) is not None:
                found[witness.key.name] = remote
        return list(found.values())

    def _remote_witness(self, url: str) -> WebWitness | None:
        """One connection for each, whatever asks."""
        if url not in self._remote:
            try:
                self._remote[url] = WebWitness(self._ports.net, url)
            except MalformedError as error:
                self._stopped(f"witness: {error}")
                return None
        return self._remote[url]

    async def _close_all_but(self, urls: Container[str]) -> None:
        for url in [url for url in self._remote if url not in urls]:
            await self._remote.pop(url).aclose()

    # --- opening ------------------------------------------------------------------------------

    async def _open_log(self) -> None:
        if self._ours is None or self.operator is not None:
            return
        writer = await self._ports.threads.disk(self._writer_of, self._ours)
        self._writer = writer
        self.operator = Operator(
            writer,
            self._log_key,
            self._witnesses_of(writer.policy),
            threads=self._ports.threads,
            clock=self._ports.clock,
            say=self._warn,
        )
        self._changed.set()
        self._changed = trio.Event()

    def _writer_of(self, policy: str) -> LogWriter:
        folder = self._home.path(SERVICE_LOG_FOLDER)
        return LogWriter.open(self._ports.disk, folder, key=key_from_seed(self._keys.log_seed), policy=policy)

    async def _open_witness(self) -> None:
        if self.witness is not None:
            return
        if await self._ports.threads.disk(self._ports.disk.stat, self._home.path(RESYNC_FILE)) is not None:
            await self._resync()
        local = await self._ports.threads.disk(
            LocalWitness.open,
            self._ports.disk,
            self._home.path(SERVICE_WITNESS_FOLDER),
            self._cosigners,
            self._logs(),
        )
        desk = WitnessDesk(local, self._ports.threads, self._ports.clock, self._look_back, self._stopped)
        desk.use_logs(self._logs())
        self.witness = self.web.witness = desk

    async def _resync(self) -> None:
        """Remember what the logs and the other witnesses have of each log. Raises LedgerError when too few say."""
        notes: list[bytes] = []
        few: list[str] = []

        async def look(origin: str) -> None:
            found = await self._ask_all(origin, RESYNC_S, again=True)
            notes.extend(found.notes)
            if found.asked and found.answered <= found.asked // 2:
                few.append(f"{found.answered} of {found.asked} for {origin!r}")

        async with trio.open_nursery() as nursery:
            for origin in self._logs():
                nursery.start_soon(look, origin)
        if few:
            raise LedgerError(f"witness: too few others tell what they remember: {', '.join(few)}: it is tried again")
        folder = self._home.path(SERVICE_WITNESS_FOLDER)
        await self._ports.threads.disk(
            LocalWitness.resync, self._ports.disk, folder, self._cosigners, self._logs(), notes, self._origin
        )
        await self._ports.threads.disk(self._ports.disk.unlink, self._home.path(RESYNC_FILE))
        self._warn("the witness remembers again what others kept of it")

    async def _look_back(self, origin: str) -> Sequence[bytes]:
        """``daemon.witnessdesk.LookBack``."""
        return (await self._ask_all(origin, LOOK_BACK_S, again=False)).notes

    async def _ask_all(self, origin: str, patience_s: float, *, again: bool) -> Told:
        policy = self._policies.get(origin)
        if policy is None:
            return Told([], 0, 0)
        witnesses = [item for item in self._witnesses_of(policy) if not isinstance(item, OwnWitness)]
        logs = [
            url for key in policy.logs if key.name == origin and key != self._log_key and (url := policy.log_url(key))
        ]
        return await ask_all(self._ports.net, origin, witnesses, logs, patience_s=patience_s, again=again)

    # --- for those who ask --------------------------------------------------------------------

    async def submit(self, remote: Identity, message: SubmitLeaves) -> LeavesAnchored:
        """Raises RefusedError (not of our organisation), BusyError, LedgerError, PeerUnavailableError."""
        if remote.organisation != self._home.identity.organisation:
            raise RefusedError(f"this is the log of {self._home.identity.organisation}, not of {remote.organisation}")
        if self.operator is None:
            raise BusyError("this peer's log is not on the roster yet, or cannot be opened: its log says why")
        self._submitters.count(remote.peer, len(message.leaves))
        submitted = await self.operator.submit_all(message.leaves, message.wait_ms / 1000)
        return LeavesAnchored(
            submitted.pending,
            tuple(item.index for item in submitted.anchored),
            tuple(item.proof for item in submitted.anchored),
            submitted.anchored[0].checkpoint,
        )

    def _warn(self, text: str) -> None:
        self._log.log("warning", "ledger", text)

    def _stopped(self, text: str) -> None:
        self._log.log("error", "ledger-stopped", text)
