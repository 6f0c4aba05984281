"""The ledger peer in the daemon: operator of its organisation's log, witness for the others', by the roster of the day.

What is wrong with the ledger never keeps the peer from serving shards: it is logged, and this role stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf

import trio

from anchor.note import NoteKey
from anchor.policy import Policy, parse_policy
from anchor.roster import Roster
from anchor.witness import LocalWitness
from anchor.writer import LogWriter
from client.home import Home, LedgerKeys
from client.ledger import organisation_origin
from client.logs import keep_policy
from client.service import RESYNC_FILE, SERVICE_LOG_FOLDER, SERVICE_WITNESS_FOLDER, check_home_is_local
from client.servicekeys import Missing, identity_of, take_up
from core.errors import BusyError, LedgerError, MoorageError, RefusedError
from core.identity import key_from_seed
from core.ports import Identity, Ports
from daemon.cosigners import AskedWitness
from daemon.eventlog import EventLog
from daemon.ledgerroster import NO_VIEW, logs_cosigned, view_of
from daemon.ledgerweb import LedgerWeb, is_large
from daemon.lookback import Told, ask_all, ask_most
from daemon.operator import Operator
from daemon.panel import Panel
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
        self._roster = roster
        self._log = log
        self._me = identity_of(organisation_origin(home.roster, home.identity.organisation), keys)
        self._seen: Roster | None = None
        self._seen_whole = False
        self._view = NO_VIEW
        self._looked_back = False
        self._panel = Panel(ports.net, lambda: self.witness, self._stopped)
        self._submitters = Submitters(ports.clock)
        self._changed = trio.Event()
        self._retired = trio.Event()
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
                await self._panel.keep_only(())

    async def _follow_roster(self) -> None:
        """Open what is there, and go by the roster of the day. What is wrong is said in the log, and tried again."""
        local, tried, again_at = False, None, -inf
        while True:
            if not local and not (local := await self._is_local()):
                await trio.sleep(RESTART_S)
                continue
            if (roster := self._roster()) is not tried or trio.current_time() >= again_at:
                failed = await self._take_steps()
                tried, again_at = roster, trio.current_time() + (RESTART_S if failed else 0)
            await trio.sleep(ROSTER_LOOK_S)

    async def _take_steps(self) -> bool:
        """Whether one failed. Each by itself: a witness signs for others while its own log is lost."""
        failed = False
        for step in (self._look_at_roster, self._open_witness, self._open_log, self._keep_policy, self._look_back_once):
            try:
                await step()
            except MoorageError as error:
                self._stopped(str(error))
                failed = True
        return failed

    async def _is_local(self) -> bool:
        """Whether nothing of the ledger is on a network's file system."""
        try:
            await self._ports.threads.disk(check_home_is_local, self._ports.disk, self._home.folder)
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
            operator = await self.opened()
            with trio.CancelScope() as self._operating:
                if not self._is_ours(operator):
                    self._operating.cancel()
                try:
                    await operator.run()
                except LedgerError as error:
                    self._stopped(str(error))
                await trio.sleep(RESTART_S)
            if self._operating.cancelled_caught:
                self._retire(operator)

    def _retire(self, operator: Operator) -> None:
        words = "left the roster" if operator.origin == self._me.origin else f"ended: {self._me.origin!r} follows it"
        failure = LedgerError(f"log {operator.origin!r} {words}: nothing more is written to it")
        self._stopped(str(failure))
        operator.retire(failure)
        if self._writer is not None:
            self._writer.close()
        self._writer = self.operator = None
        self._retired.set()

    # --- the roster ---------------------------------------------------------------------------

    async def _look_at_roster(self) -> None:
        """Go by the roster of the day, also when the keys that it names are not here: it says who is a member."""
        roster = self._roster()
        if roster is self._seen and self._seen_whole:
            return
        before, failure = self._me, ""
        try:
            failure = (await self._take_up_keys(roster)).words(self._me.origin)
        except MoorageError as error:
            if self._seen is None:
                # Which keys it signs with is durable before it signs.
                raise
            failure = str(error)
        if roster is not self._seen or (before.origin, before.keys) != (self._me.origin, self._me.keys):
            await self._use_roster(roster)
        self._seen, self._seen_whole = roster, not failure
        if failure:
            # It is tried again.
            raise LedgerError(failure)

    async def _use_roster(self, roster: Roster) -> None:
        self._view = view_of(roster, self._me)
        for fault in self._view.faults:
            self._stopped(fault)
        if self.witness is not None:
            self.witness.use_logs(self._logs())
        ours = self._view.ours
        if self.operator is not None and not self._is_ours(self.operator):
            self._operating.cancel()
        elif self.operator is not None and ours is not None:
            self.operator.use(ours, self._witnesses_of(parse_policy(ours)))
        await self._panel.keep_only({item.url for policy in self._view.policies.values() for item in policy.witnesses})

    async def _take_up_keys(self, roster: Roster) -> Missing:
        """Be whom the roster names. With other keys the witness is opened anew, where it remembers the same."""
        disk, organisation = self._ports.disk, self._home.identity.organisation
        before = self._me
        taken = await self._ports.threads.disk(take_up, disk, self._home.folder, roster, organisation, before.keys)
        self._me = taken.me
        if roster is not self._seen:
            for fault in taken.faults:
                self._stopped(fault)
        if taken.missing.witness or [item.key for item in self._me.cosigners] != [
            item.key for item in before.cosigners
        ]:
            if self.witness is not None:
                self.witness.use_logs({})
                self._warn("the witness signs with the keys that the roster has now, or with none")
            self.witness = self.web.witness = None
            self._looked_back = False
        return taken.missing

    def _is_ours(self, operator: Operator) -> bool:
        """Whether the log that it writes is the one that the roster has."""
        return self._view.ours is not None and operator.origin == self._me.origin

    def _logs(self) -> dict[str, list[NoteKey]]:
        return logs_cosigned(self._view, self._me)

    def _witnesses_of(self, policy: Policy) -> list[AskedWitness]:
        return self._panel.of(policy, frozenset(cosigner.key for cosigner in self._me.cosigners))

    # --- opening ------------------------------------------------------------------------------

    async def _open_log(self) -> None:
        if self.operator is not None and self._view.ours is not None and not self._is_ours(self.operator):
            await self._retired.wait()
        if self._view.ours is None or self.operator is not None:
            return
        writer = await self._ports.threads.disk(self._writer_of, self._view.ours)
        self._writer = writer
        self.operator = Operator(
            writer,
            self._me.log_key,
            self._witnesses_of(writer.policy),
            threads=self._ports.threads,
            clock=self._ports.clock,
            say=self._warn,
        )
        self._retired = trio.Event()
        self._changed.set()
        self._changed = trio.Event()

    def _writer_of(self, policy: str) -> LogWriter:
        folder = self._home.path(SERVICE_LOG_FOLDER)
        return LogWriter.open(self._ports.disk, folder, key=key_from_seed(self._me.keys.log_seed), policy=policy)

    async def _keep_policy(self) -> None:
        """Beside the log: when it has ended, no roster says any more by what it can be verified."""
        if self._writer is not None and self._view.ours is not None and self._writer.origin == self._me.origin:
            await self._ports.threads.disk(keep_policy, self._ports.disk, self._writer.folder, self._view.ours)

    async def _open_witness(self) -> None:
        if self.witness is not None:
            return
        if await self._ports.threads.disk(self._ports.disk.stat, self._home.path(RESYNC_FILE)) is not None:
            if not self._logs():
                # It signs for nobody now, and when it does, by then others will have kept more.
                return
            await self._resync()
        local = await self._ports.threads.disk(
            LocalWitness.open,
            self._ports.disk,
            self._home.path(SERVICE_WITNESS_FOLDER),
            self._me.cosigners,
            self._logs(),
        )
        desk = WitnessDesk(local, self._ports.threads, self._ports.clock, self._look_back, self._stopped)
        desk.use_logs(self._logs())
        self.witness = self.web.witness = desk

    async def _resync(self) -> None:
        """Remember what the logs and the other witnesses have of each log. Raises as ``ask_most``."""
        notes = await ask_most(self._logs(), partial(self._ask_all, patience_s=RESYNC_S, again=True))
        folder = self._home.path(SERVICE_WITNESS_FOLDER)
        await self._ports.threads.disk(
            LocalWitness.resync, self._ports.disk, folder, self._me.cosigners, self._logs(), notes, self._me.origin
        )
        await self._ports.threads.disk(self._ports.disk.unlink, self._home.path(RESYNC_FILE))
        self._warn("the witness remembers again what others kept of it")

    async def _look_back(self, origin: str) -> Sequence[bytes]:
        """``daemon.witnessdesk.LookBack``."""
        return (await self._ask_all(origin, patience_s=LOOK_BACK_S, again=False)).notes

    async def _ask_all(self, origin: str, *, patience_s: float, again: bool) -> Told:
        policy = self._view.policies.get(origin)
        if policy is None:
            return Told([], 0, 0)
        witnesses = [item for item in self._witnesses_of(policy) if not isinstance(item, OwnWitness)]
        logs = [
            url
            for key in policy.logs
            if key.name == origin and key != self._me.log_key and (url := policy.log_url(key))
        ]
        return await ask_all(self._ports.net, origin, witnesses, logs, patience_s=patience_s, again=again)

    # --- for those who ask --------------------------------------------------------------------

    async def opened(self) -> Operator:
        """The log's operator, once the log is open: ``run`` answers before."""
        while self.operator is None:
            await self._changed.wait()
        return self.operator

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
