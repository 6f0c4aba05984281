"""What a daemon holds at any moment stays within the limits that have names."""

from __future__ import annotations

from daemon.node import Node
from daemon.reader import SUSPECTS_MAX
from daemon.server import ServerLimits
from daemon.store import UPLOADS_MAX
from dht.store import Quotas
from tests.sim.truth import ViolationError


def check_bounds(name: str, node: Node) -> None:
    """Raises ViolationError naming what is over its limit, or promised to nobody."""
    server, store = node.server.statistics(), node.store.statistics()
    held = {
        "connections": (server.connections, ServerLimits().connections),
        "uploads": (store.uploads, UPLOADS_MAX),
        "suspects": (store.suspects, SUSPECTS_MAX),
        "bytes promised to no upload": (0 if store.uploads else store.promised_bytes, 0),
    }
    if node.dht is not None:
        discovery, quotas = node.dht.statistics(), Quotas(peers=node.settings.dht.peers_max)
        held["peer records"] = (discovery.peers, quotas.peers)
        held["provider records"] = (discovery.providers, quotas.providers)
    for what, (count, limit) in held.items():
        if count > limit:
            raise ViolationError(f"{name} has {count} {what}, and the limit is {limit}")
