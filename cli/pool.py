"""A pool of real daemons on this machine: up, status, down."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from cli.background import exists, signal_process, start_agent, start_in_background, stop_agent, wait_for_agent
from cli.clients import open_home
from cli.homes import read_home
from cli.output import print_json, print_lines
from client.bootstrap import BOOTSTRAP_FILE
from client.context import open_client
from client.home import NO_ROSTER, ROSTER_FILE
from client.provision import Provisioner, is_pool_made
from core.durable import write_file
from core.encoding import Value
from core.errors import EXIT_OK, EXIT_PARTIAL, HomeError, MoorageError, NotEnoughPeersError, UsageError
from daemon.node import ADDRESS_FILE, PID_FILE
from daemon.onedaemon import LOCK_FILE
from erasure.scheme import Scheme
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk

# The issue of a daemon that does not come up is in its log; waiting longer would not help.
UP_DEADLINE_S = 30.0
# A daemon drains for up to ten seconds; what still runs then is killed.
DOWN_DEADLINE_S = 12.0
POLL_S = 0.05
PEERS = 6
LOG_FILE = "daemon.log"
LOG_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class PoolPeer:
    """One daemon's home as the pool's folder shows it; ``pid`` is None when it does not run."""

    name: str
    home: str
    site: str
    address: str
    pid: int | None

    def value(self) -> dict[str, Value]:
        return {
            "name": self.name,
            "pid": self.pid,
            "home": self.home,
            "site": self.site,
            "address": self.address,
        }


def run_pool(arguments: argparse.Namespace) -> int:
    folder = os.path.abspath(arguments.dir)
    match arguments.action:
        case "add-peer":
            from cli.add_peer import run_add_peer

            return run_add_peer(arguments)
        case "up":
            peers = pool_up(
                folder,
                peers=arguments.peers,
                sites=arguments.sites,
                scheme=Scheme.parse(arguments.scheme),
                name=arguments.name,
            )
        case "status":
            peers = pool_peers(folder)
        case _:
            peers = pool_down(folder)
    if arguments.json:
        print_json({"peers": [peer.value() for peer in peers]})
    elif not arguments.quiet:
        print_lines([f"{peer.name:<10} {peer.site:<8} {_state(peer):<12} {peer.address}" for peer in peers])
    running = sum(peer.pid is not None for peer in peers)
    return EXIT_OK if arguments.action != "status" or running == len(peers) else EXIT_PARTIAL


def _state(peer: PoolPeer) -> str:
    return "stopped" if peer.pid is None else f"pid {peer.pid}"


def sites_for(scheme: Scheme, peers: int) -> int:
    """As few sites as let no one hold more shares than may be lost, but at least three where there are peers."""
    return min(peers, max(3, -(-scheme.total // scheme.spare)))


def pool_up(folder: str, *, peers: int | None, sites: int | None, scheme: Scheme, name: str) -> list[PoolPeer]:
    """Make the pool if need be, start what does not run, return when all answer.

    ``peers`` None: PEERS of them in a new pool, and as many as there are in one that is there.

    Raises UsageError, HomeError, NotEnoughPeersError (with the end of the log of a daemon that did not start).
    """
    disk = RealDisk(private=True)
    client_home = _client_home(folder)
    if not is_pool_made(disk, folder):
        _make_pool(disk, folder, PEERS if peers is None else peers, sites, scheme, name)
    homes = _peer_homes(folder)
    if peers is not None and len(homes) != peers:
        raise UsageError(
            f"{folder} holds a pool of {len(homes)} peers, not {peers}: leave --peers out to start it; "
            f"`moorage pool add-peer --dir {folder}` adds one"
        )
    deadline = time.monotonic() + UP_DEADLINE_S
    # The first one that runs introduces the others to each other.
    started = [_start(homes[0])]
    agent = start_agent(client_home)
    first = _wait_for_address(homes[0], started[0], deadline)
    for home in [client_home, *homes[1:]]:
        _write_bootstrap(disk, home, [first])
    started += [_start(home) for home in homes[1:]]
    addresses = [_wait_for_address(home, process, deadline) for home, process in zip(homes, started, strict=True)]
    # When it comes back after a crash it must find them again.
    _write_bootstrap(disk, homes[0], addresses[1:])
    trio.run(_wait_until_all_answer, client_home, len(homes), deadline)
    wait_for_agent(client_home, agent)
    return pool_peers(folder)


def start_peers(folder: str) -> list[PoolPeer]:
    """Start what does not run of an organisation's peers, and return when each listens. Raises HomeError."""
    _start_all(_peer_homes(folder))
    return pool_peers(folder)


def start_one(home: str) -> None:
    """Start one peer's daemon, and return when it listens. Raises HomeError."""
    _start_all([home])


def _start_all(homes: Sequence[str]) -> None:
    deadline = time.monotonic() + UP_DEADLINE_S
    started = [(home, _start(home)) for home in homes]
    for home, process in started:
        _wait_for_address(home, process, deadline)
    # A daemon knocks at the others between saying where it listens and saying its number.
    while any(running_pid(home) is None for home, _ in started) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _write_bootstrap(disk: RealDisk, home: str, addresses: Sequence[str]) -> None:
    text = "".join(f"{address}\n" for address in addresses)
    write_file(disk, os.path.join(home, BOOTSTRAP_FILE), text.encode(), token=str(os.getpid()))


def _make_pool(disk: RealDisk, folder: str, peers: int, sites: int | None, scheme: Scheme, name: str) -> None:
    provisioner = Provisioner(disk, RealChance(), RealClock(), name)
    sites = sites_for(scheme, peers) if sites is None else sites
    provisioner.make(folder, peers=peers, sites=sites, client_settings=f'[client]\nscheme = "{scheme}"\n')


def _client_home(folder: str) -> str:
    return os.path.join(folder, "client")


def _peer_homes(folder: str) -> list[str]:
    try:
        names = [name for name in os.listdir(folder) if name.startswith("peer-") and name[5:].isdecimal()]
    except OSError as error:
        raise HomeError(f"{folder} is no pool's folder: {error.strerror}; make one with `moorage pool up`") from error
    found = [os.path.join(folder, name) for name in sorted(names, key=lambda name: int(name[5:]))]
    homes = [home for home in found if os.path.lexists(os.path.join(home, ROSTER_FILE))]
    for home in found:
        if home not in homes:
            print(f"moorage: {home} is left out: {NO_ROSTER}", file=sys.stderr)
    if not homes:
        raise HomeError(f"{folder} holds no peers: make a pool with `moorage pool up --dir {folder}`")
    return homes


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def running_pid(home: str) -> int | None:
    """The daemon's process id, when one holds the home's lock."""
    with RealDisk(private=True).lock(os.path.join(home, LOCK_FILE), wait=False) as free:
        if free:
            return None
    text = _read_text(os.path.join(home, PID_FILE))
    return int(text) if text.isdigit() else None


def pool_peers(folder: str) -> list[PoolPeer]:
    """Every peer of the pool in ``folder``. Raises HomeError."""
    return [peer_at(home) for home in _peer_homes(folder)]


def peer_at(folder: str) -> PoolPeer:
    """The peer whose home this is. Raises HomeError."""
    home, pid = read_home(folder), running_pid(folder)
    address = _read_text(home.path(ADDRESS_FILE)) if pid is not None else ""
    return PoolPeer(home.identity.name, folder, home.identity.site, address, pid)


def _start(home: str) -> subprocess.Popen[bytes] | None:
    if running_pid(home) is not None:
        return None
    # Its address of last time would be taken for its new one.
    Path(home, ADDRESS_FILE).unlink(missing_ok=True)
    return start_in_background(home, "daemon", LOG_FILE)


def _wait_for_address(home: str, process: subprocess.Popen[bytes] | None, deadline: float) -> str:
    path = os.path.join(home, ADDRESS_FILE)
    while not (address := _read_text(path)):
        if process is not None and process.poll() is not None:
            raise HomeError(f"the daemon of {home} ended with status {process.returncode}: {_log_tail(home)}")
        if time.monotonic() > deadline:
            raise NotEnoughPeersError(f"the daemon of {home} does not listen yet: {_log_tail(home)}")
        time.sleep(POLL_S)
    return address


def _log_tail(home: str) -> str:
    path = Path(home, LOG_FILE)
    return path.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace").strip() if path.exists() else "no log"


async def _wait_until_all_answer(client_home: str, count: int, deadline: float) -> None:
    """All peers answer, and each is known to the others: a put right after can use every one."""
    home, ports = open_home(client_home)
    answering = 0
    while time.monotonic() < deadline:
        try:
            async with open_client(ports, home) as client:
                answering = len(await client.live_peers())
        except MoorageError:
            answering = 0
        if answering >= count:
            return
        await trio.sleep(POLL_S)
    raise NotEnoughPeersError(f"only {answering} of {count} peers answer after {UP_DEADLINE_S:.0f} s")


def pool_down(folder: str) -> list[PoolPeer]:
    """Stop every daemon of the pool, by SIGTERM and, ten seconds later, by SIGKILL. Raises HomeError."""
    homes = _peer_homes(folder)
    pids = {home: pid for home in homes if (pid := running_pid(home)) is not None}
    stop_agent(_client_home(folder))
    for pid in pids.values():
        signal_process(pid, signal.SIGTERM)
        # A stopped (SIGSTOP) daemon cannot act on SIGTERM until it continues.
        signal_process(pid, signal.SIGCONT)
    deadline = time.monotonic() + DOWN_DEADLINE_S
    while any(running_pid(home) is not None or exists(pid) for home, pid in pids.items()):
        if time.monotonic() > deadline:
            for home, pid in pids.items():
                if running_pid(home) is not None:
                    signal_process(pid, signal.SIGKILL)
            if all(running_pid(home) is None for home in pids):
                # What is left are numbers that other processes bear by now.
                break
            deadline = time.monotonic() + DOWN_DEADLINE_S
        time.sleep(POLL_S)
    return pool_peers(folder)
