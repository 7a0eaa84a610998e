"""What this project's code sees on Windows, as far as Linux can show it.

`hide_what_windows_lacks` runs at the start of each process (sitecustomize). For the code of the
project, and for no other, `sys.platform` is "win32", names that the standard library documents as
missing on Windows are missing, and process groups work as they do there: CTRL_BREAK_EVENT reaches a
process with a group of its own, as SIGBREAK, and `terminate` kills.
"""

import asyncio
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OWN = tuple(str(ROOT / folder) + os.sep for folder in ("dev", "progress"))
# The processes of jobs do not work on Windows yet.
NOT_YET = {str(ROOT / "progress" / "backend" / "heartbeat.py")}
SIGBREAK = signal.SIGUSR1  # what stands for it
CREATE_NEW_PROCESS_GROUP = 0x200
# fmt: off
MISSING: dict[ModuleType, set[str]] = {
    os: {
        "fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "getpgid", "getpgrp",
        "setpgid", "setsid", "killpg", "pread", "pwrite", "mkfifo", "chown", "fchown", "nice",
        "wait", "wait3", "wait4", "uname",
    },
    signal: {
        "SIGKILL", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGSTOP",
        "SIGCONT", "SIGPIPE", "alarm", "setitimer", "pause", "sigwait", "pthread_sigmask",
        "pthread_kill",
    },
    socket: {
        "AF_UNIX", "send_fds", "recv_fds",
    },
    select: {
        "poll", "epoll",
    },
}
# fmt: on
MODULES = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog", "posix"}
caller = sys._getframe


class WindowsPopen(subprocess.Popen[Any]):
    """What `subprocess.Popen` does on Windows."""

    def __init__(self, *args: Any, creationflags: int = 0, **options: Any) -> None:
        if options.pop("preexec_fn", None) or options.pop("pass_fds", ()):
            raise ValueError("preexec_fn and pass_fds are not supported on Windows")
        for name in ("start_new_session", "process_group", "user", "group", "umask"):
            options.pop(name, None)  # they do nothing there
        own_group = creationflags == CREATE_NEW_PROCESS_GROUP
        super().__init__(*args, start_new_session=own_group, **options)

    def send_signal(self, sig: int) -> None:
        """Ask a process group to stop, or end the process."""
        if sig not in (SIGBREAK, signal.SIGTERM):
            raise ValueError(f"Unsupported signal: {sig}")
        super().send_signal(sig if sig == SIGBREAK else signal.SIGKILL)

    def terminate(self) -> None:
        """End the process, which is not asked."""
        super().send_signal(signal.SIGKILL)

    kill = terminate


GIVEN: dict[ModuleType, dict[str, Any]] = {
    sys: {"platform": "win32"},
    os: {"name": "nt"},
    signal: {"SIGBREAK": SIGBREAK, "CTRL_BREAK_EVENT": SIGBREAK},
    subprocess: {"CREATE_NEW_PROCESS_GROUP": CREATE_NEW_PROCESS_GROUP, "Popen": WindowsPopen},
}


def is_own(file: str) -> bool:
    """Return whether a file is part of the project, and must work on Windows."""
    return file.startswith(OWN) and file not in NOT_YET


def of_windows(module: ModuleType) -> type[ModuleType]:
    """Return a class for a module, which shows the code of the project what Windows has."""
    given, missing = GIVEN.get(module, {}), MISSING.get(module, set())
    kind: type[ModuleType] = type(module)

    class OfWindows(kind):  # type: ignore[misc, valid-type]
        def __getattribute__(self, name: str) -> Any:
            if (name in given or name in missing) and is_own(caller(1).f_code.co_filename):
                if name in given:
                    return given[name]
                raise AttributeError(f"Windows has no {name}")
            return super().__getattribute__(name)

    return OfWindows


def hide_what_windows_lacks() -> None:
    """Do it for this process."""
    import builtins

    imported, add, context = (
        builtins.__import__,
        asyncio.SelectorEventLoop.add_signal_handler,
        multiprocessing.get_context,
    )

    def import_as_windows(name: str, *args: Any, **options: Any) -> Any:
        if name in MODULES and is_own(caller(1).f_code.co_filename):
            raise ModuleNotFoundError(f"Windows has no {name}", name=name)
        return imported(name, *args, **options)

    def add_as_windows(loop: Any, *args: Any) -> None:
        if is_own(caller(1).f_code.co_filename):
            raise NotImplementedError
        add(loop, *args)

    def context_as_windows(method: str | None = None) -> Any:
        if method in ("fork", "forkserver") and is_own(caller(1).f_code.co_filename):
            raise ValueError(f"cannot find context for {method!r}")
        return context(method)

    builtins.__import__ = import_as_windows
    asyncio.SelectorEventLoop.add_signal_handler = add_as_windows  # type: ignore[assignment]
    multiprocessing.get_context = context_as_windows
    for module in {*GIVEN, *MISSING}:
        module.__class__ = of_windows(module)
