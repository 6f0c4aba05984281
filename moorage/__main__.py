"""Start the command line, from an installed wheel or from a checkout (docs/decisions/0001)."""

from __future__ import annotations

# A third of what Python takes to start would go into the enums of the module around it.
import _signal as signal  # pyright: ignore[reportMissingModuleSource] - it is a part of Python
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
APP = os.path.join(HERE, "_app")
sys.path.insert(0, APP if os.path.isdir(APP) else os.path.dirname(HERE))


def main() -> int:
    """Run one command; returns its exit status.

    A SIGINT while modules load ends the process as it ends any program that has begun nothing, not with a
    KeyboardInterrupt amid an import; `cli.main` lets Python raise it while the command runs. One that was ignored stays
    so.
    """
    interruptible = signal.getsignal(signal.SIGINT) == signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cli.front import run_by_agent

    status = run_by_agent(sys.argv[1:])
    if status is not None:
        os._exit(status)  # nothing of this process is left to be written or ended
    from cli.main import main as cli_main

    status = cli_main()
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the outcome is known: let nothing be raised in Python's own exit
    return status


if __name__ == "__main__":
    sys.exit(main())
