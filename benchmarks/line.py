"""What mutual TLS costs both ends: frames through the shipped network port, one process each, over loopback."""

from __future__ import annotations

import functools
import multiprocessing
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe

import trio

from core.identity import Role, issue_certificate, key_from_seed, make_issuer
from core.limits import FRAME_BODY_MAX_BYTES
from core.ports import Address, Connection
from host.chance import RealChance
from host.clock import RealClock
from host.memory import keep_freed_memory
from host.net import TlsNet
from wire.frames import FrameParser, frame_prefix

ORGANISATION = "hospital"
VALID_S = 86_400.0
SEED_BYTES = 32
SERIAL_BYTES = 19
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Papers:
    """What one end needs: its key's seed, its certificate, its organisation's (DER)."""

    seed: bytes
    certificate: bytes
    issuer: bytes

    def net(self) -> TlsNet:
        issuers = {ORGANISATION: self.issuer}
        return TlsNet(lambda: self.certificate, key_from_seed(self.seed), lambda: issuers, RealClock())


@dataclass(frozen=True, slots=True)
class LineCost:
    """CPU time of either end, their handshake not included."""

    sender_s: float
    receiver_s: float

    @property
    def both_s(self) -> float:
        return self.sender_s + self.receiver_s


def make_papers() -> tuple[Papers, Papers]:
    """A client's and a peer's, of one organisation."""
    token, now = RealChance().token, RealClock().now()
    issuer_key = key_from_seed(token(SEED_BYTES))
    issuer = make_issuer(
        issuer_key, organisation=ORGANISATION, now=now, valid_s=VALID_S, serial=b"\x01" + token(SERIAL_BYTES - 1)
    )

    def papers(role: Role) -> Papers:
        seed, serial = token(SEED_BYTES), b"\x01" + token(SERIAL_BYTES - 1)
        holder = key_from_seed(seed).public_key()
        certificate = issue_certificate(
            issuer_key, issuer, holder, name=role, site="site", role=role, now=now, valid_s=VALID_S, serial=serial
        )
        return Papers(seed, certificate, issuer)

    return papers("client"), papers("peer")


async def _take(connection: Connection, pipe: Pipe, frames: int) -> None:
    """Receive as a daemon does; the CPU time of each batch of ``frames`` goes into the pipe."""
    parser = FrameParser()
    began, seen = time.process_time(), 0
    while count := await connection.receive_into(parser.room(), expected_bytes=parser.expected_bytes):
        for _ in parser.took(count):
            seen += 1
            if seen == frames:
                pipe.send(time.process_time() - began)
                await connection.send_all(b"!")
                began, seen = time.process_time(), 0


def receive(papers: Papers, pipe: Pipe, frames: int) -> None:
    """The receiving process: says at which port it listens, then what each batch cost. Ends when it is killed."""

    async def listen() -> None:
        async with trio.open_nursery() as nursery:
            handler = functools.partial(_take, pipe=pipe, frames=frames)
            address = await nursery.start(papers.net().serve, Address("127.0.0.1", 0), handler)
            pipe.send(address.port)

    keep_freed_memory()
    trio.run(listen)


@asynccontextmanager
async def _connected(papers: Papers, port: int) -> AsyncGenerator[Connection]:
    connection = await papers.net().connect(Address("127.0.0.1", port))
    try:
        yield connection
    finally:
        await connection.aclose()


async def _send(papers: Papers, port: int, pipe: Pipe, *, frames: int, rounds: int) -> list[LineCost]:
    body = memoryview(bytearray(FRAME_BODY_MAX_BYTES))
    costs: list[LineCost] = []
    async with _connected(papers, port) as connection:
        for _ in range(rounds + 1):
            began = time.process_time()
            for number in range(frames):
                await connection.send_all(frame_prefix({"n": number}, len(body)), body)
            with trio.fail_after(PATIENCE_S):
                await connection.receive_some(1)
            costs.append(LineCost(time.process_time() - began, float(pipe.recv())))
    # The first batch warms both ends up.
    return costs[1:]


def line_costs(size_bytes: int, rounds: int) -> list[LineCost]:
    """The cost of moving ``size_bytes``, in full frames, ``rounds`` times."""
    frames = max(1, size_bytes // FRAME_BODY_MAX_BYTES)
    client, peer = make_papers()
    here, there = multiprocessing.Pipe()
    receiver = multiprocessing.get_context("spawn").Process(target=receive, args=(peer, there, frames), daemon=True)
    receiver.start()
    try:
        if not here.poll(PATIENCE_S):
            raise SystemExit("the receiving end of the line does not start")
        costs = trio.run(functools.partial(_send, client, int(here.recv()), here, frames=frames, rounds=rounds))
    finally:
        receiver.kill()
        receiver.join()
    scale = size_bytes / (frames * FRAME_BODY_MAX_BYTES)
    return [LineCost(cost.sender_s * scale, cost.receiver_s * scale) for cost in costs]
