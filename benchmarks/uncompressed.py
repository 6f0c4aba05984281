"""The command line without compression, for a benchmark of what trying to compress costs.

    python -m benchmarks.uncompressed put ...

The product always tries; here a compressor that never does takes the other's place in this one process. What it stores
is read back by any other client.
"""

from __future__ import annotations

import sys
from unittest import mock

from cli.main import main
from core.compression import ChunkCompressor, Codec
from core.ports import Buffer


class NoCompressor(ChunkCompressor):
    """Keeps every chunk as it is."""

    def compress(self, chunk: Buffer) -> tuple[Codec, Buffer]:
        return Codec.STORED, chunk


if __name__ == "__main__":
    with mock.patch("client.coding.ChunkCompressor", NoCompressor):
        sys.exit(main())
