"""Start the command line, from an installed wheel or from a checkout (docs/decisions/0001)."""

from __future__ import annotations

import os.path
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
APP = os.path.join(HERE, "_app")
sys.path.insert(0, APP if os.path.isdir(APP) else os.path.dirname(HERE))


def main() -> int:
    from cli.main import main as cli_main

    return cli_main()


if __name__ == "__main__":
    sys.exit(main())
