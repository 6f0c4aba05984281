"""What the demo stores: real DICOM files, a piece of a real genome, and reads that are simulated over it.

Equal arguments give equal bytes. Nothing is fetched: the images come with the Python packages pydicom and pydicom-data
(the extra ``demo``), the genome with moorage (cli/data/README.md says from where).
"""

from __future__ import annotations

import gzip
import importlib.util
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

REFERENCE_FILE = "mg1655-slice.fasta.gz"
READ_BASES = 150
FRAGMENT_BASES = range(250, 451)
PAIRS = 60_000
# Records written at once: gzip's own calls cost more than the reads.
PAIRS_PER_WRITE = 500
SEED = 1
# The four values that current sequencers report (Phred: a base of quality Q is wrong with probability 10^(-Q/10)).
QUALITIES = (2, 12, 23, 37)
# Quality lines are drawn from so many: making each anew would take most of the demo's time.
QUALITY_LINES = 4096
# Level 1: the demo waits for this, and what comes out is incompressible either way.
GZIP_LEVEL = 1

# (package, folder or file inside it, folder to store it in). Images of real scanners; their donors took the names out.
_IMAGES: tuple[tuple[str, str, str], ...] = (
    ("pydicom", "data/test_files/dicomdirtests/77654033/CT2", "CT/head"),
    ("pydicom", "data/test_files/dicomdirtests/98892001/CT5N", "CT/neck"),
    ("pydicom", "data/test_files/CT_small.dcm", "CT"),
    ("data_store", "data/693_UNCR.dcm", "CT"),
    ("data_store", "data/693_J2KR.dcm", "CT"),
    ("data_store", "data/eCT_Supplemental.dcm", "CT"),
    ("data_store", "data/explicit_VR-UN.dcm", "CT"),
    ("pydicom", "data/test_files/dicomdirtests/98892003/MR700", "MR/brain"),
    ("pydicom", "data/test_files/MR_small.dcm", "MR"),
    ("data_store", "data/MR2_UNCR.dcm", "MR"),
    ("data_store", "data/MR-SIEMENS-DICOM-WithOverlays.dcm", "MR"),
    ("data_store", "data/emri_small.dcm", "MR"),
    ("data_store", "data/US1_UNCR.dcm", "US"),
    ("data_store", "data/OBXXXX1A.dcm", "US"),
    ("data_store", "data/gdcm-US-ALOKA-16.dcm", "US"),
    ("data_store", "data/color3d_jpeg_baseline.dcm", "US"),
)
_COMPLEMENT = str.maketrans("ACGT", "TGCA")


@dataclass(frozen=True, slots=True)
class DemoData:
    """What was made. ``missing``: packages whose images are not there, so that the story can say so."""

    files: int
    total_bytes: int
    images: int
    missing: tuple[str, ...]
    words: str


def make_data(folder: Path, advance: Callable[[float], None]) -> DemoData:
    """Fill ``folder``; ``advance`` is told the part that is done, 0 to 1. Raises OSError."""
    images, missing = _copy_images(folder / "study")
    advance(0.1)
    genome = folder / "genome"
    genome.mkdir(parents=True)
    shutil.copyfile(Path(__file__).with_name("data") / REFERENCE_FILE, genome / REFERENCE_FILE)
    bases = read_reference()
    _write_reads(genome, bases, advance)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    words = f"{images} real DICOM files (CT, MR, US), {len(bases):,} real bases of E. coli MG1655" if images else ""
    return DemoData(
        files=len(paths),
        total_bytes=sum(path.stat().st_size for path in paths),
        images=images,
        missing=missing,
        words=f"{words or f'{len(bases):,} real bases of E. coli MG1655'}, {2 * PAIRS:,} reads simulated over them",
    )


def _write_reads(folder: Path, bases: str, advance: Callable[[float], None]) -> None:
    pairs = simulate_pairs(bases, PAIRS, SEED)
    with _open_gzip(folder / "reads_1.fastq.gz") as left, _open_gzip(folder / "reads_2.fastq.gz") as right:
        for done in range(0, PAIRS, PAIRS_PER_WRITE):
            batch = list(islice(pairs, PAIRS_PER_WRITE))
            left.write(b"".join(first for first, _ in batch))
            right.write(b"".join(second for _, second in batch))
            advance(0.1 + 0.9 * (done + len(batch)) / PAIRS)


def _open_gzip(path: Path) -> gzip.GzipFile:
    # No time in the head: the same reads are the same bytes.
    return gzip.GzipFile(filename=path, mode="wb", compresslevel=GZIP_LEVEL, mtime=0)


def _package_folder(package: str) -> Path | None:
    found = importlib.util.find_spec(package)
    return None if found is None or not found.submodule_search_locations else Path(found.submodule_search_locations[0])


def _copy_images(folder: Path) -> tuple[int, tuple[str, ...]]:
    """Copy what is installed, with the files' own times; how many files, and which packages are not there."""
    count = 0
    missing: dict[str, None] = {}
    for package, inside, place in _IMAGES:
        root = _package_folder(package)
        source = None if root is None else root / inside
        if source is None or not source.exists():
            missing["pydicom-data" if package == "data_store" else package] = None
            continue
        target = folder / place
        target.mkdir(parents=True, exist_ok=True)
        sources = sorted(source.iterdir()) if source.is_dir() else [source]
        for path in sources:
            shutil.copy2(path, target / path.name)
            os.chmod(target / path.name, 0o644)
            count += 1
    return count, tuple(missing)


def read_reference() -> str:
    """The bases of the genome's piece that moorage carries."""
    with gzip.open(Path(__file__).with_name("data") / REFERENCE_FILE, "rt", encoding="ascii") as file:
        return "".join(line.strip() for line in file if not line.startswith(">"))


def simulate_pairs(bases: str, pairs: int, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """FASTQ records of both ends of random fragments, with errors where their quality is lowest."""
    chance = random.Random(seed)  # noqa: S311 - simulated data, no secret
    lines = [_quality_line(chance) for _ in range(QUALITY_LINES)]
    for number in range(pairs):
        length = chance.randrange(FRAGMENT_BASES.start, FRAGMENT_BASES.stop)
        start = chance.randrange(len(bases) - length)
        fragment = bases[start : start + length]
        if chance.random() < 0.5:
            fragment = fragment.translate(_COMPLEMENT)[::-1]
        back = fragment[-READ_BASES:].translate(_COMPLEMENT)[::-1]
        name = f"SIMULATED:1:FC1:1:{1101 + number // 10_000}:{number % 10_000}"
        yield (
            _record(name, 1, fragment[:READ_BASES], chance.choice(lines), chance),
            _record(name, 2, back, chance.choice(lines), chance),
        )


def _quality_line(chance: random.Random) -> str:
    """Good at first, worse towards the end, as the reads of real machines are."""
    state = len(QUALITIES) - 1
    letters: list[str] = []
    for cycle in range(READ_BASES):
        draw = chance.random()
        if draw < 0.01 + 0.06 * cycle / READ_BASES:
            state = max(0, state - 1)
        elif draw > 0.72:
            state = len(QUALITIES) - 1
        letters.append(chr(33 + QUALITIES[state]))
    return "".join(letters)


def _record(name: str, mate: int, read: str, line: str, chance: random.Random) -> bytes:
    # Most errors of real reads lie there; the rest would cost more time than they teach.
    lowest = chr(33 + QUALITIES[0])
    at = line.find(lowest, chance.randrange(READ_BASES))
    if at >= 0:
        read = f"{read[:at]}{chance.choice('ACGT')}{read[at + 1 :]}"
    return f"@{name} {mate}:N:0:1\n{read}\n+\n{line}\n".encode("ascii")
