"""A command that does as its one word says, and an agent that forks it: everything around the command is as shipped.

python -m tests.cli.probe agent HOME         serve HOME's commands
python -m tests.cli.probe alone WORDS      run the command in this process
python -m tests.cli.probe front WORDS      let the agent run it; exit status NOT_BY_AGENT where it does not
python -m tests.cli.probe either WORDS     let the agent run it, or run it here, as moorage does
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import ssl
import sys
import time
from _socket import socket
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import cli.agent
import cli.forked
import cli.front
import cli.main
from cli.front import run_by_agent
from host.chance import RealChance

NOT_BY_AGENT = 99
MODULE_VARIABLE = "PROBE_MODULE"
PROCESSOR_VARIABLE = "PROBE_PROCESSOR"
COMMANDS_VARIABLE = "PROBE_COMMANDS"
DEADLINE_VARIABLE = "PROBE_DEADLINE"
HESITATION_VARIABLE = "PROBE_HESITATION"
FORGED_VARIABLE = "PROBE_FORGED"


def run(arguments: argparse.Namespace) -> int:
    """``moorage ls WORD``."""
    word, _, value = str(arguments.object).partition("=")
    match word:
        case "tell":
            _tell()
        case "status":
            return int(value)
        case "raise":
            raise AssertionError(value)
        case "signal":
            os.kill(os.getpid(), int(value))
            time.sleep(60)
        case "print":
            print("x" * int(value))
        case "echo":
            sys.stdout.write(sys.stdin.read())
        case "wait":  # says that it has begun, goes on when told to
            Path(value).write_text(str(os.getpid()))
            while Path(value).exists():
                time.sleep(0.01)
            print("done")
        case "draw":
            print(*_draw())
        case "count":
            with Path(value).open("a") as file:
                file.write("once\n")
        case _:
            raise AssertionError(word)
    return 0


def _draw() -> list[str]:
    """A number from each source of chance that a command may use."""
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    return [str(random.random()), ssl.RAND_bytes(8).hex(), key.hex(), RealChance().token(8).hex()]


def _tell() -> None:
    umask = os.umask(0)
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}
    streams = [
        (stream.fileno(), stream.encoding, stream.errors, stream.line_buffering, stream.isatty(), stream.mode)
        for stream in (sys.stdin, sys.stdout, sys.stderr)
    ]
    print(f"folder {os.getcwd()}\numask {umask:o}\nniceness {os.getpriority(os.PRIO_PROCESS, 0)}")
    print(f"cpus {sorted(os.sched_getaffinity(0))}\nlimits {limits}\nstreams {streams}\nwords {sys.argv[1:]}")
    print(f"environment {sorted(os.environ.items())}\nzone {time.tzname}")
    print(f"signals {[(number, signal.getsignal(number)) for number in signal.valid_signals()]}")
    print(f"blocked {signal.pthread_sigmask(signal.SIG_BLOCK, ())}")
    print(f"descriptors {list(_descriptors())}")


def _descriptors() -> Iterator[str]:
    """What is open beside the standard streams."""
    for number in os.listdir("/proc/self/fd"):
        if int(number) > 2 and Path(f"/proc/self/fd/{number}").exists():  # not the listing's own
            yield os.readlink(f"/proc/self/fd/{number}")


def _serve(home: str) -> None:
    cli.agent.LOOK_EVERY_MS = 50
    cli.agent.COMMANDS_MAX = int(os.environ.get(COMMANDS_VARIABLE, cli.agent.COMMANDS_MAX))
    cli.forked.FRONT_DEADLINE_S = float(os.environ.get(DEADLINE_VARIABLE, cli.forked.FRONT_DEADLINE_S))
    if MODULE_VARIABLE in os.environ:
        sys.path.insert(0, os.environ[MODULE_VARIABLE])
        __import__("probed")
    _draw()  # where a generator keeps a state, every child begins with this one
    with cli.agent.bind(home) as listener:
        agent = cli.agent.Agent(listener, home)
        print("ready", flush=True)
        agent.serve()


def main() -> int:
    cli.main._COMMANDS["ls"] = "tests.cli.probe:run"
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # as moorage/__main__.py does
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    role, *words = sys.argv[1:]
    if role == "agent":
        _serve(words[0])
        return 0
    sys.argv = ["moorage", *words]
    if role == "alone":
        return cli.main.main(words)
    if PROCESSOR_VARIABLE in os.environ:
        processor = int(os.environ[PROCESSOR_VARIABLE])
        os.sched_getaffinity = lambda _pid: {processor}
    if HESITATION_VARIABLE in os.environ:
        receive_pid = cli.front._receive_pid

        def hesitate(agent: socket) -> int:
            pid = receive_pid(agent)
            time.sleep(float(os.environ[HESITATION_VARIABLE]))
            return pid

        cli.front._receive_pid = hesitate
    if FORGED_VARIABLE in os.environ:  # whoever wants in says what is expected
        setattr(cli.front, "differences", lambda _one, _other: "")  # noqa: B010 - it is another module's
    status = run_by_agent(words)
    if status is None and role == "either":
        return cli.main.main(words)
    return NOT_BY_AGENT if status is None else status


if __name__ == "__main__":
    sys.exit(main())
