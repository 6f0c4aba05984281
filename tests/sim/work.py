"""What users do meanwhile: the client's machine runs puts, gets, verifies and sweeps, several at a time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import trio

from anchor.manifest import parse_manifest
from client.care import care_for_objects
from client.context import Client, open_client
from client.get import get
from client.health import Examination, Health
from client.home import load_home
from client.locate import find_manifest
from client.progress import Silent
from client.provision import NewHome
from client.put import put
from client.verify import examine
from core.errors import MoorageError, leaves_of
from core.ids import ObjectId
from core.limits import CHUNK_BYTES
from core.ports import Ports
from erasure.scheme import Scheme
from tests.sim.profiles import Profile
from tests.sim.trees import MemorySource, MemoryTarget
from tests.sim.truth import Acked, Truth, ViolationError

SCHEME = Scheme(4, 6)
# Every wait of a command has a deadline: the sum of them is far below this.
COMMAND_MAX_S = 1800.0
# A few are larger than a chunk, most are small: the shapes matter, not the bytes.
SIZES = (0, 1, 700, 700, 700, 5000, 5000, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 17)
FILES_MAX = 4


class Work:
    """Attributes:
    counts: commands by word and outcome.
    working: set to False, no further command begins.
    """

    def __init__(self, profile: Profile, truth: Callable[[], Truth], note: Callable[[str], None]) -> None:
        self._profile = profile
        self._truth = truth
        self._note = note
        self.counts: Counter[str] = Counter()
        self.working = True

    async def program(self, ports: Ports, home: NewHome) -> None:
        """One life of the client's machine."""
        async with trio.open_nursery() as nursery:
            for number in range(self._profile.clients):
                nursery.start_soon(self._loop, ports, home, ports.chance.stream(f"work/{number}"))

    async def _loop(self, ports: Ports, home: NewHome, chance: random.Random) -> None:
        while True:
            await trio.sleep(chance.expovariate(1 / self._profile.pause_s))
            if self.working:
                await self._command(ports, home, chance)

    async def _command(self, ports: Ports, home: NewHome, chance: random.Random) -> None:
        known = list(self._truth().objects)
        word = "put"
        if known and (len(known) >= self._profile.objects_max or chance.random() < 0.5):
            word = chance.choice(("get", "get", "verify", "sweep"))
        outcome = "ok"
        try:
            with trio.fail_after(COMMAND_MAX_S):
                async with open_client(ports, load_home(ports.disk, home.folder, ports.clock)) as client:
                    await self._do(word, client, known, chance)
        except (MoorageError, OSError, BaseExceptionGroup) as error:
            # The command line says the first; nothing was promised.
            words = outcomes(error)
            if "" in words:
                raise
            outcome = words[0]
        except trio.TooSlowError:
            raise ViolationError(f"{word} did not end within {COMMAND_MAX_S:g} s") from None
        self.counts[f"{word} {outcome}"] += 1
        self._note(f"{word} {outcome}")

    async def _do(self, word: str, client: Client, known: list[ObjectId], chance: random.Random) -> None:
        match word:
            case "put":
                await self._put(client, chance)
            case "get":
                await check_restore(client, self._truth().objects[chance.choice(known)])
            case "verify":
                await check_verify(client, self._truth(), chance.choice(known))
            case _:
                await client.live_peers()
                await care_for_objects(client, [chance.choice(known)], job="sweep", full=True, progress=Silent())

    async def _put(self, client: Client, chance: random.Random) -> None:
        truth = self._truth()
        files = {f"f{number}": chance.randbytes(chance.choice(SIZES)) for number in range(chance.randint(1, FILES_MAX))}
        if truth.objects and chance.random() < 0.1:
            # The same again: stored once.
            files = chance.choice(list(truth.objects.values())).files
        attempt = truth.begin()
        try:
            result = await put(
                client, MemorySource(files), name="study", scheme=SCHEME, allow_degraded=False, progress=Silent()
            )
            manifest_file = truth.manifest_file(result.object)
            manifest = parse_manifest(manifest_file, expected=result.object)
            truth.acknowledge(Acked(result.object, files, manifest, manifest_file, result.receipt), attempt)
            self._note(f"acknowledged {result.object}")
        finally:
            truth.end(attempt)


def outcomes(error: BaseException) -> list[str]:
    """A word for each of the errors by which a command's tasks ended; empty for what the world did not cause."""
    return [_outcome(leaf) for leaf in leaves_of(error)]


def _outcome(error: BaseException) -> str:
    if isinstance(error, MoorageError):
        return error.code
    return "os-error" if isinstance(error, OSError) else ""


async def check_restore(client: Client, acked: Acked) -> None:
    """Raises ViolationError for wrong bytes, MoorageError when nothing comes back."""
    target = MemoryTarget()
    await get(client, acked.object, target, paths=[], progress=Silent())
    if target.files != acked.files:
        raise ViolationError(f"object {acked.object.short} came back with other bytes")


async def look_at(client: Client, name: ObjectId) -> Examination:
    """``moorage verify --full``."""
    await client.live_peers()
    manifest = await find_manifest(client, name)
    ports = client.ports
    return await examine(client.peers, client.dht, ports.threads, ports.chance, name, manifest, full=True)


async def check_verify(client: Client, truth: Truth, name: ObjectId) -> Examination:
    """Raises ViolationError when it says full and a shard is nowhere, before and after."""
    before = truth.missing(truth.objects[name])
    found = await look_at(client, name)
    after = truth.missing(truth.objects[name])
    lost = [place for place in before if place in after]
    if found.health is Health.FULL and lost:
        raise ViolationError(f"verify said full of object {name.short}, and nobody has {lost}")
    return found
