"""The benchmarks' data are what they are said to be: DICOM that pydicom reads, BAM blocks that gzip reads."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread  # pyright: ignore[reportUnknownVariableType] its path type has an open parameter

from benchmarks.bam import END_BLOCK, RECORD, Reference, make_bam, read_fasta
from benchmarks.ct_study import make_study
from benchmarks.ct_volume import Volume, read_slice


def gradient() -> Volume:
    return Volume(np.linspace(-1000, 2000, 4 * 16 * 16).astype(np.int16).reshape(4, 16, 16), "a gradient")


def test_a_study_has_two_series_of_slices_that_are_exactly_two_chunks_of_pixels(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", gradient(), slices=5, seed=1)
    paths = sorted((tmp_path / "study").rglob("*.dcm"))
    images = [dcmread(path) for path in paths]
    assert (study.files, study.total_bytes) == (5, sum(path.stat().st_size for path in paths))
    assert {image.StudyInstanceUID for image in images} == {study.uid}
    assert len({image.SeriesInstanceUID for image in images}) == 2
    assert len({image.SOPInstanceUID for image in images}) == 5
    assert {len(image.PixelData) for image in images} == {2 * 256 * 1024}


def test_the_same_seed_makes_the_same_study_and_another_seed_another(tmp_path: Path) -> None:
    def pixels(name: str, seed: int) -> list[bytes]:
        make_study(tmp_path / name, gradient(), slices=2, seed=seed)
        return [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.dcm"))]

    one = pixels("one", 1)
    assert one == pixels("again", 1)
    assert one != pixels("other", 2)


def test_without_debians_head_the_pixels_are_of_a_real_slice() -> None:
    volume = read_slice()
    assert "pydicom-data" in volume.source
    assert volume.section(0.5).shape == (512, 512)
    assert volume.voxels.min() == -1024
    assert volume.voxels.max() > 200


@pytest.fixture(scope="module")
def reference() -> Reference:
    bases = np.random.default_rng(7).integers(0, 4, 20_000, np.uint8)
    return Reference("small", bases, "random")


def test_a_bam_is_a_chain_of_gzip_members_with_its_end_marked(tmp_path: Path, reference: Reference) -> None:
    path = tmp_path / "reads.bam"
    size_bytes = make_bam(path, reference, pairs=300, seed=1)
    raw = path.read_bytes()
    assert len(raw) == size_bytes
    assert raw.endswith(END_BLOCK)
    offset, blocks = 0, 0
    while offset < len(raw):
        (last,) = struct.unpack_from("<H", raw, offset + 16)
        gzip.decompress(raw[offset : offset + last + 1])
        offset, blocks = offset + last + 1, blocks + 1
    assert offset == len(raw)
    assert blocks == -(-len(gzip.decompress(raw)) // 0xFF00) + 1


def test_a_bam_holds_every_read_in_order_of_position(tmp_path: Path, reference: Reference) -> None:
    path = tmp_path / "reads.bam"
    make_bam(path, reference, pairs=300, seed=1)
    with gzip.open(path) as file:
        text = file.read()
    assert text.startswith(b"BAM\1")
    reads = np.frombuffer(text[-600 * RECORD.itemsize :], RECORD)
    assert set(reads["block_size"].tolist()) == {RECORD.itemsize - 4}
    assert np.all(np.diff(reads["position"]) >= 0)
    assert int(reads["template_length"].sum()) == 0
    assert len(set(reads["name"].tolist())) == 300
    # Most reads are the reference itself; the others have as many errors as they say.
    assert 0 < np.count_nonzero(reads["mismatch_count"]) < 300


def test_a_fasta_is_read_plain_or_gzipped_up_to_its_second_sequence(tmp_path: Path) -> None:
    text = b">chr1 of something\nACGT\nacgn\n>chr2\nTTTT\n"
    (tmp_path / "plain.fa").write_bytes(text)
    (tmp_path / "packed.fa.gz").write_bytes(gzip.compress(text))
    for name in ("plain.fa", "packed.fa.gz"):
        found = read_fasta(tmp_path / name)
        assert (found.name, found.bases.tolist()) == ("chr1", [0, 1, 2, 3, 0, 1, 2, 0])
