"""Start the command line, from an installed wheel or from a checkout (docs/decisions/0001)."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
APP = HERE / "_app"
sys.path.insert(0, str(APP if APP.is_dir() else HERE.parent))


def main() -> int:
    from cli.main import main as cli_main

    return cli_main()


if __name__ == "__main__":
    sys.exit(main())
