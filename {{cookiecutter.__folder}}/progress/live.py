"""The fragments that follow operations, and what pages call around them.

What ends the polling is not `st.stop()`: that ends one run, and the timer in the browser goes on.
It is a full run that no longer calls the fragment. So the tick that sees the end clears the
session state and asks for one full run; see "How it stops" in the README.
"""

import html
import time
from contextlib import nullcontext
from dataclasses import replace

import streamlit as st

from progress import watching
from progress.backend import ProgressConnection
from progress.errors import BackendError
from progress.operation import Operation, Status, new_operation_id
from progress.poller import Poller, Snapshot
from progress.settings import load_settings
from progress.text import duration, pace, plain, steps
from progress.timeline import timeline

SETTINGS = load_settings()

# Keys of the session state; progress/watching.py has those of what is followed.
_TOUCHED = "touched_at"
_PAUSED = "paused"
_PAGE = "page"
_PROBLEM = "problem"
_OWNER = "owner"
_UNSURE = "unsure_starts"

# CSS of a label and of a bar that look like those of st.progress, and are as high.
_SMALL = "font-size:.875rem;line-height:1.5"
_LABEL = f"{_SMALL};margin-bottom:-.25rem"
_BAR = "display:block;width:100%;height:.5rem;margin-top:-.5rem"


def backend() -> ProgressConnection:
    """Return the connection that all sessions share."""
    return st.connection("progress", type=ProgressConnection)


@st.cache_resource(show_spinner=False)
def poller() -> Poller[Operation]:
    """Return the poller that all sessions share."""
    return Poller(
        lambda ids: backend().read(ids),
        SETTINGS.poll_interval,
        is_final=lambda operation: operation.status.is_terminal,
    )


def owner() -> str:
    """Return who is looking: the e-mail address or id of the login, "" in an app without one."""
    # Once in a session, as every change of login begins a new one: at each look at st.user,
    # Streamlit looks for a secrets file, which was a tenth of what a tick cost.
    if _OWNER not in st.session_state:
        user = st.user.to_dict()
        st.session_state[_OWNER] = str(user.get("email") or user.get("sub") or "")
    known: str = st.session_state[_OWNER]
    return known


def visible(operation: Operation) -> bool:
    """Return whether who is looking may see it: their own, or any if settings.toml says shared.

    What is not visible reads as unknown: an id in a URL is no permission.
    """
    return SETTINGS.shared or operation.owner == owner()


def start(job: str, subject: str) -> None:
    """Start an operation and watch it. For the callback of a button: it runs before the page.

    The callback of the other half of a double click runs after this one and finds what it did.
    """
    if not watching.was_just_started(job, subject):
        _start(job, subject)


def retry(operation_id: str) -> None:
    """Start the job of an outcome again, in its place. For the callback of a button."""
    old = watching.find(operation_id)
    if old is None or old.operation is None or not old.ended:
        return  # the other half of a double click: it has gone
    _start(old.job, old.subject, operation_id)


def _start(job: str, subject: str, retry_of: str = "") -> None:
    resume()
    if watching.is_full() or watching.is_watched(job, subject):
        return
    # A start that got no answer may have arrived: the next try says the same id, which starts
    # nothing twice.
    unsure: dict[tuple[str, str, str], str] = st.session_state.setdefault(_UNSURE, {})
    wanted = (job, subject, retry_of)
    # If the viewer has clicked on meanwhile, Streamlit ends a callback at its next look at the
    # session state. There is none between the start and the note of it.
    connection, who, ones = backend(), owner(), watching.followed()
    operation_id = unsure.setdefault(wanted, new_operation_id())
    try:
        connection.start(operation_id, job, subject, who, retry_of)
    except BackendError as error:
        st.session_state[_PROBLEM] = ("The operation could not be started. Try again.", str(error))
        return
    del unsure[wanted]
    # Only now: what makes room for it must not go for nothing.
    watching.watch_started(ones, operation_id, job, subject, retry_of)


def follow(operation_id: str) -> None:
    """Follow an operation that the page names. For the callback of a button."""
    resume()
    watching.watch(operation_id)


def cancel(operation_id: str) -> None:
    """Ask a job to stop. For the callback of a button; the page shows when it has."""
    resume()
    one = watching.find(operation_id)
    if one is None:
        return
    connection, who = backend(), owner()  # first, as in _start
    try:
        # The id may have come from the URL: only the owner may end it.
        found = connection.read([operation_id]).get(operation_id)
        if found is not None and found.owner == who:
            connection.cancel(operation_id)
            one.cancelling = True
    except BackendError as error:
        st.session_state[_PROBLEM] = ("The cancel request did not arrive. Try again.", str(error))


def touch(page: str) -> None:
    """Note that somebody is at a page. Call it in every full run of a page that polls."""
    if st.session_state.get(_PAGE) != page:
        resume()
        watching.forget_dropped()
    st.session_state[_PAGE] = page
    st.session_state[_TOUCHED] = time.monotonic()


def idle() -> bool:
    """Return whether nobody touched this page for the idle budget. A tick that sees it pauses."""
    touched: float = st.session_state[_TOUCHED]
    return time.monotonic() - touched > SETTINGS.idle_budget


def pause() -> None:
    """Stop polling until somebody resumes. The next full run does not call the fragment."""
    st.session_state[_PAUSED] = True


def paused() -> bool:
    """Return whether this page stopped polling because nobody touched it."""
    return bool(st.session_state.get(_PAUSED))


def resume() -> None:
    """Poll again after the idle budget. For the callback of a button."""
    st.session_state.pop(_PAUSED, None)


def offer_resume(meanwhile: str) -> None:
    """Say why the page stopped polling, and offer to go on; `meanwhile` is what it misses."""
    st.info(
        f"Nobody touched this page for {duration(SETTINGS.idle_budget)}, so it stopped asking."
        f" {meanwhile}",
        icon=":material/pause_circle:",
    )
    st.button("Resume", key="resume", on_click=resume)


def follow_url() -> None:
    """Bring session and URL together. Call it once in every full run of a page that follows.

    A reload, a second tab, a restart of the server or another replica come with ids in the URL
    and an empty session; a page change comes with the session and an empty URL. What a link adds
    is followed besides the rest.
    """
    touch("run")
    asked = dict.fromkeys(st.query_params.get_all("operation"))
    new = [
        operation_id
        for operation_id in asked
        if watching.find(operation_id) is None and not watching.was_just_dropped(operation_id)
    ]
    room = watching.MOST - len(watching.watched())
    for operation_id in reversed(new[:room]):
        watching.watch(operation_id)
    if len(new) > room:
        advice = f"This page follows at most {watching.MOST} operations at once. Left out:"
        st.session_state[_PROBLEM] = (advice, "\n".join(name[:200] for name in new[room:]))
    if any(not one.job and not one.ended for one in watching.followed()):
        # The buttons, drawn above the fragment, must know what an id stands for.
        watching.settle(_ended(_look()))
    watching.write_url()


def show_problem() -> None:
    """Show, once, what went wrong in the last callback."""
    if (problem := st.session_state.pop(_PROBLEM, None)) is not None:
        advice, reason = problem
        st.error(advice, icon=":material/error:")
        st.text(reason)


def show_notices(page: str) -> None:
    """Say, once, what has ended and no page has drawn. `page` is the open one, which does not."""
    touch(page)
    for one in [one for one in watching.outcomes() if not one.told]:
        status = one.operation.status if one.operation else "unknown"
        icon = "check_circle" if status is Status.COMPLETED else "info"
        st.toast(f"{plain(one.name)}: {status}", icon=f":material/{icon}:", duration="long")
        one.told = True  # Only now: a click may interrupt this run, and the next one tells of it.


def _look() -> dict[str, Snapshot[Operation]]:
    """Return the news of what this session watches, as far as who is looking may see it."""
    snapshots = poller().read_all(watching.watched())
    for operation_id, snapshot in snapshots.items():
        operation = snapshot.value
        if operation is not None and visible(operation):
            watching.saw(operation_id, operation)
            _forget_unsure(operation_id)
        else:
            snapshots[operation_id] = replace(snapshot, value=None)
            if snapshot.known:
                # It may have been there a moment ago. How it ended, nobody here can know.
                watching.saw(operation_id, None)
    return snapshots


def _forget_unsure(operation_id: str) -> None:
    unsure = st.session_state.get(_UNSURE, {})
    for wanted in [key for key, arrived in unsure.items() if arrived == operation_id]:
        del unsure[wanted]


def _ended(snapshots: dict[str, Snapshot[Operation]]) -> list[str]:
    """Return the ids of what has ended or does not exist for who is looking."""
    return [
        operation_id
        for operation_id, snapshot in snapshots.items()
        if snapshot.known and (snapshot.value is None or snapshot.value.status.is_terminal)
    ]


@st.fragment(run_every=SETTINGS.poll_interval)
def live_progress() -> None:
    """Show how far the watched operations are, at every tick, until the last has ended.

    Display only, and without arguments: they would freeze at the last full run. One fragment for
    all of them: one timer, and one full run for all that ended since the last tick.
    """
    if not watching.watched():
        st.stop()  # A tick that was under way when the last watch ended.
    if idle():
        pause()
        st.rerun(scope="app")
    snapshots = _look()
    if ended := _ended(snapshots):
        watching.settle(ended)
        st.rerun(scope="app")
    alone = len(snapshots) == 1
    for one in watching.followed():
        if not one.ended:
            with nullcontext() if alone else st.container(border=True):
                _draw(one, 5 if alone else 1)
    if errors := [snapshot.error for snapshot in snapshots.values() if snapshot.error]:
        st.warning(
            "The progress cannot be read just now. The operation is not affected;"
            " this page goes on asking.",
            icon=":material/cloud_off:",
        )
        st.text("\n".join(dict.fromkeys(map(str, errors))))


@st.fragment(run_every=SETTINGS.poll_interval)
def live_notices() -> None:
    """Notice the end of watched operations on a page that does not draw them. It draws nothing."""
    if not watching.watched():
        st.stop()
    if idle():
        pause()
        st.rerun(scope="app")
    if ended := _ended(_look()):
        # A toast of this run would go with it: the full run shows it.
        watching.settle(ended)
        st.rerun(scope="app")


def _draw(one: watching.Followed, lines: int) -> None:
    # Few elements: each is a message to each viewer at each tick.
    operation, news = one.operation, _news(one.operation)
    if operation and operation.status is Status.IN_PROGRESS and operation.progress is None:
        st.html(f'<div style="{_LABEL}">{html.escape(one.name)}<br>{news}</div>')
        # An HTML progress element without a value is an indeterminate bar; st.progress has none.
        # Its HTML stays the same: one that is drawn anew would begin its movement anew.
        scheme = st.context.theme.type or "light"
        style = f"{_BAR};accent-color:{accent()};color-scheme:{scheme}"
        st.html(f'<progress aria-label="In progress" style="{style}">')
    else:
        progress = (operation.progress if operation else None) or 0.0
        st.progress(progress, text=f"{plain(one.name)}  \n{news}")
    st.html(timeline(operation, lines, accent()) + _figures(operation))
    if operation:
        _draw_warnings(operation)


def _news(operation: Operation | None) -> str:
    if operation is None:
        return "Waiting for the first news"
    if operation.status is Status.QUEUED:
        return "Queued: waiting for a worker"
    done = steps(operation.current_step, operation.total_steps)
    return f"{done} so far" if operation.total_steps is None else done


def _figures(operation: Operation | None) -> str:
    times, work = [], []
    if operation:
        times.append(f"Elapsed {duration(operation.elapsed)}")
        if operation.remaining is not None:
            times.append(f"about {duration(operation.remaining)} left")
        if operation.rate is not None:
            work.append(pace(operation.rate))
        if operation.failed_steps:
            work.append(f"{operation.failed_steps:,} failed so far")
        if operation.attempt > 1:
            work.append(f"attempt {operation.attempt}")
        if operation.retry_of:
            work.append(f"retry of {operation.retry_of[:8]}")
    # Two lines from the first tick on, so that nothing jumps when the second one fills.
    words = [html.escape(" · ".join(line)) or "&nbsp;" for line in (times, work)]
    return f'<p style="{_SMALL};margin:.5rem 0 0;opacity:.6">{"<br>".join(words)}</p>'


def _draw_warnings(operation: Operation) -> None:
    if operation.is_cancelling:
        st.info("Cancelling: waiting for the job to stop.", icon=":material/hourglass_top:")
    if operation.silence > SETTINGS.quiet_after:
        st.warning(
            f"Quiet: no sign from the worker for {duration(operation.silence)}."
            " It may be busy or gone; this page goes on watching.",
            icon=":material/bedtime:",
        )
    if operation.problem:
        st.warning("The stored progress makes no sense in part:", icon=":material/rule:")
        st.text(operation.problem)


def accent() -> str:
    """Return the colour of the theme that the viewer sees, as CSS."""
    dark = st.get_option("theme.dark.primaryColor") if st.context.theme.type == "dark" else None
    return dark or st.get_option("theme.primaryColor") or "currentColor"
