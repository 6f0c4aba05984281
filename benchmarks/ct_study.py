"""Build a realistic CT study: 900 slices, 473 MB, two series, headers as a hospital's, pixels from a real scan.

    python -m benchmarks.ct_study FOLDER [--slices 900] [--seed 1] [--volume Cranium.inv3]

A scanner reconstructs the same raw data twice: smooth for soft tissue, sharp (and noisy) for bone. So does
this: sections through a real volume, with noise of the kernel's grain added, because noise is what decides
how far a slice can be compressed. Equal arguments give equal bytes.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    PYDICOM_ROOT_UID,
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from benchmarks.ct_volume import SIDE, Image, Volume, find_volume

AIR_HU = -1024
PEAK_HU = 3071
# The scanner sees a round field; outside it every pixel is air.
FIELD_RADIUS_PIXELS = 250
PIXEL_SPACING_MM = 0.4785
HEIGHT_MM = 160.0


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """One series. ``grain_pixels`` is the width of the noise's blur, ``noise_hu`` its standard deviation."""

    description: str
    grain_pixels: float
    noise_hu: float
    part: float
    """Of all slices of the study."""


RECONSTRUCTIONS = (
    Reconstruction("HEAD 0.6 SOFT H30s", 1.1, 14, 0.6),
    Reconstruction("HEAD 0.6 BONE H70h", 0.45, 38, 0.4),
)


@dataclass(frozen=True, slots=True)
class Study:
    """What was written."""

    uid: str
    files: int
    total_bytes: int
    source: str


def _field_of_view() -> NDArray[np.bool_]:
    from_middle = np.arange(SIDE) - SIDE // 2
    return np.hypot(from_middle[:, None], from_middle[None, :]) < FIELD_RADIUS_PIXELS


def _blur(grain_pixels: float) -> Image:
    """A Gaussian in the frequency plane of a real SIDE x SIDE image."""
    squared = np.fft.fftfreq(SIDE)[:, None] ** 2 + np.fft.rfftfreq(SIDE)[None, :] ** 2
    return np.exp(-2 * np.pi**2 * grain_pixels**2 * squared).astype(np.float32)


class Scanner:
    """Renders noisy sections of a volume. The generator's state moves on with every slice."""

    def __init__(self, volume: Volume, seed: int) -> None:
        self._volume = volume
        self._random = np.random.default_rng(seed)
        self._field = _field_of_view()

    def render(self, height: float, blur: Image, noise_hu: float) -> bytes:
        """SIDE x SIDE little-endian int16."""
        white = self._random.standard_normal((SIDE, SIDE), np.float32)
        noise = np.fft.irfft2(np.fft.rfft2(white) * blur, s=(SIDE, SIDE))
        section = self._volume.section(height) + noise * (noise_hu / noise.std())
        return np.where(self._field, np.clip(section, AIR_HU, PEAK_HU), AIR_HU).astype("<i2").tobytes()


class Headers:
    """The DICOM headers of one study, as a scanner and a hospital's worklist fill them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.study = self._uid("study")

    def _uid(self, *words: object) -> UID:
        return generate_uid(PYDICOM_ROOT_UID, [str(self._seed), *map(str, words)])

    def dataset(self, series: int, instance: int, description: str, height: float) -> FileDataset:
        """A CT image (PS3.3, A.3) without its pixels."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = self._uid("instance", series, instance)
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
        made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        made.StudyInstanceUID, made.SeriesInstanceUID = self.study, self._uid("series", series)
        made.FrameOfReferenceUID = self._uid("frame")
        made.SeriesNumber, made.InstanceNumber, made.SeriesDescription = series, instance, description
        made.ImagePositionPatient = ["-122.5", "-122.5", f"{-height * HEIGHT_MM:.3f}"]
        self._fill_visit(made)
        self._fill_image(made)
        return made

    def _fill_visit(self, made: FileDataset) -> None:
        made.SpecificCharacterSet = "ISO_IR 192"
        made.PatientName, made.PatientID = "Zhang^San=张^三", "H001-000042"
        made.PatientBirthDate, made.PatientSex, made.PatientAge = "19600504", "M", "065Y"
        made.StudyDate = made.SeriesDate = made.AcquisitionDate = made.ContentDate = "20260302"
        made.StudyTime, made.ContentTime, made.StudyID = "093000", "093101", "17"
        made.AccessionNumber, made.StudyDescription = "A26030200017", "CT HEAD W/O CONTRAST"
        made.InstitutionName, made.ReferringPhysicianName = "County Hospital A", "Li^Si"

    def _fill_image(self, made: FileDataset) -> None:
        made.Modality, made.Manufacturer = "CT", "Simulated"
        made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        made.BodyPartExamined, made.PatientPosition, made.Laterality = "HEAD", "HFS", ""
        made.KVP, made.SliceThickness, made.AcquisitionNumber = "120", "0.6", 1
        made.ImageOrientationPatient, made.PositionReferenceIndicator = ["1", "0", "0", "0", "1", "0"], ""
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.Rows = made.Columns = SIDE
        made.PixelSpacing = [str(PIXEL_SPACING_MM)] * 2
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 1
        made.RescaleIntercept, made.RescaleSlope, made.RescaleType = "0", "1", "HU"
        made.WindowCenter, made.WindowWidth = "40", "80"


def make_study(folder: Path, volume: Volume, *, slices: int, seed: int) -> Study:
    """Write ``slices`` files of 526 kB under ``folder``, one subfolder a series."""
    scanner, headers = Scanner(volume, seed), Headers(seed)
    total_bytes = files = 0
    for series, recipe in enumerate(RECONSTRUCTIONS, 1):
        last = series == len(RECONSTRUCTIONS)
        count = slices - files if last else int(slices * recipe.part)
        blur = _blur(recipe.grain_pixels)
        place = folder / f"SER{series:05d}"
        place.mkdir(parents=True)
        for instance, height in enumerate(np.linspace(0, 1, count).tolist(), 1):
            made = headers.dataset(series, instance, recipe.description, height)
            made.PixelData = scanner.render(height, blur, recipe.noise_hu)
            path = place / f"IM{instance:05d}.dcm"
            made.save_as(path, enforce_file_format=True)
            total_bytes += path.stat().st_size
        files += count
    return Study(headers.study, files, total_bytes, volume.source)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ct_study", description="Build a realistic CT study.")
    parser.add_argument("folder", type=Path, help="where to; made, must not hold a study yet")
    parser.add_argument("--slices", type=int, default=900)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--volume", type=Path, help="an InVesalius project, such as Debian's Cranium.inv3")
    words = parser.parse_args()
    study = make_study(words.folder, find_volume(words.volume), slices=words.slices, seed=words.seed)
    print(f"{study.files} files, {study.total_bytes:,} bytes, study {study.uid}")
    print(f"pixels: {study.source}")


if __name__ == "__main__":
    main()
