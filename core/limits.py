"""Constants that two peers must agree on, and the bounds of everything that comes from outside.

Each has a unit in its name and a reason beside it. What an operator may change is not here but in
``daemon.settings``.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# --- the stored format ------------------------------------------------------------------------

# A 512x512 slice of 16-bit pixels is exactly two chunks, a Crypt4GH segment a quarter of one.
CHUNK_BYTES = 256 * KIB
# 64 MiB: one file of 6 to 16 MiB per peer, so disks are read in long runs and no index is needed.
EXTENT_CHUNKS = 256
EXTENT_BYTES = CHUNK_BYTES * EXTENT_CHUNKS
# AES-GCM appends its tag to the sealed chunk.
TAG_BYTES = 16
SEALED_CHUNK_MAX_BYTES = CHUNK_BYTES + TAG_BYTES
# GF(2^8) has 256 elements, hence at most 256 shares (zfec's own bound).
TOTAL_SHARES_MAX = 256
# A group's fate is shared: one study of any size is lost or kept as a whole below this size.
GROUP_BYTES = 4 * GIB

# --- what a peer may send ---------------------------------------------------------------------

# Heads are routing information; 64 KiB holds the longest (a batch of 512 shard roots).
FRAME_HEAD_MAX_BYTES = 64 * KIB
# A frame costs half a millisecond of scheduling at either end, whatever its size: with 2 MiB a put takes a tenth
# less time than with 1 MiB. Larger ones cost memory at every connection.
# The odd 64 KiB let 32 shares of a sealed chunk (65,540 bytes each at 4 needed) travel in one frame.
FRAME_BODY_MAX_BYTES = 2 * MIB + 64 * KIB
# Upload frames that may be on the way unacknowledged, per shard. A full extent is eight: a holder whose answers come
# late costs it one round trip. What a holder has in memory is bounded besides.
UPLOAD_WINDOW_FRAMES = 8
# Requests one connection may have unanswered. Bounds the memory that a peer can make us hold.
REQUESTS_IN_FLIGHT_MAX = 64
# Chunks one read request may name: 32 shares of 64 KiB fill one frame body.
READ_CHUNKS_MAX = 32
ROOTS_PER_REQUEST_MAX = 512
# A manifest is one frame body. It lists 32 bytes per shard: 1 MiB describes 270 GiB at 4+2, 114 GiB at 10+6.
MANIFEST_MAX_BYTES = 1 * MIB
# tlog-tiles caps an entry at 65,535 bytes; a receipt holds one plus proof, cosignatures, policy and roster.
LEAF_MAX_BYTES = 65_535
RECEIPT_MAX_BYTES = 768 * KIB
# A hundred versions of a consortium of 13 take 600 KiB; it travels in one frame's body.
ROSTER_MAX_BYTES = 2 * MIB
# One organisation with hybrid keys takes 3 KiB, 64 ballots of four signatures 19 KiB.
PROPOSAL_MAX_BYTES = 64 * KIB
# A peer record carries an Ed25519 certificate of about 450 bytes.
DHT_RECORD_MAX_BYTES = 1200
# Two days: a weekend's outage does not erase a peer, a dead one is forgotten on Monday.
DHT_RECORD_LIFE_MAX_S = 48 * 3600
# Hospitals run NTP; two minutes forgive a badly kept clock.
CLOCK_SKEW_MAX_S = 120
# Objects are at most this many files; the sealed index of so many is about 1 GB.
FILES_PER_OBJECT_MAX = 10_000_000
# Linux' own bounds.
NAME_MAX_BYTES = 255
PATH_MAX_BYTES = 4096

# A later time is nobody's; the year 36,812 is one that every C library can print.
SECONDS_MAX = 2**40
# What a peer may have set, and so may tell. A decade between two looks at a byte is never meant.
PERIOD_MAX_DAYS = 3650
GRACE_MAX_HOURS = 24 * 365

# --- patience (seconds) -----------------------------------------------------------------------

CONNECT_DEADLINE_S = 3.0
HANDSHAKE_DEADLINE_S = 3.0
# A peer that owes an answer and sends nothing for this long, not even to a ping, is hung: what it costs us.
SILENCE_MAX_S = 3.5
# How long a silent peer is left alone before it is pinged.
PING_AFTER_S = 1.0
# A peer that answers pings may still be busy with its disk; this ends any request.
REQUEST_DEADLINE_S = 30.0
# The thinnest line that is waited for: a shard of 16 MiB takes 17 minutes over it. Patience for what is large grows
# by what it may take at this rate.
LINE_BYTES_PER_S_MIN = 16 * KIB
# Re-reading a 16 MiB shard, or an fsync, on a NAS disk under load.
DISK_DEADLINE_S = 120.0
# A connection without traffic is closed: a peer pair that talks once an hour needs no socket.
CONNECTION_IDLE_S = 120.0
