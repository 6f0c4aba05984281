"""Build a genome file like those of a sequencing centre: a coordinate-sorted BAM of about 60 MB.

    python -m benchmarks.bam FILE.bam [--pairs 750000] [--seed 1] [--reference FASTA]

The container is real: BGZF blocks and BAM records as the SAM/BAM specification (v1, sections 4.1 and 4.2)
lays them out, so samtools reads it. The reads are simulated: pairs of 150 bases from a real reference (the
E. coli MG1655 of Debian's ragout-examples where it can be had, else random bases), with errors at the rate
that their quality values claim. Qualities decide how far such a file shrinks; they follow a Markov chain over
the four values of current sequencers, worse towards a read's end. Equal arguments give equal bytes.
"""

from __future__ import annotations

import argparse
import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from benchmarks.debian import package_file

REFERENCE_PACKAGE = "ragout-examples"
REFERENCE_FILE = "usr/share/doc/ragout/examples/E.Coli/references/MG1655-K12.fasta.gz"
RANDOM_REFERENCE_BASES = 4_600_000

READ_BASES = 150
FRAGMENT_MEAN_BASES, FRAGMENT_SPREAD_BASES = 350, 40
PAIRS_PER_BATCH = 50_000
# htslib fills blocks to this many bytes, so that no block is over 64 KiB even when it does not shrink.
BLOCK_BYTES = 0xFF00
# An empty block marks the end of the file (SAM/BAM specification, section 4.1.2).
END_BLOCK = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
BLOCK_HEAD = struct.Struct("<4BI2BH2B2H")
# 4-bit codes of A, C, G, T (section 4.2).
BASE_CODES = np.array([1, 2, 4, 8], np.uint8)
QUALITIES = np.array([2, 12, 23, 37], np.uint8)
NAME = "A00123:45:HXXXXDSX2:1:{tile:04d}:{number:08d}"
NAME_BYTES = len(NAME.format(tile=0, number=0)) + 1
READ_GROUP = b"RGZS1\0"
# Flags of a proper pair: the left mate runs forward and is first, the right one is reversed and second.
LEFT_FLAGS, RIGHT_FLAGS = 99, 147

RECORD = np.dtype(
    [
        ("block_size", "<i4"),
        ("reference", "<i4"),
        ("position", "<i4"),
        ("name_bytes", "u1"),
        ("mapping_quality", "u1"),
        ("bin", "<u2"),
        ("operations", "<u2"),
        ("flags", "<u2"),
        ("bases", "<i4"),
        ("mate_reference", "<i4"),
        ("mate_position", "<i4"),
        ("template_length", "<i4"),
        ("name", f"S{NAME_BYTES}"),
        ("cigar", "<u4"),
        ("sequence", "u1", READ_BASES // 2),
        ("quality", "u1", READ_BASES),
        ("mismatches", "S3"),
        ("mismatch_count", "u1"),
        ("read_group", f"S{len(READ_GROUP)}"),
    ]
)

Bytes = NDArray[np.uint8]
Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reference:
    """Bases as 0 to 3, and in words where they come from."""

    name: str
    bases: Bytes
    source: str


def read_fasta(path: Path) -> Reference:
    """The first sequence of a FASTA file, plain or gzipped; bases other than ACGT count as A."""
    raw = path.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    title, _, rest = text.lstrip(b">").split(b">")[0].partition(b"\n")
    letters = np.frombuffer(rest.replace(b"\n", b"").replace(b"\r", b"").upper(), np.uint8)
    codes = np.zeros(256, np.uint8)
    codes[[ord(letter) for letter in "ACGT"]] = range(4)
    name = title.split()[0].decode()
    return Reference(name, codes[letters], f"{name}, {len(letters):,} bases, from {path}")


def find_reference(path: Path | None, seed: int) -> Reference:
    """The reference in ``path``; without one the best that this machine can get."""
    found = path or package_file(REFERENCE_PACKAGE, REFERENCE_FILE)
    if found is not None:
        return read_fasta(found)
    bases = np.random.default_rng(seed).integers(0, 4, RANDOM_REFERENCE_BASES, np.uint8)
    return Reference("random", bases, f"{RANDOM_REFERENCE_BASES:,} random bases: no real reference is to be had here")


class Sequencer:
    """Simulates reads. The generator's state moves on with every batch."""

    def __init__(self, reference: Reference, seed: int) -> None:
        self._bases = reference.bases
        self._random = np.random.default_rng(seed)

    def place_pairs(self, pairs: int) -> tuple[Positions, Positions]:
        """Left ends of both mates of every pair, in no order."""
        lengths = self._random.normal(FRAGMENT_MEAN_BASES, FRAGMENT_SPREAD_BASES, pairs).astype(np.int64)
        lengths = lengths.clip(READ_BASES, FRAGMENT_MEAN_BASES * 2)
        left = self._random.integers(0, len(self._bases) - FRAGMENT_MEAN_BASES * 2, pairs)
        return left, left + lengths - READ_BASES

    def qualities(self, reads: int) -> Bytes:
        """Indices into QUALITIES, in the order of sequencing. A value mostly stays; it falls more often later on."""
        state = np.full(reads, 3, np.int64)
        states = np.empty((reads, READ_BASES), np.uint8)
        for cycle in range(READ_BASES):
            chance = self._random.random(reads, np.float32)
            falls = chance < 0.01 + 0.05 * cycle / READ_BASES
            rises = chance > 0.72
            state = np.where(falls, np.maximum(state - 1 - (chance < 0.004), 0), np.where(rises, 3, state))
            states[:, cycle] = state
        return states

    def read_bases(self, positions: Positions, states: Bytes) -> tuple[Bytes, NDArray[np.int64]]:
        """The reference at ``positions`` with errors put in, and how many each read has."""
        true = self._bases[positions[:, None] + np.arange(READ_BASES)]
        error_rates = 10 ** (-QUALITIES.astype(np.float32) / 10)
        wrong = self._random.random(true.shape, np.float32) < error_rates[states]
        shifts = self._random.integers(1, 4, true.shape, np.uint8)
        return np.where(wrong, (true + shifts) % 4, true).astype(np.uint8), wrong.sum(1)


def _bins(positions: Positions) -> NDArray[np.int64]:
    """The smallest bin of the index that holds a read (section 5.3, ``reg2bin``)."""
    last = positions + READ_BASES - 1
    bins = np.zeros(len(positions), np.int64)
    for shift, first in ((26, 1), (23, 9), (20, 73), (17, 585), (14, 4681)):
        bins = np.where(positions >> shift == last >> shift, first + (positions >> shift), bins)
    return bins


def make_records(sequencer: Sequencer, left: Positions, right: Positions) -> Iterator[bytes]:
    """The alignment section, sorted by position, in batches that fit in memory."""
    pairs = len(left)
    positions, mates = np.concatenate((left, right)), np.concatenate((right, left))
    order = np.argsort(positions, kind="stable")
    for start in range(0, len(order), PAIRS_PER_BATCH * 2):
        chosen = order[start : start + PAIRS_PER_BATCH * 2]
        reverse = chosen >= pairs
        made = np.zeros(len(chosen), RECORD)
        made["block_size"] = RECORD.itemsize - 4
        made["position"], made["mate_position"] = positions[chosen], mates[chosen]
        made["bin"] = _bins(positions[chosen])
        made["name_bytes"], made["mapping_quality"], made["operations"] = NAME_BYTES, 60, 1
        made["flags"] = np.where(reverse, RIGHT_FLAGS, LEFT_FLAGS)
        made["bases"], made["cigar"] = READ_BASES, READ_BASES << 4
        spans = np.abs(mates[chosen] - positions[chosen]) + READ_BASES
        made["template_length"] = np.where(reverse, -spans, spans)
        made["name"] = [NAME.format(tile=1101 + pair % 624, number=pair) for pair in (chosen % pairs).tolist()]
        states = sequencer.qualities(len(chosen))
        states[reverse] = states[reverse, ::-1]
        bases, errors = sequencer.read_bases(positions[chosen], states)
        codes = BASE_CODES[bases]
        made["sequence"], made["quality"] = codes[:, 0::2] << 4 | codes[:, 1::2], QUALITIES[states]
        made["mismatches"], made["mismatch_count"], made["read_group"] = b"NMC", errors, READ_GROUP
        yield made.tobytes()


def _header(reference: Reference) -> bytes:
    name = reference.name.encode()
    text = b"@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:%s\tLN:%d\n@RG\tID:S1\tSM:S1\tPL:ILLUMINA\n"
    text %= (name, len(reference.bases))
    sizes = struct.Struct("<i")
    sequence = sizes.pack(len(name) + 1) + name + b"\0" + sizes.pack(len(reference.bases))
    return b"BAM\1" + sizes.pack(len(text)) + text + sizes.pack(1) + sequence


class BlockWriter:
    """Cuts a stream into BGZF blocks: gzip members that carry their own length in an extra field."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rest = b""

    def write(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) - len(data) % BLOCK_BYTES
        for start in range(0, whole, BLOCK_BYTES):
            self._write_block(data[start : start + BLOCK_BYTES])
        self._rest = data[whole:]

    def finish(self) -> None:
        if self._rest:
            self._write_block(self._rest)
        self._file.write(END_BLOCK)

    def _write_block(self, data: bytes) -> None:
        deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = deflate.compress(data) + deflate.flush()
        size = BLOCK_HEAD.size + len(packed) + 8
        self._file.write(BLOCK_HEAD.pack(0x1F, 0x8B, 8, 4, 0, 0, 0xFF, 6, ord("B"), ord("C"), 2, size - 1))
        self._file.write(packed + struct.pack("<II", zlib.crc32(data), len(data)))


def make_bam(path: Path, reference: Reference, *, pairs: int, seed: int) -> int:
    """Write a BAM of ``2 * pairs`` reads; its size in bytes."""
    sequencer = Sequencer(reference, seed)
    left, right = sequencer.place_pairs(pairs)
    with path.open("xb") as file:
        writer = BlockWriter(file)
        writer.write(_header(reference))
        for records in make_records(sequencer, left, right):
            writer.write(records)
        writer.finish()
    return path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bam", description="Build a BAM of simulated reads.")
    parser.add_argument("file", type=Path, help="where to; must not exist yet")
    parser.add_argument("--pairs", type=int, default=750_000, help="of reads; 750,000 make about 60 MB")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reference", type=Path, help="FASTA, plain or gzipped")
    words = parser.parse_args()
    reference = find_reference(words.reference, words.seed)
    size_bytes = make_bam(words.file, reference, pairs=words.pairs, seed=words.seed)
    print(f"{words.pairs * 2:,} simulated reads, {size_bytes:,} bytes")
    print(f"reference: {reference.source}")


if __name__ == "__main__":
    main()
