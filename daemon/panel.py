"""The witnesses that an operator asks, and a witness that looks back: a connection for each, whatever asks."""

from __future__ import annotations

from collections.abc import Callable, Container

from anchor.note import NoteKey
from anchor.policy import Policy
from client.witness import WebWitness
from core.errors import MalformedError
from core.ports import Net
from daemon.cosigners import AskedWitness
from daemon.witnessdesk import OwnWitness, WitnessDesk


class Panel:
    """``keep_only`` what the roster names, and nothing at the end.

    Args:
        own: our own witness, as soon as it is open: it is asked without a network.
        say: told what is wrong with a policy's URLs.
    """

    def __init__(self, net: Net, own: Callable[[], WitnessDesk | None], say: Callable[[str], None]) -> None:
        self._net = net
        self._own = own
        self._say = say
        self._remote: dict[str, WebWitness] = {}

    def of(self, policy: Policy, ours: Container[NoteKey]) -> list[AskedWitness]:
        """The policy's witnesses, each once, though it has two keys. ``ours`` are the keys of our own."""
        found: dict[str, AskedWitness] = {}
        for witness in policy.witnesses:
            if witness.key in ours:
                found[witness.key.name] = OwnWitness(self._own)
            elif witness.key.name not in found and (remote := self._at(witness.url)) is not None:
                found[witness.key.name] = remote
        return list(found.values())

    def _at(self, url: str) -> WebWitness | None:
        if url not in self._remote:
            try:
                self._remote[url] = WebWitness(self._net, url)
            except MalformedError as error:
                self._say(f"witness: {error}")
                return None
        return self._remote[url]

    async def keep_only(self, urls: Container[str]) -> None:
        """Close the connections to all others."""
        for url in [url for url in self._remote if url not in urls]:
            await self._remote.pop(url).aclose()
