"""What a client does by itself: placement, its catalogue, its log's index of leaves."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from anchor.leafindex import BLOCK_MIN, LeafIndex
from anchor.merkle import HASH_BYTES
from anchor.tiles import TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, tile_levels
from benchmarks.scale_growth import Count
from benchmarks.scale_models import leaf_bytes
from benchmarks.scale_peer import NOW_S, scratch_folder, timed
from benchmarks.scale_pool import make_home
from client.contents import ContentIndex, Named
from client.home import Home
from client.memory import CatalogueEntry, ClientMemory, encode_entry
from core.ids import ObjectId, PeerId
from erasure.placement import Candidate, place, replace_holders
from erasure.scheme import Scheme
from host.chance import RealChance
from host.disk import RealDisk

SCHEME = Scheme(4, 6)
PLACEMENTS = 5


def candidates(peers: int) -> list[Candidate]:
    """Peers at 50 sites of 10 organisations, or fewer; of unequal room."""
    chance = random.Random(peers)
    sites = max(3, min(50, peers // 6))
    return [
        Candidate(
            PeerId(chance.randbytes(32)),
            f"hospital-{number % sites % 10}",
            f"site-{number % sites}",
            100 + number % 900,
        )
        for number in range(peers)
    ]


def count_placement(peers: int) -> Iterator[Count]:
    """New homes for one object, and for one lost share."""
    pool = candidates(peers)
    seeds = [number.to_bytes(4) for number in range(PLACEMENTS)]
    spent_s, placed = timed(lambda: [place(seed, SCHEME, pool) for seed in seeds], times=3)
    yield Count("placement of an object", "s", "peers", peers, spent_s / PLACEMENTS)
    good = dict(enumerate(placed[0][1:], start=1))
    left = [item for item in pool if item.peer != placed[0][0]]
    if len(left) >= SCHEME.total:
        spent_s, _ = timed(lambda: [replace_holders(seed, SCHEME, good, [0], left) for seed in seeds], times=3)
        yield Count("a new home for a lost share", "s", "peers", peers, spent_s / PLACEMENTS)


def fill_catalogue(home: Home, objects: int) -> list[CatalogueEntry]:
    """A catalogue that its index covers."""
    chance = random.Random(objects)
    disk = RealDisk()
    folder = Path(home.path("catalogue"))
    folder.mkdir(parents=True)
    entries: list[CatalogueEntry] = []
    for number in range(objects):
        entry = CatalogueEntry(
            ObjectId(chance.randbytes(32)), chance.randbytes(32), f"study {number}", 500, 10**8, 15 * 10**7, NOW_S
        )
        (folder / str(entry.object)).write_bytes(encode_entry(entry))
        entries.append(entry)
    ContentIndex(disk, home).complete(Named(entry.content, entry.object) for entry in entries)
    return entries


def count_catalogue(objects: int) -> Iterator[Count]:
    """``ls``, what ``put`` looks up, and the short name of an object."""
    with scratch_folder() as folder:
        home = make_home(str(folder))
        entries = fill_catalogue(home, objects)
        memory = ClientMemory(RealDisk(), home, RealChance())
        wanted = entries[objects // 2]
        spent_s, listed = timed(lambda: sum(1 for _ in memory.objects()), times=2)
        assert listed == objects
        yield Count("`ls`: read the catalogue", "s", "objects", objects, spent_s)
        spent_s, found = timed(lambda: memory.find_content(wanted.content), times=3)
        assert found == [wanted]
        yield Count("`put`: is this content stored already", "s", "objects", objects, spent_s)
        spent_s, counted = timed(memory.count, times=3)
        assert counted == objects
        yield Count("`status`: count the catalogue", "s", "objects", objects, spent_s)
        spent_s, _ = timed(lambda: memory.resolve(str(wanted.object)[:16]), times=3)
        yield Count("an object by the beginning of its id", "s", "objects", objects, spent_s)


def equal_leaves(leaves: int) -> Callable[[str], bytes]:
    """The tiles of a log whose leaves all have one hash: those of a level are equal, too."""
    tile = bytes(TILE_BYTES)
    levels = [tile]
    while leaves >> TILE_HEIGHT * len(levels):
        tile = tile_levels(tile)[-1][0] * TILE_WIDTH
        levels.append(tile)

    def read(path: str) -> bytes:
        width = int(path.rpartition(".p/")[2]) if ".p/" in path else TILE_WIDTH
        return levels[int(path.split("/")[1])][: width * HASH_BYTES]

    return read


def count_log(leaves: int) -> Iterator[Count]:
    """What the first append of a process reads of a log of so many leaves, or a few more, where it is most; tiles come
    from memory."""
    size = leaves if leaves < BLOCK_MIN else leaves // BLOCK_MIN * BLOCK_MIN + BLOCK_MIN - 1
    tile, read_bytes = equal_leaves(size), 0

    def read(path: str) -> bytes:
        nonlocal read_bytes
        read_bytes += len(tile(path))
        return tile(path)

    with scratch_folder() as folder:

        def find() -> None:
            assert not LeafIndex(RealDisk(), f"{folder}/leaves").find(read, size, [b"\1" * HASH_BYTES])

        made_s, _ = timed(find)
        read_bytes = 0
        spent_s, _ = timed(find)
    yield Count("`put`: leaves' hashes read from the own log", "bytes", "objects", leaves, read_bytes, leaf_bytes(size))
    yield Count("`put`: time for that", "s", "objects", leaves, spent_s)
    yield Count("index of the own log's leaves, made anew", "s", "objects", leaves, made_s)
