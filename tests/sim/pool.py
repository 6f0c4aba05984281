"""A whole pool in the simulator: production daemons and clients on simulated drives and a simulated network."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncGenerator
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

    def __init__(self, world: World, *, peers: int, sites: int) -> None:
        self.world = world
        made = SimDisk(SimDrive(world.seed, "maker"))
        provisioner = Provisioner(made, SimChance(world.seed, "maker"), SimClock(), "pool.example")
        client, *others = provisioner.make(FOLDER, peers=peers, sites=sites)
        self.client_home = client
        self.client_node = self._add(made, client, None)
        self.peers = {home.name: self._add(made, home, number) for number, home in enumerate(others)}

    def _add(self, made: Disk, home: NewHome, number: int | None) -> SimNode:
        loaded = load_home(made, home.folder, SimClock())

        async def program(ports: Ports) -> None:
            await _run_peer(ports, home.folder, FIRST_PORT + (number or 0))

        node = self.world.add(
            home.name,
            Person(loaded.identity, loaded.tls_key),
            lambda: loaded.roster.issuers,
            None if number is None else program,
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


async def _run_peer(ports: Ports, folder: str, port: int) -> None:
    home = load_home(ports.disk, folder, ports.clock)
    settings = Settings(network=NetworkSettings(listen=Address("127.0.0.1", port)))
    async with open_node(ports, home, settings, lambda line: None):
        await trio.sleep_forever()
