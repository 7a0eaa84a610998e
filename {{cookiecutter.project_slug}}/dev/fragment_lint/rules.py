"""The rules: what each is called, what it finds, why, and how it looks. The docs come from here."""

from typing import NamedTuple

ERROR, WARNING, ADVICE = "error", "warning", "advice"
RERUN = 'clear the session state that renders it, then st.rerun(scope="app")'


class Rule(NamedTuple):
    """A rule: the worst severity of its findings, the reason, and how that was measured."""

    name: str
    severity: str
    finds: str
    fix: str
    why: str
    measured: str
    bad: str
    good: str


RULES = {
    "FC00": Rule(
        "unused-ignore",
        ADVICE,
        "a comment that accepts no finding",
        "remove the comment",
        "A comment that accepts no finding hides the next one.",
        "It follows from what the comments do.",
        """\
st.title("Jobs")  # fragment-lint: ignore[FC04]
""",
        """\
st.title("Jobs")
""",
    ),
    "FC01": Rule(
        "fragment-defined-in-block",
        ERROR,
        "a fragment defined under a button; a timed one in another block",
        "define it at module level, call it where it is needed",
        "Under a button the definition runs once: the next full rerun does not reach it and the "
        "fragment is gone. A timed fragment in another block is advice: its end is hard to see. "
        "A block that the program decides on, as by a version, counts as module level.",
        "Streamlit 1.67 in a browser: a click on another button removed the fragment.",
        """\
if st.button("Draw"):

    @st.fragment
    def chart():
        st.line_chart([1, 2, 3])

    chart()
""",
        """\
@st.fragment
def chart():
    st.line_chart([1, 2, 3])


if st.toggle("Draw"):
    chart()
""",
    ),
    "FC02": Rule(
        "fragment-called-under-button",
        ERROR,
        "a fragment that is rendered only in the run of a click, or by a callback",
        "call it under session state that the button sets",
        "A button is true for one run. The fragment is on the page until the next full rerun, "
        "whatever causes it. What a callback renders is there for one run, too.",
        "Streamlit 1.67 in a browser: a click on another button removed the fragment.",
        """\
@st.fragment
def chart():
    st.line_chart([1, 2, 3])


if st.button("Draw"):
    chart()
""",
        """\
@st.fragment
def chart():
    st.line_chart([1, 2, 3])


if st.button("Draw"):
    st.session_state.is_drawn = True
if st.session_state.get("is_drawn"):
    chart()
""",
    ),
    "FC03": Rule(
        "widget-in-fragment",
        WARNING,
        "a widget in a timed fragment or in a helper that it calls",
        "move the widget out of the fragment, into the page",
        "Each tick draws the widget again while the user works with it.",
        "Streamlit 1.67 in a browser: each tick ran the line of the widget, 14 times in 7 s.",
        """\
@st.fragment(run_every=1)
def live():
    limit = st.slider("Limit", 1, 100)
    st.table(newest(limit))
    if is_done():
        st.session_state.job = None
        st.rerun()


if st.session_state.get("job"):
    live()
""",
        """\
@st.fragment(run_every=1)
def live():
    st.table(newest(st.session_state.limit))
    if is_done():
        st.session_state.job = None
        st.rerun()


if st.session_state.get("job"):
    st.slider("Limit", 1, 100, key="limit")
    live()
""",
    ),
    "FC04": Rule(
        "no-termination",
        WARNING,
        "a timed fragment without an end",
        f"when the work has ended, {RERUN}",
        "The timer of a fragment goes on until a full rerun does not call the fragment. An "
        "interval that can become None is an end, and so is a toggle that decides on the call. "
        "For a page that never ends, say so with an ignore comment.",
        "Streamlit 1.67 in a browser: the ticks went on for as long as the page was open.",
        """\
@st.fragment(run_every=1)
def live():
    st.progress(progress())


if st.session_state.get("job"):
    live()
""",
        """\
@st.fragment(run_every=1)
def live():
    st.progress(progress())
    if is_done():
        st.session_state.job = None
        st.rerun()


if st.session_state.get("job"):
    live()
""",
    ),
    "FC05": Rule(
        "stop-is-no-end",
        WARNING,
        "st.stop() as the only end: it ends a run, not the timer",
        f"{RERUN} (plain st.rerun() is the same)",
        "st.stop() ends one run of the fragment. The timer is in the browser and fires again.",
        "Streamlit 1.67 in a browser: 16 more ticks in the 8 s after st.stop() at run_every=0.5.",
        """\
@st.fragment(run_every=1)
def live():
    if is_done():
        st.session_state.job = None
        st.stop()
    st.progress(progress())


if st.session_state.get("job"):
    live()
""",
        """\
@st.fragment(run_every=1)
def live():
    if is_done():
        st.session_state.job = None
        st.rerun()
    st.progress(progress())


if st.session_state.get("job"):
    live()
""",
    ),
    "FC06": Rule(
        "unguarded-rerun",
        ERROR,
        "a rerun that runs the fragment again: a loop",
        f"under a condition, {RERUN}",
        "A full rerun calls the fragment again if nothing changed that: the page reruns in a loop. "
        "The change must end the condition under which the page calls the fragment. A call of "
        "another file before the rerun counts as such a change. Fragment keys and "
        'scope="fragment" are legal in the run of a click only.',
        "Streamlit 1.67 in a browser: 60 full reruns in 1.1 s, without a pause.",
        """\
@st.fragment(run_every=1)
def live():
    st.progress(progress())
    if is_done():
        st.session_state.result = "done"
        st.rerun()


if st.session_state.get("job"):
    live()
""",
        """\
@st.fragment(run_every=1)
def live():
    st.progress(progress())
    if is_done():
        st.session_state.result = "done"
        st.session_state.job = None
        st.rerun()


if st.session_state.get("job"):
    live()
""",
    ),
    "FC07": Rule(
        "frozen-argument",
        WARNING,
        "a timed fragment with parameters, or with data of the page: both freeze",
        "take no parameters, read st.session_state inside",
        "A tick runs the fragment with the values of the last full rerun. Arguments that are the "
        "same at each call are fine. Data that the page loads and the fragment draws is advice.",
        "Streamlit 1.67 in a browser: 9 ticks got the old argument, the next full rerun the new.",
        """\
@st.fragment(run_every=1)
def live(job):
    st.progress(progress(job))
    if is_done(job):
        st.session_state.job = None
        st.rerun()


if st.session_state.get("job"):
    live(st.session_state.job)
""",
        """\
@st.fragment(run_every=1)
def live():
    job = st.session_state.job
    st.progress(progress(job))
    if is_done(job):
        st.session_state.job = None
        st.rerun()


if st.session_state.get("job"):
    live()
""",
    ),
    "FC08": Rule(
        "sql-values-in-text",
        ERROR,
        "SQL with values in its text instead of bound parameters",
        "bind parameters: a constant statement with placeholders, and values",
        "A value in the text of a statement can change what the statement does. Constants, "
        "numbers, choices from literals and names composed by psycopg are fine. A name of a table "
        "cannot be bound: unless it is compared with a list of names, it is a warning.",
        "A file name with a quote broke the example that the rule of this project came from.",
        """\
import sqlite3


def find(connection: sqlite3.Connection, name: str):
    return connection.execute(f"SELECT * FROM jobs WHERE name = '{name}'")
""",
        """\
import sqlite3


def find(connection: sqlite3.Connection, name: str):
    return connection.execute("SELECT * FROM jobs WHERE name = ?", (name,))
""",
    ),
    "FC09": Rule(
        "async-fragment",
        ERROR,
        "an async fragment, which draws nothing",
        "use def; run coroutines inside with asyncio.run()",
        "Streamlit never awaits the coroutine: the fragment draws nothing.",
        "Streamlit 1.67 in a browser: nothing drawn, a warning that nothing awaited the coroutine.",
        """\
@st.fragment
async def chart():
    st.line_chart(await load())


chart()
""",
        """\
import asyncio


@st.fragment
def chart():
    st.line_chart(asyncio.run(load()))


chart()
""",
    ),
    "FC10": Rule(
        "timer-in-timer",
        WARNING,
        "a timed fragment that a timed fragment renders",
        "call both from the page, or give the inner fragment no run_every",
        "Each tick of the outer fragment draws the inner one again, with a timer of its own.",
        "Streamlit 1.67 in a browser: with 0.5 s outside and 2 s inside, the inner fragment ran 20 "
        "times in 8 s instead of 4.",
        """\
@st.fragment(run_every=5)
def totals():
    st.table(load_totals())
    if is_done():
        st.session_state.job = None
        st.rerun()


@st.fragment(run_every=1)
def live():
    totals()
    if is_done():
        st.session_state.job = None
        st.rerun()


if st.session_state.get("job"):
    live()
""",
        """\
@st.fragment
def totals():
    st.table(load_totals())


@st.fragment(run_every=1)
def live():
    totals()
    if is_done():
        st.session_state.job = None
        st.rerun()


if st.session_state.get("job"):
    live()
""",
    ),
    "FC11": Rule(
        "page-never-ends",
        ERROR,
        "an endless loop in a page with a timed fragment",
        "remove the loop: run_every is the loop",
        "The timers of a page start when its run has ended, and this one never does.",
        "Streamlit 1.67 in a browser: no tick in 4 s (Streamlit's issue 9287).",
        """\
import itertools
import time


@st.fragment(run_every=1)
def live():
    if is_done():
        st.session_state.job = None
        st.rerun()


if st.session_state.get("job"):
    live()
clock = st.empty()
for second in itertools.count():
    clock.write(f"{second} s")
    time.sleep(1)
""",
        """\
import time


@st.fragment(run_every=1)
def live():
    st.write(f"{time.time() - st.session_state.start:.0f} s")
    if is_done():
        st.session_state.job = None
        st.rerun()


if st.session_state.get("job"):
    live()
""",
    ),
    "FC12": Rule(
        "dialog-under-button",
        ADVICE,
        "a dialog that only a click opens, on a page with a timed fragment",
        "call it under session state, and clear that in the dialog's on_dismiss",
        "A full rerun that a timed fragment requests closes a dialog that only a click opened.",
        "Streamlit 1.67 in a browser: the dialog was closed by the tick that saw the end.",
        """\
@st.fragment(run_every=1)
def live():
    if is_done():
        st.session_state.job = None
        st.rerun()


@st.dialog("Details")
def details():
    st.write("...")


if st.session_state.get("job"):
    live()
if st.button("Details"):
    details()
""",
        """\
@st.fragment(run_every=1)
def live():
    if is_done():
        st.session_state.job = None
        st.rerun()


def close():
    st.session_state.is_open = False


@st.dialog("Details", on_dismiss=close)
def details():
    st.write("...")


if st.session_state.get("job"):
    live()
if st.button("Details"):
    st.session_state.is_open = True
if st.session_state.get("is_open"):
    details()
""",
    ),
}
