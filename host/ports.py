"""The real ports, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.ports import Ports
from host.chance import RealChance
from host.clock import RealClock
from host.descriptors import allow_open_files
from host.disk import RealDisk
from host.memory import keep_freed_memory
from host.net import NetLimits, TlsNet
from host.threads import RealThreads


def real_ports(
    certificate: Callable[[], bytes],
    key: Ed25519PrivateKey,
    issuers: Callable[[], Mapping[str, bytes]],
    *,
    private_files: bool = True,
    net_limits: NetLimits | None = None,
) -> Ports:
    """The world as it is, for one identity (its certificate, its key) on one roster.

    Also tells the process' allocator what it will be used for, and the system how many files may be open.

    Args:
        certificate, issuers: ours, and each organisation's by its name (DER); asked anew at each connection.
        private_files: new files and folders are for this user alone; otherwise the process' umask decides.
    """
    keep_freed_memory()
    allow_open_files()
    clock = RealClock()
    return Ports(
        disk=RealDisk(private=private_files),
        net=TlsNet(certificate, key, issuers, clock, limits=net_limits),
        threads=RealThreads(),
        clock=clock,
        chance=RealChance(),
    )
