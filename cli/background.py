"""Processes of moorage that go on when the command that started them has ended: daemons and agents of a local pool."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from cli.front import AGENT_VARIABLE, OFF, address_of
from cli.likeness import peer_of

AGENT_LOG_FILE = "agent.log"
AGENT_UP_DEADLINE_S = 10.0
# It only closes its socket; one that still has it then has been stopped or hangs in the kernel, and is killed.
AGENT_DOWN_DEADLINE_S = 5.0
CONNECT_DEADLINE_S = 1.0
POLL_S = 0.01


def launcher() -> list[str]:
    """The words that start moorage as it runs now: the installed wheel's launcher or the checkout's."""
    layers = Path(__file__).resolve().parent.parent
    checkout = layers / "moorage" / "__main__.py"
    return [sys.executable, str(checkout if checkout.exists() else layers.parent / "__main__.py")]


def start_in_background(home: str, command: str, log_file: str) -> subprocess.Popen[bytes]:
    """Run ``command`` in this home; what it says is appended to a file there."""
    with open(os.path.join(home, log_file), "ab") as log:
        # A session of its own: Ctrl-C in the terminal that started the pool must not stop it.
        return subprocess.Popen(  # noqa: S603 - our own program, no shell
            [*launcher(), "--home", home, command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )


def running_agent(home: str) -> int | None:
    """The process that listens for commands of this home; None when there is none, or none that we could signal."""
    address = address_of(home)
    if address is None:
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_DEADLINE_S)
        try:
            connection.connect(address)
            pid, user = peer_of(connection)
        except OSError:
            return None
    # 0: it is in another container.
    return pid if pid > 0 and user == os.geteuid() else None


def start_agent(home: str) -> subprocess.Popen[bytes] | None:
    """None where one runs, or the environment says that none is wanted."""
    if os.environ.get(AGENT_VARIABLE) == OFF or running_agent(home) is not None:
        return None
    return start_in_background(home, "agent", AGENT_LOG_FILE)


def wait_for_agent(home: str, started: subprocess.Popen[bytes] | None) -> None:
    """Until it listens; or has ended, or takes too long: commands go without it, and its log says why."""
    deadline = time.monotonic() + AGENT_UP_DEADLINE_S
    while started is not None and started.poll() is None and running_agent(home) is None:
        if time.monotonic() > deadline:
            return
        time.sleep(POLL_S)


def stop_agent(home: str) -> None:
    """So that commands start without it. Those under way go on, and it ends with the last of them."""
    pid = running_agent(home)
    if pid is None:
        return
    # By a descriptor, since the number may be another's one day; and it is its number still.
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if running_agent(home) == pid:
            _end_listening(process, home)
    finally:
        os.close(process)


def _end_listening(process: int, home: str) -> None:
    """Until nobody has the home's address; whoever keeps it is killed, or is not the one that we know."""
    # A stopped (SIGSTOP) agent cannot act on SIGTERM until it continues.
    for numbers in ((signal.SIGTERM, signal.SIGCONT), (signal.SIGKILL,)):
        for number in numbers:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, number)
        deadline = time.monotonic() + AGENT_DOWN_DEADLINE_S
        while not _is_free(home):
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        else:
            return


def _is_free(home: str) -> bool:
    """Whether nobody listens there. To connect would have an agent fork, or wait in the queue of one that hangs."""
    address = address_of(home)
    if address is None:
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as taken:
        try:
            taken.bind(address)
        except OSError:
            return False
    return True


def exists(pid: int) -> bool:
    """Whether the process runs; one that has ended and only waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def signal_process(pid: int, number: signal.Signals) -> None:
    """Nothing happens if it is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
