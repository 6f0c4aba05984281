"""A real CT volume to cut slices from: a head from Debian's invesalius-examples, else one slice from pydicom-data."""

from __future__ import annotations

import plistlib
import tarfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset

from benchmarks.debian import package_file

HEAD_PACKAGE = "invesalius-examples"
HEAD_FILE = "usr/share/doc/invesalius-examples/examples/Cranium.inv3"
SLICE_FILE = "693_UNCR.dcm"
# The side of a CT slice, in pixels.
SIDE = 512

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Volume:
    """Hounsfield units by slice, row and column, and in words where they come from."""

    voxels: NDArray[np.int16]
    source: str

    def section(self, height: float) -> Image:
        """The plane at ``height`` (0 bottom to 1 top), between two slices if need be, as SIDE x SIDE pixels."""
        place = height * (len(self.voxels) - 1)
        below = int(place)
        above = min(below + 1, len(self.voxels) - 1)
        part = np.float32(place - below)
        plane = self.voxels[below] * (1 - part) + self.voxels[above] * part
        rows, columns = (_stretch(size) for size in plane.shape)
        section: Image = (rows @ plane @ columns.T).astype(np.float32)
        return section


def _stretch(size: int) -> Image:
    """The matrix that interpolates ``size`` samples linearly to SIDE."""
    places = np.linspace(0, size - 1, SIDE)
    hat: Image = (1 - np.abs(places[:, None] - np.arange(size)[None, :])).astype(np.float32)
    return np.maximum(hat, 0)


def read_head(path: Path) -> Volume:
    """An InVesalius project: a tar of ``main.plist`` (the shape) and ``matrix.dat`` (little-endian int16)."""
    with tarfile.open(path) as archive:
        members = {Path(member.name).name: member for member in archive.getmembers()}
        plist, matrix = (archive.extractfile(members[name]) for name in ("main.plist", "matrix.dat"))
        if plist is None or matrix is None:
            raise SystemExit(f"{path}: not an InVesalius project")
        shape = cast("list[int]", plistlib.load(plist)["matrix"]["shape"])
        voxels = np.frombuffer(matrix.read(), "<i2").reshape(shape)
    return Volume(voxels, f"head CT, {shape[0]} slices of {shape[2]}x{shape[1]}, from {path}")


def read_slice() -> Volume:
    """One real abdominal slice, drawn in from all sides step by step: neighbouring slices differ as in a body."""
    with warnings.catch_warnings():
        # pydicom announces its own future changes here; they concern no pixel.
        warnings.simplefilter("ignore")
        dataset = get_testdata_file(SLICE_FILE, read=True, download=False)
    if not isinstance(dataset, FileDataset):
        raise SystemExit(f"no CT volume: neither Debian's {HEAD_PACKAGE} nor pydicom-data is there")
    pixels = dataset.pixel_array.astype(np.int32) * int(dataset.RescaleSlope) + int(dataset.RescaleIntercept)
    side, depth = len(pixels), 48
    voxels = np.empty((depth, side, side), np.int16)
    for level in range(depth):
        middle = (side - 1) / 2
        places = np.rint(middle + (np.arange(side) - middle) * (1 + level * 0.004)).astype(int).clip(0, side - 1)
        voxels[level] = np.clip(pixels[np.ix_(places, places)], -1024, 3071)
    return Volume(voxels, f"one abdominal CT slice of pydicom-data ({SLICE_FILE}), scaled to {depth} levels")


def find_volume(path: Path | None) -> Volume:
    """The volume in ``path``; without one the best that this machine can get."""
    found = path or package_file(HEAD_PACKAGE, HEAD_FILE)
    return read_slice() if found is None else read_head(found)
