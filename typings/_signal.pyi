"""What `signal` is made of; the same names, with plain numbers in place of its enums."""

from collections.abc import Callable
from types import FrameType
from typing import TypeAlias

_Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None

NSIG: int
SIG_DFL: int
SIG_IGN: int
SIGCONT: int
SIGHUP: int
SIGINT: int
SIGKILL: int
SIGQUIT: int
SIGSTOP: int
SIGTERM: int
SIGTSTP: int

def default_int_handler(signalnum: int, frame: FrameType | None, /) -> None: ...
def getsignal(signalnum: int, /) -> _Handler: ...
def signal(signalnum: int, handler: _Handler, /) -> _Handler: ...
def pidfd_send_signal(pidfd: int, signalnum: int, siginfo: None = None, flags: int = 0, /) -> None: ...
