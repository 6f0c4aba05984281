"""The limit of open files, raised and never lowered."""

from __future__ import annotations

import resource

from host.descriptors import allow_open_files


def test_the_limit_is_raised_as_far_as_the_system_lets_and_never_lowered() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert allow_open_files(300) == 300
        assert allow_open_files(200) == 300
        assert allow_open_files(2**62) >= 300
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
