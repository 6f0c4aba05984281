"""The kind of file system that a folder is on."""

from __future__ import annotations

import pytest

from host.mounts import file_system_of, find_type

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:27 / /mnt/nas rw,relatime shared:2 master:1 - nfs4 nas:/vol rw,vers=4.2
31 30 0:28 / /mnt/nas/local rw - xfs /dev/sdb rw
32 22 0:29 / /mnt/with\\040space rw - cifs //nas/x rw
33 22 0:30 / /over rw - ext4 /dev/sdc rw
34 22 0:31 / /over rw - nfs nas:/y rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home/x", "ext4"),
        ("/mnt/nas", "nfs4"),
        ("/mnt/nas/home", "nfs4"),
        ("/mnt/nasty", "ext4"),
        ("/mnt/nas/local/home", "xfs"),
        ("/mnt/with space/home", "cifs"),
        ("/over/x", "nfs"),
    ],
)
def test_the_nearest_and_last_mount_counts(path: str, kind: str) -> None:
    assert find_type(MOUNTS, path) == kind


def test_where_nothing_is_said_nothing_is_known() -> None:
    assert find_type("", "/x") == ""
    assert isinstance(file_system_of("/"), str)
