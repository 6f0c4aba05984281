"""What manifests name is found without reading all of them, and what was missed is never taken for unnamed."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import trio

from anchor.manifest import Manifest
from core.errors import CorruptError, NoSuchShardError
from core.ids import ObjectId, ShardRoot
from daemon.documents import DocumentStore
from daemon.guests import ours_by_manifests, remove_unless_named
from daemon.naming import Naming, PrefixMap
from daemon.store import ShardStore
from tests.daemon.care_pool import CarePool, Put
from tests.sim.threads import SimThreads


def filled(naming: Naming) -> Naming:
    trio.run(naming.complete, SimThreads())
    return naming


@pytest.fixture(scope="module")
def puts() -> Sequence[Put]:
    pool = CarePool(seed=5)
    return [pool.put([1000 + number], seed=number) for number in range(4)]


@pytest.fixture
def store() -> ShardStore:
    """One peer's, without papers."""
    return next(iter(CarePool(seed=6).peers.values())).store


def keep(documents: DocumentStore, put: Put) -> None:
    documents.put("manifest", put.object, put.manifest_file)


def roots_of(manifest: Manifest) -> list[ShardRoot]:
    return [root for _, _, root, _ in manifest.shards()]


def readable(naming: Naming, root: ShardRoot) -> list[ObjectId]:
    return [name for name in naming.mentioned([root]) if naming.names_any(name, {root})]


def test_numbers_are_found_by_the_digests_that_they_were_added_for() -> None:
    chance = random.Random(1)
    digests = [chance.randbytes(32) for _ in range(5000)]
    found = PrefixMap()
    for number, digest in enumerate(digests):
        found.add(digest, number)
    found.add(digests[7][:8] + bytes(24), 9999)
    assert all(number in found.find(digest) for number, digest in enumerate(digests))
    assert found.find(digests[7]) == [7, 9999]
    assert sum(bool(found.find(chance.randbytes(32))) for _ in range(1000)) == 0


def test_every_root_leads_to_the_objects_that_name_it(store: ShardStore, puts: Sequence[Put]) -> None:
    for put in puts[:2]:
        keep(store.documents, put)
    naming = filled(Naming(store.documents))
    keep(store.documents, puts[2])
    assert naming.manifests == 2
    for put in puts[:3]:
        for root in roots_of(put.manifest):
            assert naming.objects(root) == readable(naming, root) == [put.object]
        assert naming.unnamed(roots_of(put.manifest)) == []
    assert naming.unnamed(roots_of(puts[3].manifest)) == roots_of(puts[3].manifest)
    roots = [roots_of(put.manifest)[0] for put in puts]
    assert [*naming.objects_of_each(roots).values()] == [[put.object] for put in puts[:3]] + [[]]
    for _ in range(3):
        keep(store.documents, puts[1])
    assert naming.objects(roots_of(puts[1].manifest)[0]) == [puts[1].object]
    assert naming.manifests == 3


def test_objects_of_many_shards_are_mentioned_once(store: ShardStore, puts: Sequence[Put]) -> None:
    for put in puts[:3]:
        keep(store.documents, put)
    naming = filled(Naming(store.documents))
    roots = [root for put in puts[1:] for root in roots_of(put.manifest)]
    assert naming.mentioned(roots) == sorted(put.object for put in puts[1:3])
    assert naming.names_any(puts[1].object, roots)
    assert not naming.names_any(puts[0].object, roots)


def test_what_came_is_read_before_the_question_and_what_cannot_be_read_keeps_nobody(puts: Sequence[Put]) -> None:
    pool = CarePool(seed=9)
    peer = pool.peers["peer-1"]
    naming = filled(Naming(peer.store.documents))
    for put in puts[:3]:
        keep(peer.store.documents, put)
    pool.flip(peer.home.path("manifests", str(puts[0].object)), 100)
    assert not naming.catch_up()
    assert naming.manifests == 2
    with pytest.raises(CorruptError):
        naming.unnamed([])
    keep(peer.store.documents, puts[0])
    assert naming.unnamed(roots_of(puts[0].manifest)) == []


def test_what_comes_while_all_are_read_is_not_missed(store: ShardStore, puts: Sequence[Put]) -> None:
    naming = filled(Naming(store.documents))
    keep(store.documents, puts[0])
    steps = naming.renewal()
    next(steps)
    keep(store.documents, puts[1])
    # Taken in by what is used until then; what will be used knows of it, too.
    assert naming.unnamed([roots_of(puts[1].manifest)[0]]) == []
    given_up = naming.renewal()
    next(given_up)
    given_up.close()
    list(steps)
    for put in puts[:2]:
        assert naming.objects(roots_of(put.manifest)[0]) == [put.object]


def test_a_manifest_that_went_is_forgotten_when_all_are_read_anew(store: ShardStore, puts: Sequence[Put]) -> None:
    keep(store.documents, puts[0])
    naming = filled(Naming(store.documents))
    store.documents.quarantine("manifest", puts[0].object)
    root = roots_of(puts[0].manifest)[0]
    assert naming.objects(root) == [puts[0].object]
    assert readable(naming, root) == []
    # Were nothing needed for it, and it came back before the removal, its own shard would be removed as a duplicate.
    with pytest.raises(NoSuchShardError):
        ours_by_manifests(store, puts[0].holder(0, 0), naming.objects(root))
    keep(store.documents, puts[0])
    assert ours_by_manifests(store, puts[0].holder(0, 0), naming.objects(root)) >= {root}
    store.documents.quarantine("manifest", puts[0].object)
    list(naming.renewal())
    assert naming.objects(root) == []


def test_nothing_is_unnamed_while_a_manifest_cannot_be_read(puts: Sequence[Put]) -> None:
    pool = CarePool(seed=7)
    peer = pool.peers["peer-1"]
    keep(peer.store.documents, puts[0])
    keep(peer.store.documents, puts[1])
    path = peer.home.path("manifests", str(puts[0].object))
    pool.flip(path, 100)
    naming = filled(Naming(peer.store.documents))
    other = roots_of(puts[1].manifest)[0]
    with pytest.raises(CorruptError):
        naming.objects(other)
    with pytest.raises(CorruptError):
        naming.unnamed([other])
    assert readable(naming, other) == [puts[1].object]
    keep(peer.store.documents, puts[0])
    assert naming.objects(roots_of(puts[0].manifest)[0]) == [puts[0].object]


def test_reading_all_fails_when_what_was_listed_is_gone(store: ShardStore, puts: Sequence[Put]) -> None:
    """Were the disk away amid it, everything that it holds would seem to be unnamed."""
    for put in puts[:2]:
        keep(store.documents, put)
    naming = filled(Naming(store.documents))
    steps = naming.renewal()
    next(steps)
    for put in puts[:2]:
        store.documents.quarantine("manifest", put.object)
    with pytest.raises(NoSuchShardError):
        list(steps)
    assert naming.manifests == 2


def test_a_manifest_that_comes_while_its_shard_is_removed_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = CarePool(seed=8)
    put = pool.put([1000])
    peer = pool.by_id[put.holder(0, 0)]
    store, root = peer.store, put.root(0, 0)
    store.documents.quarantine("manifest", put.object)
    naming = filled(Naming(store.documents))
    real = naming.objects

    def objects(wanted: ShardRoot) -> list[ObjectId]:
        # The shard is set aside: its put stores the manifest before it asks for the shard.
        assert store.have([wanted]) == [False]
        store.documents.put("manifest", put.object, put.manifest_file)
        return real(wanted)

    monkeypatch.setattr(naming, "objects", objects)
    assert not remove_unless_named(store, naming, root)
    assert store.have([root]) == [True]
    monkeypatch.undo()
    assert not remove_unless_named(store, naming, root)
    assert remove_unless_named(store, naming, root, [put.object])
