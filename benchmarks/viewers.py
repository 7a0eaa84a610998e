"""Viewers of a Streamlit app without a browser, over the app's own websocket.

They do what the page in a browser does: open it, keep a timer for each fragment with `run_every`,
send a rerun whenever it fires, and clear all timers when a full rerun starts.
"""

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

STEP = re.compile(rb"@(\d+\.\d{4})@")
_METADATA, _DELTA = 0x12, 0x2A  # the first bytes of fields of a ForwardMsg


@dataclass(slots=True)
class Figures:
    """What viewers saw since `clear`. Seconds."""

    ticks: list[float] = field(default_factory=list)
    """From a fired timer to the end of the run that answered it."""
    delays: list[float] = field(default_factory=list)
    """From a step that a job wrote to its arrival."""
    frames: int = 0
    """Frames sent."""
    runs: int = 0
    """Script runs that ended."""

    def clear(self) -> None:
        """Reset."""
        self.ticks.clear()
        self.delays.clear()
        self.frames = self.runs = 0


class Viewer:
    """One open page.

    Args:
        url: Address of the server, http://...
        figures: Where to note what it sees; shared by many viewers.
        page: Its name in the URL, "" for the first.
        query: The part of the URL after the question mark.
    """

    def __init__(self, url: str, figures: Figures, page: str = "", query: str = "") -> None:
        self._url = url.replace("http", "ws", 1) + "/_stcore/stream"
        self._figures = figures
        self._page = page
        self._query = query
        self._socket: ClientConnection | None = None
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._waiting: list[float] = []  # when the timers fired that no run has answered yet
        self._next_run: list[float] = []  # those that came during a run: the next one answers all
        self._last_step = b""
        self._last_drawn = time.time()
        self.is_silent = False
        """Whether its timers send nothing for now."""
        self.is_lost = False
        """Whether the server closed the connection."""
        self.opened = asyncio.Event()
        """Set when the first run has ended."""

    @property
    def is_polling(self) -> bool:
        """Whether a timer is left."""
        return bool(self._timers)

    def unanswered(self) -> list[float]:
        """Return the ages of the ticks that no run has answered yet, in seconds."""
        now = time.perf_counter()
        return [now - fired for fired in self._waiting + self._next_run]

    def unseen(self) -> float:
        """Return the age of the last step that it saw, in seconds."""
        return time.time() - self._last_drawn

    async def run(self) -> None:
        """Open the page and follow it until cancelled, or until the server closes it."""
        try:
            async with connect(
                self._url,
                subprotocols=[Subprotocol("streamlit")],
                compression=None,
                max_size=None,
                open_timeout=None,  # a saturated server takes its time
                ping_interval=None,
            ) as self._socket:
                await self._send()
                async for data in self._socket:
                    self._receive(data)
            self.is_lost = True
        except ConnectionClosed:
            self.is_lost = True
        finally:
            self._clear_timers()

    async def _send(self, fragment_id: str = "") -> None:
        message: Any = BackMsg()
        message.rerun_script.query_string = self._query
        message.rerun_script.page_name = self._page
        if fragment_id:
            message.rerun_script.fragment_id = fragment_id
            message.rerun_script.is_auto_rerun = True
        assert self._socket is not None
        self._figures.frames += 1
        await self._socket.send(message.SerializeToString())

    def _receive(self, data: Any) -> None:
        # Most messages draw an element: searching their bytes leaves the processor to the server.
        start = 2 + data[1] if data[0] == _METADATA and data[1] < 0x80 else 0
        if data[start] == _DELTA:
            self._find_step(data)
            return
        message: Any = ForwardMsg.FromString(data)
        match message.WhichOneof("type"):
            case "delta":
                self._find_step(data)
            case "new_session" if not message.metadata.run.fragment_ids:
                self._clear_timers()
            case "auto_rerun":
                self._set_timer(message.auto_rerun.fragment_id, message.auto_rerun.interval)
            case "stop_auto_rerun":
                for fragment_id in message.stop_auto_rerun.fragment_ids:
                    if fragment_id in self._timers:
                        self._timers.pop(fragment_id).cancel()
            case "script_finished":
                self._end_run()

    def _find_step(self, data: bytes) -> None:
        found = STEP.search(data)
        if found and found[1] != self._last_step:
            if self._last_step:  # the first one was there before this viewer
                self._figures.delays.append(time.time() - float(found[1]))
            self._last_step, self._last_drawn = found[1], float(found[1])

    def _end_run(self) -> None:
        now = time.perf_counter()
        self._figures.runs += 1
        self._figures.ticks += [now - fired for fired in self._waiting]
        self._waiting, self._next_run = self._next_run, []
        self.opened.set()

    def _set_timer(self, fragment_id: str, interval: float) -> None:
        if fragment_id not in self._timers:
            self._timers[fragment_id] = asyncio.create_task(self._tick(fragment_id, interval))

    def _clear_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def _tick(self, fragment_id: str, interval: float) -> None:
        due = time.perf_counter()
        while True:
            due += interval
            await asyncio.sleep(due - time.perf_counter())
            if self.is_silent:
                continue
            (self._next_run if self._waiting else self._waiting).append(time.perf_counter())
            await self._send(fragment_id)
