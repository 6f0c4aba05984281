"""Another peer for an organisation that is there already: a home of its own, which needs no change of the roster.

The roster has the organisation's issuer, not its peers. Blocks: use it in a disk job.
"""

from __future__ import annotations

import os.path
import posixpath
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from client.bootstrap import BOOTSTRAP_FILE, first_addresses
from client.certificates import HomeCertificate, issuer_key_file, read_certificate_of, read_issuing
from client.home import ROSTER_FILE, SETTINGS_FILE, TLS_KEY_FILE, Home
from client.homewriter import DEFAULT_SETTINGS, HomeWriter, check_name, peer_settings
from client.ledger import log_origin
from client.provision import NewHome
from core.errors import HomeError, PeerRefusedError, UsageError
from core.ports import Address, Chance, Clock, Disk

# Whom a new peer asks first; the pool tells it the rest.
BOOTSTRAP_MAX = 16
LOCK_FILE = "state/add-peer.lock"


class PeerPlan(NamedTuple):
    """What is wished for, and what is meant where it is empty.

    ``organisation``: the client's, or in a pool in one hand the one with the fewest peers. ``site``: that of its
    others. ``name``: the next number. ``folder``: peer-N beside the client's home, whatever its name: `pool up` and
    `pool down` know homes by that.

    ``listen`` None: any port of this machine's loopback. ``address``: where it is reached.
    """

    organisation: str = ""
    site: str = ""
    name: str = ""
    folder: str = ""
    listen: Address | None = None
    address: Address | None = None


def homes_beside(disk: Disk, home: Home) -> list[HomeCertificate]:
    """The peers of the same pool in the folder of a client's home; those that cannot be read are left out."""
    found: list[HomeCertificate] = []
    for path in _folders_beside(disk, home):
        if disk.stat(os.path.join(path, ROSTER_FILE)) is not None:
            # Another home's damage, or another pool's home, hinders nobody: its folder's name is taken all the same.
            with suppress(HomeError, PeerRefusedError):
                found.append(read_certificate_of(disk, path, home.roster))
    return found


def _folders_beside(disk: Disk, home: Home) -> list[str]:
    folder = os.path.dirname(home.folder)
    return [os.path.join(folder, name) for name in disk.list_folder(folder) if name.startswith("peer-")]


def add_peer(disk: Disk, chance: Chance, clock: Clock, home: Home, plan: PeerPlan, taken: Collection[str]) -> NewHome:
    """Make the home of a new peer; its roster comes last, so what is torn is no home.

    Args:
        home: the client's, with the organisation's issuing key.
        taken: names of the organisation's peers elsewhere.

    Two at a time wait for each other, so that they choose different names.

    Raises UsageError, HomeError (no issuing key; something is in the folder), PeerRefusedError, OSError.
    """
    disk.make_folders(posixpath.dirname(home.path(LOCK_FILE)))
    with disk.lock(home.path(LOCK_FILE), wait=True):
        return _add_peer(disk, HomeWriter(disk, chance, clock.now()), home, plan, taken)


def _add_peer(disk: Disk, writer: HomeWriter, home: Home, plan: PeerPlan, taken: Collection[str]) -> NewHome:
    others = homes_beside(disk, home)
    organisation = plan.organisation or _organisation_for(disk, home, others)
    issuing = read_issuing(disk, home.folder, home.roster, organisation)
    ours = [item.identity for item in others if item.identity.organisation == organisation]
    site = plan.site or (ours[0].site if ours else home.identity.site)
    names = {*taken, *(item.name for item in ours), *map(posixpath.basename, _folders_beside(disk, home))}
    number = _next_number(names)
    name = plan.name or f"peer-{number}"
    for what, text in (("organisation", organisation), ("site", site), ("peer", name)):
        check_name(what, text)
    if name in names:
        raise UsageError(f"{organisation} has a peer called {name} already: choose another --name")
    folder = plan.folder or os.path.join(
        os.path.dirname(home.folder), name if _numbers_in([name]) else f"peer-{number}"
    )
    _check_empty(disk, folder)
    settings = peer_settings(plan.listen, plan.address or plan.listen) if plan.listen else DEFAULT_SETTINGS
    doors = first_addresses(disk, home)[:BOOTSTRAP_MAX]
    writer.write_identity(folder, issuing, name=name, site=site, role="peer")
    writer.write(folder, SETTINGS_FILE, settings.encode())
    writer.write_ledger(folder, writer.new_ledger_keys(), log_origin(home.roster.pool_name, organisation, name))
    writer.write(folder, BOOTSTRAP_FILE, "".join(f"{door}\n" for door in doors).encode())
    writer.write(folder, ROSTER_FILE, home.roster_file)
    return NewHome(name, folder, site, organisation)


def _check_empty(disk: Disk, folder: str) -> None:
    if not disk.list_folder(folder):
        return
    if disk.stat(os.path.join(folder, TLS_KEY_FILE)) and disk.stat(os.path.join(folder, ROSTER_FILE)) is None:
        raise HomeError(f"{folder} is what an add-peer that was cut off left: it holds nothing yet; delete it")
    raise HomeError(f"{folder} is not empty: a new peer needs a folder, and should have a disk, of its own")


def _organisation_for(disk: Disk, home: Home, others: Collection[HomeCertificate]) -> str:
    if home.roster.is_consortium:
        return home.identity.organisation
    counts = Counter(item.identity.organisation for item in others)
    here = [
        name for name in home.roster.issuers if disk.stat(os.path.join(home.folder, issuer_key_file(name))) is not None
    ]
    return min(here, key=lambda name: counts[name], default=home.identity.organisation)


def _numbers_in(names: Collection[str]) -> list[int]:
    return [int(name[5:]) for name in names if name.startswith("peer-") and name[5:].isdecimal()]


def _next_number(names: Collection[str]) -> int:
    return max(_numbers_in(names), default=0) + 1
