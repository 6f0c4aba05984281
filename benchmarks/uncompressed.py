"""A command with or without compression, for a benchmark of what trying to compress costs.

    python -m benchmarks.uncompressed on|off put ...

The product always tries; ``off`` puts a compressor that never does in the other's place, in this one process. What it
stores is read back by any other client.
"""

from __future__ import annotations

import sys

from cli.main import main as cli_main
from client import coding
from core.compression import ChunkCompressor, Codec
from core.ports import Buffer


class NoCompressor(ChunkCompressor):
    """Keeps every chunk as it is."""

    def compress(self, chunk: Buffer) -> tuple[Codec, Buffer]:
        return Codec.STORED, chunk


def main() -> int:
    if sys.argv.pop(1) == "off":
        coding.__dict__["ChunkCompressor"] = NoCompressor
    return cli_main()


if __name__ == "__main__":
    sys.exit(main())
