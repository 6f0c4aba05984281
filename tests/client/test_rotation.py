"""New keys are made where they stay, once for each proposal, and take the place of the old when a roster names them."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any, cast

import pytest

from anchor.checkpoint import Checkpoint
from anchor.draft import draft_of
from anchor.marker import MARKER_FILE
from anchor.merkle import EMPTY_ROOT
from anchor.note import Ed25519Signer, format_note
from anchor.organisation import Member, Organisation, Roster, with_policies
from anchor.proposal import Change, Proposal, doors_of, next_roster, words_of
from anchor.rootchain import assemble
from anchor.rosterfile import encode_roster_file
from anchor.witness import LocalWitness, origin_folder
from anchor.writer import LogWriter
from client.adminkey import sign_once
from client.home import (
    NEXT_SERVICE_LOG_FILE,
    NEXT_SERVICE_WITNESS_FILE,
    SERVICE_LOG_FILE,
    SERVICE_WITNESS_FILE,
    HeldRoster,
    Home,
    LedgerKeys,
    load_home,
)
from client.ledger import cosigners_of, log_origin, witness_keys
from client.logs import home_log
from client.member import MemberMaker, MemberPlan
from client.rotation import with_new_log, with_new_witness
from client.service import RESYNC_FILE, SERVICE_LOG_FOLDER, SERVICE_WITNESS_FOLDER
from client.servicekeys import Missing, read_seed, take_up
from core.durable import read_file, write_file
from core.errors import HomeError, LedgerError, RefusedError, RosterError
from core.identity import key_from_seed, public_bytes
from core.ports import Address, Disk
from tests.anchor.consortium import FOUR, NOW_S, YEAR_S, Hospital, roster_of_hospitals
from tests.sim.chance import SimChance
from tests.sim.clock import START_S, SimClock
from tests.sim.crash import crash_everywhere
from tests.sim.disk import SimDisk

PEER, CLIENT = "/a/peer-1", "/a/client"
HERE = Address("10.0.0.1", 7001)
TOKEN = SimChance(7).token
FIRST, SECOND = log_origin("pool.example", "a"), "pool.example/a/2"


def founded_on(disk: Disk) -> Home:
    """A consortium of one, as `consortium init` makes it; the client's home."""
    plan = MemberPlan("pool.example", "a", "site", HERE, HERE, peers=2)
    maker = MemberMaker(disk, SimChance(1), SimClock(), "/a", plan)
    rows = with_policies([maker.make()])
    draft = draft_of(Roster("pool.example", 1, b"", rows, doors_of(rows), b"", int(START_S) + YEAR_S))
    ballots = sign_once(disk, CLIENT, draft, None, "t")
    maker.write_roster(encode_roster_file(assemble(draft, ballots, None)), [])
    return load_home(disk, CLIENT, SimClock())


def test_who_was_a_member_before_begins_a_log_of_another_number() -> None:
    plan = MemberPlan("pool.example", "a", "site", HERE, HERE, peers=1, log_number=4)
    disk = SimDisk()
    member = member_of(MemberMaker(disk, SimChance(1), SimClock(), "/a", plan).make())
    assert member.log_origin == "pool.example/a/4"
    assert disk.stat(f"{origin_folder(f'{PEER}/{SERVICE_LOG_FOLDER}', member.log_origin)}/stage") is not None


def published(home: Home, entry: Organisation) -> Home:
    roster = replace(home.roster, organisations=with_policies([entry]))
    return replace(home, held=HeldRoster(roster, home.roster_file))


def keys_on(disk: Disk) -> LedgerKeys:
    log, witness = (read_seed(disk, PEER, name) for name in (SERVICE_LOG_FILE, SERVICE_WITNESS_FILE))
    assert log is not None
    assert witness is not None
    return LedgerKeys(log, witness)


def member_of(entry: Organisation) -> Member:
    assert entry.member is not None
    return entry.member


def test_a_witness_key_is_made_once_and_taken_up_when_the_roster_names_it() -> None:
    disk = SimDisk()
    home = founded_on(disk)
    before = keys_on(disk)
    entry = with_new_witness(disk, home, PEER, TOKEN)
    assert with_new_witness(disk, home, PEER, TOKEN) == entry, "asked again it is the same proposal"
    seed = read_seed(disk, PEER, NEXT_SERVICE_WITNESS_FILE)
    assert seed is not None
    assert (member_of(entry).witness_ed25519, member_of(entry).witness_mldsa44) == witness_keys(FIRST, seed)
    assert take_up(disk, PEER, home.roster, "a", before).me.keys == before
    assert keys_on(disk) == before
    after = published(home, entry)
    with pytest.raises(RefusedError, match="start its daemon"):
        with_new_witness(disk, after, PEER, TOKEN)
    assert take_up(disk, PEER, after.roster, "a", before).me.keys == LedgerKeys(before.log_seed, seed)
    assert keys_on(disk) == LedgerKeys(before.log_seed, seed)
    assert read_seed(disk, PEER, NEXT_SERVICE_WITNESS_FILE) is None
    # As after a restart.
    assert take_up(disk, PEER, after.roster, "a", keys_on(disk)).me.keys == keys_on(disk)
    third = with_new_witness(disk, after, PEER, TOKEN)
    assert member_of(third).witness_ed25519 != member_of(entry).witness_ed25519


@pytest.mark.parametrize("lost", ["nothing", "folder", "folder and seed"])
def test_a_new_log_has_the_next_number_and_is_begun_before_it_is_proposed(lost: str) -> None:
    disk = SimDisk()
    home = founded_on(disk)
    before = keys_on(disk)
    if lost != "nothing":
        disk.unlink(f"{origin_folder(f'{PEER}/{SERVICE_LOG_FOLDER}', FIRST)}/stage")
    if lost == "folder and seed":
        disk.unlink(f"{PEER}/{SERVICE_LOG_FILE}")
    entry = with_new_log(disk, home, PEER, TOKEN)
    assert with_new_log(disk, home, PEER, TOKEN) == entry
    member = member_of(entry)
    assert member.log_origin == SECOND
    assert member.log_url == f"https://{HERE}/log{origin_folder('', SECOND)}"
    after = published(home, entry)
    me = take_up(disk, PEER, after.roster, "a", before if lost != "folder and seed" else keys_on(disk)).me
    assert me.log_key.vkey == member.log_vkey
    assert [item.key.vkey for item in me.cosigners] == list(member.witness_vkeys)
    assert me.keys.log_seed == keys_on(disk).log_seed != before.log_seed
    assert read_seed(disk, PEER, NEXT_SERVICE_LOG_FILE) is None
    policy = after.roster.organisations[0].policy
    key = key_from_seed(me.keys.log_seed)
    LogWriter.open(disk, f"{PEER}/{SERVICE_LOG_FOLDER}", key=key, policy=policy).close()
    write_file(disk, f"{origin_folder(f'{PEER}/{SERVICE_LOG_FOLDER}', SECOND)}/checkpoint", b"c", token="t")
    peer = replace(load_home(disk, PEER, SimClock()), held=after.held)
    assert home_log(disk, peer).origin == SECOND
    assert member_of(with_new_log(disk, after, PEER, TOKEN)).log_origin == "pool.example/a/3"


def test_a_lost_seed_whose_successor_was_proposed_already_is_no_reason_for_a_third() -> None:
    disk = SimDisk()
    home = founded_on(disk)
    entry = with_new_log(disk, home, PEER, TOKEN)
    disk.unlink(f"{PEER}/{SERVICE_LOG_FILE}")
    assert with_new_log(disk, home, PEER, TOKEN) == entry
    assert public_bytes(key_from_seed(keys_on(disk).log_seed)) == member_of(entry).log_key


def test_another_home_than_the_ledger_peer_s_is_refused_with_what_to_name() -> None:
    disk = SimDisk()
    home = founded_on(disk)
    for path in ("/a/peer-2", "/nowhere", CLIENT):
        with pytest.raises(HomeError, match="--peer-home"):
            with_new_witness(disk, home, path, TOKEN)
    write_file(disk, f"{PEER}/{NEXT_SERVICE_WITNESS_FILE}", b"n" * 32, token="t")
    write_file(disk, f"{PEER}/{SERVICE_WITNESS_FILE}", b"w" * 32, token="t")
    with pytest.raises(HomeError, match="no key that the roster has"):
        with_new_witness(disk, home, PEER, TOKEN)
    # Nor is one that was retired proposed again, after it came back with a backup.
    disk.unlink(f"{PEER}/{NEXT_SERVICE_WITNESS_FILE}")
    with pytest.raises(HomeError, match="no key that the roster has"):
        with_new_witness(disk, home, PEER, TOKEN)
    disk.unlink(f"{PEER}/{SERVICE_WITNESS_FILE}")
    with pytest.raises(HomeError, match="rotate the key witness first"):
        with_new_log(disk, home, PEER, TOKEN)


# --- what was lost, or came back -------------------------------------------------------------------


def is_resync_asked(disk: Disk) -> bool:
    return disk.stat(f"{PEER}/{RESYNC_FILE}") is not None


def rotated_witness(disk: Disk, home: Home) -> Home:
    """The home after its ledger peer's witness got another key."""
    after = published(home, with_new_witness(disk, home, PEER, TOKEN))
    taken = take_up(disk, PEER, after.roster, "a", keys_on(disk))
    LocalWitness.open(disk, f"{PEER}/{SERVICE_WITNESS_FOLDER}", taken.me.cosigners, {})
    return after


def test_a_rotation_of_a_key_that_is_there_keeps_the_memory() -> None:
    disk = SimDisk()
    rotated_witness(disk, rotated_witness(disk, founded_on(disk)))
    assert not is_resync_asked(disk)


def test_where_the_key_of_the_roster_is_lost_the_witness_has_to_be_synchronised_first() -> None:
    disk = SimDisk()
    after = rotated_witness(disk, founded_on(disk))
    disk.unlink(f"{PEER}/{SERVICE_WITNESS_FILE}")
    with_new_witness(disk, after, PEER, TOKEN)
    assert is_resync_asked(disk)


def test_where_the_roster_names_a_witness_key_that_is_not_here_it_has_to_be_synchronised_first() -> None:
    disk = SimDisk()
    home = founded_on(disk)
    before = keys_on(disk)
    after = rotated_witness(disk, home)
    write_file(disk, f"{PEER}/{SERVICE_WITNESS_FILE}", before.witness_seed, token="t")
    taken = take_up(disk, PEER, after.roster, "a", before)
    assert taken.missing == Missing(witness=True)
    assert SERVICE_WITNESS_FILE in taken.missing.words(taken.me.origin)
    assert is_resync_asked(disk)


def test_a_lost_log_key_is_no_reason_to_synchronise_the_witness() -> None:
    disk = SimDisk()
    home = founded_on(disk)
    write_file(disk, f"{PEER}/{SERVICE_LOG_FILE}", b"o" * 32, token="t")
    assert take_up(disk, PEER, home.roster, "a", keys_on(disk)).missing == Missing(log=True)
    assert not is_resync_asked(disk)


def test_a_memory_that_is_older_than_the_key_that_is_replaced_has_to_be_synchronised_first() -> None:
    """``ledger/`` came back from before one rotation, and another was published before anybody looked."""
    disk = SimDisk()
    home = founded_on(disk)
    marker = f"{PEER}/{SERVICE_WITNESS_FOLDER}/{MARKER_FILE}"
    backup = read_file(disk, marker, max_bytes=10_000)
    assert backup is not None
    after = rotated_witness(disk, home)
    write_file(disk, marker, backup, token="t")
    third = published(after, with_new_witness(disk, after, PEER, TOKEN))
    assert not is_resync_asked(disk)
    assert take_up(disk, PEER, third.roster, "a", keys_on(disk)).missing == Missing()
    assert is_resync_asked(disk)


def test_a_damaged_seed_that_nobody_asks_for_is_said_and_does_no_harm() -> None:
    disk = SimDisk()
    home = founded_on(disk)
    before = keys_on(disk)
    write_file(disk, f"{PEER}/{NEXT_SERVICE_WITNESS_FILE}", b"n" * 31, token="t")
    write_file(disk, f"{PEER}/{SERVICE_LOG_FILE}", b"n" * 31, token="t")
    taken = take_up(disk, PEER, home.roster, "a", before)
    assert taken.me.keys == before
    assert taken.missing == Missing()
    assert sorted("31 bytes" in fault for fault in taken.faults) == [True, True]
    assert not is_resync_asked(disk)


def test_after_a_failure_of_the_disk_it_goes_by_what_lies_there() -> None:
    disk = SimDisk()
    home = founded_on(disk)
    before = keys_on(disk)
    after = published(home, with_new_witness(disk, home, PEER, TOKEN))
    failing = FailsOnce(disk)
    with pytest.raises(LedgerError, match="disk fails"):
        take_up(cast(Disk, failing), PEER, after.roster, "a", before)
    assert keys_on(disk) != before
    synced = failing.synced
    assert take_up(cast(Disk, failing), PEER, after.roster, "a", before).me.keys == keys_on(disk)
    assert failing.synced == synced + 1


class FailsOnce:
    """A disk whose first sync of a folder of keys fails."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.synced = 0

    def sync_folder(self, path: str) -> None:
        if path.endswith("/keys"):
            self.synced += 1
            if self.synced == 1:
                raise OSError(errno.EIO, "input/output error")
        self._disk.sync_folder(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)


def test_both_keys_lost_is_a_ledger_peer_still() -> None:
    disk = SimDisk()
    home = founded_on(disk)
    for name in (SERVICE_LOG_FILE, SERVICE_WITNESS_FILE):
        disk.unlink(f"{PEER}/{name}")
    after = published(home, with_new_witness(disk, home, PEER, TOKEN))
    last = published(after, with_new_log(disk, after, PEER, TOKEN))
    assert member_of(last.roster.organisations[0]).log_origin == SECOND
    taken = take_up(disk, PEER, last.roster, "a", keys_on(disk))
    assert taken.missing == Missing()
    assert is_resync_asked(disk)


@pytest.mark.parametrize("current", [SERVICE_LOG_FILE, SERVICE_WITNESS_FILE])
def test_a_seed_that_is_lost_when_its_successor_is_named_already_is_replaced_by_it(current: str) -> None:
    disk = SimDisk()
    home = founded_on(disk)
    make = with_new_log if current == SERVICE_LOG_FILE else with_new_witness
    after = published(home, make(disk, home, PEER, TOKEN))
    disk.unlink(f"{PEER}/{current}")
    with pytest.raises(RefusedError, match="start its daemon"):
        make(disk, after, PEER, TOKEN)
    assert take_up(disk, PEER, after.roster, "a", keys_on(disk)).missing == Missing()


def test_a_begun_log_whose_key_is_gone_is_passed_over() -> None:
    disk = SimDisk()
    home = founded_on(disk)
    with_new_log(disk, home, PEER, TOKEN)
    disk.unlink(f"{PEER}/{NEXT_SERVICE_LOG_FILE}")
    entry = with_new_log(disk, home, PEER, TOKEN)
    assert member_of(entry).log_origin == "pool.example/a/3"
    assert with_new_log(disk, home, PEER, TOKEN) == entry
    after = published(home, entry)
    me = take_up(disk, PEER, after.roster, "a", keys_on(disk)).me
    policy = after.roster.organisations[0].policy
    LogWriter.open(disk, f"{PEER}/{SERVICE_LOG_FOLDER}", key=key_from_seed(me.keys.log_seed), policy=policy).close()


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("kind", ["log", "witness"])
def test_a_retired_key_that_came_back_as_the_next_one_is_not_proposed_again(kind: str, is_lost: bool) -> None:
    """Nor when the one in use is lost."""
    disk = SimDisk()
    home = founded_on(disk)
    old = keys_on(disk)
    after = published(home, with_new_log(disk, home, PEER, TOKEN))
    take_up(disk, PEER, after.roster, "a", old)
    after = rotated_witness(disk, after)
    make, seed, current, following = (
        (with_new_log, old.log_seed, SERVICE_LOG_FILE, NEXT_SERVICE_LOG_FILE)
        if kind == "log"
        else (with_new_witness, old.witness_seed, SERVICE_WITNESS_FILE, NEXT_SERVICE_WITNESS_FILE)
    )
    write_file(disk, f"{PEER}/{following}", seed, token="t")
    if is_lost:
        disk.unlink(f"{PEER}/{current}")
    with pytest.raises(HomeError, match="was in use before"):
        make(disk, after, PEER, TOKEN)
    disk.unlink(f"{PEER}/{following}")
    make(disk, after, PEER, TOKEN)


def test_a_home_of_other_keys_is_not_the_ledger_peer_s() -> None:
    """Whichever key is asked for: the peer that runs would never learn of it."""
    disk = SimDisk()
    home = founded_on(disk)
    write_file(disk, f"{PEER}/{SERVICE_LOG_FILE}", b"o" * 32, token="t")
    with pytest.raises(HomeError, match="no key that the roster has"):
        with_new_witness(disk, home, PEER, TOKEN)


# --- the rule for all members -----------------------------------------------------------------------


def replacing(roster: Roster, **changes: Any) -> Proposal:
    entry = Hospital("b").row()
    entry = replace(entry, member=replace(member_of(entry), **changes))
    return Proposal(roster.epoch, bytes(32), Change.REPLACE, "b", entry, NOW_S + YEAR_S, NOW_S)


def test_a_log_is_one_key_s_and_its_successor_has_a_later_number() -> None:
    roster = roster_of_hospitals(1, FOUR)
    number = "consortium.example/b/"
    with pytest.raises(RosterError, match="cannot get another key"):
        next_roster(roster, replacing(roster, log_key=b"k" * 32))
    after = next_roster(roster, replacing(roster, log_key=b"k" * 32, log_origin=f"{number}2"))
    for origin in (f"{number}1", f"{number}0"):
        with pytest.raises(RosterError, match="does not begin again"):
            next_roster(after, replacing(after, log_key=b"l" * 32, log_origin=origin))
    words = words_of(roster, replacing(roster, log_key=b"k" * 32, log_origin=f"{number}2"))
    assert any("b/1 ends for good" in line and (b"k" * 32).hex() in line for line in words)
    words = words_of(roster, replacing(roster, witness_ed25519=b"w" * 32))
    assert any(line.startswith(f"witness key {(b'w' * 32).hex()}") for line in words)


def test_a_witness_knows_what_it_signed_with_a_former_key_for_its_own() -> None:
    disk, logs = SimDisk(), {FIRST: [Ed25519Signer(FIRST, key_from_seed(b"x" * 32)).key]}
    old, new = (cosigners_of(FIRST, seed * 32) for seed in (b"o", b"n"))
    LocalWitness.create(disk, "/witness", old, logs)
    first = LocalWitness.open(disk, "/witness", new, logs)
    again = LocalWitness.open(disk, "/witness", new, logs)
    for witness in (first, again):
        assert witness.keys == tuple(item.key for item in (*new, *old))
    marker = read_file(disk, "/witness/witness", max_bytes=10_000)
    assert marker is not None
    assert marker.decode().splitlines() == [item.key.vkey for item in (*old, *new)]
    damaged = b"?" + marker[1:]
    write_file(disk, "/witness/witness", damaged, token="t")
    assert LocalWitness.open(disk, "/witness", new, logs).keys == tuple(item.key for item in (*new, *old[1:]))


def test_a_witness_says_what_another_log_of_the_same_name_is() -> None:
    disk = SimDisk()
    first, second = (Ed25519Signer(FIRST, key_from_seed(seed * 32)) for seed in (b"x", b"y"))
    witness = LocalWitness.create(disk, "/witness", cosigners_of(FIRST, b"o" * 32), {FIRST: [first.key]})
    text = Checkpoint(FIRST, 0, EMPTY_ROOT).text
    witness.add_checkpoint(0, (), format_note(text, [first.sign(text)]), now_s=NOW_S)
    witness.use_logs({FIRST: [second.key]})
    with pytest.raises(LedgerError, match="another log of that name"):
        witness.latest(FIRST)


# --- power cuts -------------------------------------------------------------------------------------


class Rotated:
    """A log and a witness key are made and proposed; when the roster names them they are taken up."""

    def __init__(self) -> None:
        self.entry: Organisation | None = None
        self.taken = False

    def prepare(self, disk: Disk) -> None:
        founded_on(disk)

    def propose(self, disk: Disk) -> Organisation:
        home = load_home(disk, CLIENT, SimClock())
        log, witness = with_new_log(disk, home, PEER, TOKEN), with_new_witness(disk, home, PEER, TOKEN)
        new = member_of(witness)
        seed = read_seed(disk, PEER, NEXT_SERVICE_WITNESS_FILE)
        assert seed is not None
        ed25519, mldsa44 = witness_keys(member_of(log).log_origin, seed)
        assert (ed25519, mldsa44) == (new.witness_ed25519, new.witness_mldsa44)
        return replace(log, member=replace(member_of(log), witness_ed25519=ed25519, witness_mldsa44=mldsa44))

    def run(self, disk: Disk) -> None:
        self.entry = self.propose(disk)
        home = published(load_home(disk, CLIENT, SimClock()), self.entry)
        take_up(disk, PEER, home.roster, "a", keys_on(disk))
        self.taken = True

    def recover(self, disk: Disk) -> None:
        """As the daemon does at its start, and whoever proposes again."""
        if self.entry is not None:
            home = published(load_home(disk, CLIENT, SimClock()), self.entry)
            take_up(disk, PEER, home.roster, "a", keys_on(disk))
        else:
            self.propose(disk)

    def check(self, disk: Disk) -> None:
        if self.entry is None:
            # Nothing was proposed: what is proposed now is what lies here, and the log can be written by its key.
            self.entry = self.propose(disk)
        home = published(load_home(disk, CLIENT, SimClock()), self.entry)
        me = take_up(disk, PEER, home.roster, "a", keys_on(disk)).me
        assert me.log_key.vkey == member_of(self.entry).log_vkey
        assert [item.key.vkey for item in me.cosigners] == list(member_of(self.entry).witness_vkeys)
        policy, key = home.roster.organisations[0].policy, key_from_seed(me.keys.log_seed)
        LogWriter.open(disk, f"{PEER}/{SERVICE_LOG_FOLDER}", key=key, policy=policy).close()


@pytest.mark.slow
def test_a_power_cut_at_any_moment_loses_no_key_that_the_roster_names() -> None:
    assert crash_everywhere(Rotated) > 100


class Replaced:
    """The witness' key is lost and another is proposed in its place; its memory may be lost with it."""

    def __init__(self) -> None:
        self.entry: Organisation | None = None

    def prepare(self, disk: Disk) -> None:
        founded_on(disk)
        disk.unlink(f"{PEER}/{SERVICE_WITNESS_FILE}")
        disk.sync_folder(f"{PEER}/keys")

    def run(self, disk: Disk) -> None:
        self.entry = with_new_witness(disk, load_home(disk, CLIENT, SimClock()), PEER, TOKEN)

    def recover(self, disk: Disk) -> None:
        if read_seed(disk, PEER, SERVICE_WITNESS_FILE) is not None:
            assert is_resync_asked(disk), "a peer could start with a key of which it does not know that it is new"

    def check(self, disk: Disk) -> None:
        home = load_home(disk, CLIENT, SimClock())
        entry = with_new_witness(disk, home, PEER, TOKEN)
        assert self.entry in {None, entry}, "a key that was proposed is here"
        assert is_resync_asked(disk)
        taken = take_up(disk, PEER, published(home, entry).roster, "a", keys_on(disk))
        assert taken.missing == Missing()


@pytest.mark.slow
def test_a_power_cut_while_a_lost_key_is_replaced_lets_nothing_sign_that_may_have_forgotten() -> None:
    assert crash_everywhere(Replaced) > 10
