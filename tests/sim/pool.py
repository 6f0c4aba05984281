"""A whole pool in the simulator: production daemons and clients on simulated drives and a simulated network."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from client.bootstrap import BOOTSTRAP_FILE
from client.context import Client, open_client
from client.home import load_home
from client.provision import NewHome, Provisioner
from core.durable import write_file
from core.ports import Address, Disk, Ports
from daemon.node import open_node
from daemon.settings import NetworkSettings, Settings
from tests.sim.chance import SimChance
from tests.sim.clock import SimClock
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive
from tests.sim.people import Person
from tests.sim.world import SimNode, World

FOLDER = "/pool"
FIRST_PORT = 7000

PeerProgram = Callable[[Ports, NewHome, Address], Awaitable[None]]
ClientProgram = Callable[[Ports, NewHome], Awaitable[None]]


def copy_tree(source: Disk, target: Disk, folder: str) -> None:
    """Copy every file below ``folder``, durably."""
    for name in source.list_folder(folder):
        path = posixpath.join(folder, name)
        found = source.stat(path)
        assert found is not None
        if found.is_folder:
            copy_tree(source, target, path)
        else:
            with source.open(path, "read") as file:
                write_file(target, path, file.read_at(0, found.size_bytes), token="copy")


class SimPool:
    """Homes made by the production provisioner, each on the drive of a node of its own."""

    def __init__(
        self,
        world: World,
        *,
        peers: int,
        sites: int,
        peer_program: PeerProgram | None = None,
        client_program: ClientProgram | None = None,
    ) -> None:
        """Peers run the daemon unless told otherwise; the client's machine runs nothing by itself."""
        self.world = world
        self._peer_program = peer_program or _run_peer
        self._client_program = client_program
        made = SimDisk(SimDrive(world.seed, "maker"))
        provisioner = Provisioner(made, SimChance(world.seed, "maker"), SimClock(), "pool.example")
        client, *others = provisioner.make(FOLDER, peers=peers, sites=sites)
        self.client_home = client
        self.homes = {home.name: home for home in others}
        self.client_node = self._add(made, client, None)
        self.peers = {home.name: self._add(made, home, number) for number, home in enumerate(others)}

    def _add(self, made: Disk, home: NewHome, number: int | None) -> SimNode:
        loaded = load_home(made, home.folder, SimClock())

        async def program(ports: Ports) -> None:
            if number is not None:
                await self._peer_program(ports, home, Address("127.0.0.1", FIRST_PORT + number))
            elif self._client_program is not None:
                await self._client_program(ports, home)

        node = self.world.add(
            home.name,
            Person(loaded.identity, loaded.tls_key),
            lambda: loaded.roster.issuers,
            None if number is None and self._client_program is None else program,
        )
        disk = SimDisk(node.drive)
        copy_tree(made, disk, home.folder)
        write_file(disk, posixpath.join(home.folder, BOOTSTRAP_FILE), f"127.0.0.1:{FIRST_PORT}\n".encode(), token="b")
        return node

    async def start(self) -> None:
        """Every peer, and time for them to find each other."""
        for node in self.peers.values():
            node.start()
            await trio.sleep(1.0)
        await trio.sleep(60.0)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        """One command's life of the client's machine."""
        ports = self.client_node.start()
        try:
            async with open_client(ports, load_home(ports.disk, self.client_home.folder, ports.clock)) as client:
                yield client
        finally:
            if self.client_node.is_up:
                self.client_node.kill()


async def _run_peer(ports: Ports, home: NewHome, address: Address) -> None:
    settings = Settings(network=NetworkSettings(listen=address))
    async with open_node(ports, load_home(ports.disk, home.folder, ports.clock), settings, lambda line: None):
        await trio.sleep_forever()
