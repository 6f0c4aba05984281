"""Who is how near: the k-buckets of the ``kademlia`` package, with its faults closed.

Maymounkov and Mazières, "Kademlia: a peer-to-peer information system based on the XOR metric" (2002), sections
2.2 and 4.1. Changed against kademlia 2.2.3:

- bucket bounds are inclusive, and the space ends at 2^160 - 1;
- the closest of the whole table are returned, the one that was asked for among them;
- a contact that is heard from moves to its bucket's tail, and takes the address of its newest record;
- a contact goes when it failed ``fails_max`` times in a row, RETRY_APART_S apart, and then does not come
  back by another peer's word unless it signed a newer record since;
- a full bucket keeps its contacts (the upkeep pings them) instead of starting an asyncio task;
- a full bucket is split while fewer than ``ksize`` contacts are nearer to this peer than the bucket is, so that
  the nearest ``ksize`` are always known whole (section 2.4); no clock is read.

The package's ids have 160 bits: the first 20 bytes of a PeerId, or of a key.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from itertools import islice

from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

from core.ids import PeerId
from core.ports import Address
from dht.records import PeerRecord, supersedes

NODE_ID_BYTES = 20
SPACE = 2 ** (8 * NODE_ID_BYTES)
# Records whose address did not answer; 1024 of them are 2 MiB.
GRAVES_MAX = 1024
# Failures closer together are one: a restart takes seconds, and who asks may remember a failed dial for ten.
RETRY_APART_S = 15.0


def node_id(key: bytes) -> bytes:
    """The 20-byte id of a 32-byte key or peer id in the package's 160-bit space."""
    return key[:NODE_ID_BYTES]


class Contact(Node):
    """A peer in the table: its newest record and how it behaved."""

    def __init__(self, record: PeerRecord) -> None:
        super().__init__(node_id(record.peer.raw), record.address.host, record.address.port)
        self.record = record
        self.heard_s = -math.inf
        """When it last answered or was heard of as alive, by trio's clock."""
        self.fails = 0
        self.failed_s = -math.inf
        self.told: Address | None = None
        """The address of ours that it was last told."""

    @property
    def peer(self) -> PeerId:
        return self.record.peer

    def renew(self, record: PeerRecord) -> None:
        """Take a newer record; a new address deserves a new start."""
        if record.address != self.record.address:
            self.fails = 0
        self.record, self.ip, self.port = record, record.address.host, record.address.port


class Bucket(KBucket):
    """Contacts of one range of ids, least recently heard first."""

    def __init__(self, low: int, high: int, ksize: int) -> None:
        super().__init__(low, high, ksize)
        self.searched_s = -math.inf

    def touch_last_updated(self) -> None:
        # The package reads the system's clock here; ours is trio's, and the node keeps the times.
        self.last_updated = 0.0

    def split(self) -> tuple[KBucket, KBucket]:
        low, high = self.range
        middle = (low + high) // 2
        halves = Bucket(low, middle, self.ksize), Bucket(middle + 1, high, self.ksize)
        for node in [*self.nodes.values(), *self.replacement_nodes.values()]:
            halves[node.long_id > middle].add_node(node)
        return halves

    def contacts(self) -> list[Contact]:
        return [node for node in self.nodes.values() if isinstance(node, Contact)]


class Table(RoutingTable):
    """The contacts of one peer, about ``ksize`` for each doubling of distance."""

    def __init__(self, me: bytes, *, ksize: int, fails_max: int = 2) -> None:
        self._fails_max = fails_max
        self._graves: OrderedDict[PeerId, PeerRecord] = OrderedDict()
        super().__init__(None, ksize, Node(node_id(me)))

    def flush(self) -> None:
        self.buckets: list[KBucket] = [Bucket(0, SPACE - 1, self.ksize)]

    def get_bucket_for(self, node: Node) -> int:
        return self._index(node.long_id)

    def _index(self, long_id: int) -> int:
        low, high = 0, len(self.buckets) - 1
        while low < high:
            middle = (low + high) // 2
            if long_id <= self.buckets[middle].range[1]:
                high = middle
            else:
                low = middle + 1
        return low

    def add_contact(self, node: Node) -> None:
        """Add, splitting our own bucket as needed; a full bucket keeps ``node`` as a replacement."""
        while not (bucket := self.buckets[self.get_bucket_for(node)]).add_node(node):
            if not self._may_split(bucket):
                return
            # A split offers the replacements their places too.
            self.split_bucket(self.get_bucket_for(node))
            if self._held(node.id) is not None:
                return

    def _may_split(self, bucket: KBucket) -> bool:
        low, high = bucket.range
        # Buckets are aligned subtrees: their least distance from us is what their prefix says.
        least = (low ^ self.node.long_id) & ~(high - low)
        # Asked for every record that finds its bucket full, which in a large pool is nearly every one.
        nodes = (node for bucket in self.buckets for node in bucket.nodes.values())
        nearer = islice((node for node in nodes if node.long_id ^ self.node.long_id < least), self.ksize)
        return low < high and sum(1 for _ in nearer) < self.ksize

    def _held(self, id_bytes: bytes) -> Contact | None:
        node = self.buckets[self._index(int.from_bytes(id_bytes))].nodes.get(id_bytes)
        return node if isinstance(node, Contact) else None

    def contact(self, peer: PeerId) -> Contact | None:
        return self._held(node_id(peer.raw))

    def contacts(self) -> list[Contact]:
        return [contact for bucket in self.buckets if isinstance(bucket, Bucket) for contact in bucket.contacts()]

    def learned(self, record: PeerRecord) -> Contact | None:
        """Somebody passed on this record. The contact, or None when it is ourselves, dead or finds no room."""
        if node_id(record.peer.raw) == self.node.id:
            return None
        grave = self._graves.get(record.peer)
        if grave is not None:
            if not supersedes(record, grave):
                return None
            del self._graves[record.peer]
        contact = self.contact(record.peer)
        if contact is None:
            self.add_contact(Contact(record))
            return self.contact(record.peer)
        if supersedes(record, contact.record):
            contact.renew(record)
        return contact

    def heard(self, record: PeerRecord, now_s: float) -> None:
        """The peer itself answered, or signed this record just now."""
        self._graves.pop(record.peer, None)
        contact = self.learned(record)
        if contact is None:
            self._displace(record)
            contact = self.contact(record.peer)
        if contact is not None:
            contact.heard_s, contact.fails = now_s, 0
            self.buckets[self.get_bucket_for(contact)].nodes.move_to_end(contact.id)

    def _displace(self, record: PeerRecord) -> None:
        """Give the place of a suspect to a peer that is there; ``remove_node`` moves the last replacement up."""
        if node_id(record.peer.raw) == self.node.id:
            return
        bucket = self.buckets[self._index(Contact(record).long_id)]
        assert isinstance(bucket, Bucket)
        for contact in bucket.contacts():
            if contact.fails:
                bucket.remove_node(contact)
                return

    def failed(self, peer: PeerId, now_s: float) -> None:
        """It did not answer where its record says. After ``fails_max`` times in a row it is dead to us."""
        contact = self.contact(peer)
        if contact is None or (contact.fails and now_s - contact.failed_s < RETRY_APART_S):
            return
        contact.fails += 1
        contact.failed_s = now_s
        if contact.fails >= self._fails_max:
            self.remove_contact(contact)
            self._graves[peer] = contact.record
            if len(self._graves) > GRAVES_MAX:
                self._graves.popitem(last=False)

    def suspect(self, peer: PeerId, now_s: float) -> None:
        """It was too slow to wait for: left out of answers until the upkeep has pinged it."""
        contact = self.contact(peer)
        if contact is not None and not contact.fails:
            contact.fails, contact.failed_s = 1, now_s

    def is_dead(self, peer: PeerId) -> bool:
        return peer in self._graves

    def forget(self, peer: PeerId) -> None:
        """Remove every trace."""
        self._graves.pop(peer, None)
        gone = Node(node_id(peer.raw))
        bucket = self.buckets[self.get_bucket_for(gone)]
        bucket.replacement_nodes.pop(gone.id, None)
        bucket.remove_node(gone)

    def closest(self, key: bytes, count: int, *, trusted_min: int | None = None) -> list[Contact]:
        """The ``count`` contacts nearest to the 32-byte ``key``, nearest first.

        With ``trusted_min``: suspects are left out as long as so many others remain.
        """
        target = int.from_bytes(node_id(key))
        candidates = self.contacts()
        if trusted_min is not None:
            trusted = [contact for contact in candidates if not contact.fails]
            if len(trusted) >= trusted_min:
                candidates = trusted
        return heapq.nsmallest(count, candidates, key=lambda contact: contact.long_id ^ target)

    def find_neighbors(self, node: Node, k: int | None = None, exclude: Node | None = None) -> list[Node]:
        found: list[Node] = [*self.closest(node.id, (k or self.ksize) + 1)]
        return [near for near in found if exclude is None or near.id != exclude.id][: k or self.ksize]

    def searched(self, key: bytes, now_s: float) -> None:
        bucket = self.buckets[self._index(int.from_bytes(node_id(key)))]
        assert isinstance(bucket, Bucket)
        bucket.searched_s = now_s

    def unsearched(self, before_s: float) -> list[tuple[int, int]]:
        """The ranges of 160-bit ids in which nothing was looked for since ``before_s``."""
        return [b.range for b in self.buckets if isinstance(b, Bucket) and b.searched_s < before_s]
