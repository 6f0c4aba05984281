"""A peer comes back on the port that it had, whatever port others see."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from client.home import load_home
from client.provision import NewHome
from core.ports import Address, Ports
from daemon.node import open_node
from daemon.settings import NetworkSettings, Settings
from tests.sim.pool import SimPool
from tests.sim.world import World


async def test_a_peer_behind_another_port_binds_its_own_again(autojump_clock: MockClock) -> None:
    bound: list[Address] = []

    async def run_peer(ports: Ports, home: NewHome, address: Address) -> None:
        seen = Address("hospital.example", address.port + 1000)
        settings = Settings(network=NetworkSettings(listen=Address("127.0.0.1", 0), advertise=seen))
        loaded = load_home(ports.disk, home.folder, ports.clock)
        serve = ports.net.serve

        class Watched:
            connect = ports.net.connect

            async def serve(self, address: Address, *args: object, **options: object) -> None:
                bound.append(address)
                await serve(address, *args, **options)  # type: ignore[arg-type]  # passed on as it came

        async with open_node(ports._replace(net=Watched()), loaded, settings, lambda line: None) as node:
            assert node.address == seen
            await trio.sleep_forever()

    async with World(1).running() as world:
        pool = SimPool(world, peers=1, sites=1, peer_program=run_peer)
        (node,) = pool.peers.values()
        node.start()
        await trio.sleep(5.0)
        node.kill()
        node.start()
        await trio.sleep(5.0)
        world.check()
    first, again = bound[0], bound[-1]
    assert first == Address("127.0.0.1", 0)
    assert again.port not in (0, 8000)
