"""Processes that Ctrl-C in the terminal does not reach, and how to ask them to stop."""

import signal
import subprocess
import sys
from typing import Any

OWN_GROUP: dict[str, Any]
"""Arguments of `subprocess.Popen` for such a process."""
STOP: signal.Signals
"""What `send_signal` sends to such a process, which handles it."""

if sys.platform == "win32":
    OWN_GROUP = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    STOP = signal.CTRL_BREAK_EVENT  # it arrives as SIGBREAK; `terminate` would end it immediately
else:
    OWN_GROUP = {"start_new_session": True}
    STOP = signal.SIGTERM
