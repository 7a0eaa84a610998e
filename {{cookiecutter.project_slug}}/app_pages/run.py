"""The page that starts, tracks and cancels operations, and shows how they ended."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from progress.job import Upload
from progress.session import choices, commands, polling, resources, tracking, viewer
from progress.session.choices import Problem
from progress.session.tracking import Entry
from progress.ui import form, joblog, outcome, result, running, subject_history, tab
from progress.ui.formats import escape_markdown, format_status
from progress.ui.titles import job_title, operation_title

bars: dict[str, DeltaGenerator] = {}  # where the fragment draws each running operation


@st.fragment(run_every=polling.interval())
def live_progress() -> None:
    """Draw the running operations at every tick. The tick that sees an end requests a full rerun.

    Display only, and without arguments: they would freeze until the next full rerun. One fragment
    for all operations: one timer, and one full rerun for all that ended since the last tick. Each
    is drawn into a place of the page, beside its buttons.
    """
    if not polling.is_called("progress"):
        st.stop()  # a tick that was under way when a full rerun ended the polling
    polling.tick()
    polling.poll()
    if choices.is_loaded():
        polling.request_full_rerun()
    if polling.needs_full_rerun():  # something ended, the viewer left, or the interval changes
        st.rerun(scope="app")
    draw_progress()


def draw_progress() -> None:
    """Draw the running operations, as of the last update, and the title of the tab."""
    tab.draw_title()
    entries = [entry for entry in tracking.running() if entry.operation_id in bars]
    for entry in entries:
        with bars[entry.operation_id].container():
            running.draw(entry, ended_steps=5 if len(entries) == 1 else 1)
            if entry.operation and entry.operation.result:
                result.draw(entry.operation.result)
            joblog.draw_tail(entry)
    if errors := [str(entry.error) for entry in entries if entry.error]:
        st.warning(
            "The progress cannot be read now. The operation is not affected;"
            " this page keeps polling.",
            icon=":material/cloud_off:",
        )
        st.text("\n".join(dict.fromkeys(errors)))


def choose_job() -> str | None:
    """Draw the jobs, if there are several, and return the selected job."""
    jobs = choices.jobs()
    draw_problem(jobs.problem)
    if len(jobs.names) > 1:
        return st.selectbox("Job", jobs.names, format_func=job_title, key="job")
    return next(iter(jobs.names), None)


def choose_subject(job: str) -> None:
    """Draw what a job can work on, or that there is nothing."""
    subjects = choices.subjects(job)
    draw_problem(subjects.problem)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if subjects.names:  # an empty box would keep None when there are subjects again
            st.selectbox("Subject", subjects.names, key="subject", width="stretch")
        elif not choices.is_loading():
            st.caption("There is no subject to work on.")
        st.button(
            "Refresh",
            key="refresh_subjects",
            icon=":material/refresh:",
            type="tertiary",
            help="List the subjects again.",
            on_click=choices.refresh_subjects,
            disabled=choices.is_loading(),
        )


def draw_problem(problem: Problem | None) -> None:
    """Draw what went wrong, if anything did."""
    if problem is not None:
        st.error(problem.message, icon=":material/error:")
        st.text(problem.details)


def draw_start(job: str | None, subject: str | None) -> None:
    """Draw the start button, and why it starts nothing.

    Only what cannot change while it is focused disables it: a disabled button loses the focus.
    """
    reason, already = "", f"Already running{' for this subject' if subject else ''}"
    if job is None:
        reason = "jobs.py is loading." if choices.is_loading() else "There is no job to start."
    elif commands.is_selected_running():
        reason = f"{already}."
    elif any((job, subject) == (offer.job, offer.subject) for offer in tracking.offers() or []):
        reason = f"{already}: track it below, or start another operation."
    elif tracking.is_full():
        reason = f"This page tracks {tracking.MAX_TRACKED} operations, which is its limit."
    label = resources.SETTINGS.operation
    if job is not None and len(choices.jobs().names) > 1:
        label = f"Run {job_title(job)}"
    st.button(
        escape_markdown(label),
        key="start",
        type="primary",
        icon=":material/play_arrow:",
        on_click=commands.start_selected,
        disabled=job is None or subject is None,
    )
    if reason:
        st.caption(reason)


def draw_offers() -> None:
    """Draw the viewer's operations that run, where the page opened without tracking any."""
    for offer in tracking.offers() or []:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.text(operation_title(offer.job, offer.subject), width="stretch")
            st.caption(format_status(offer.status), width="content")
            st.button(
                "Track",
                key=f"track-{offer.operation_id}",
                icon=":material/visibility:",
                on_click=commands.track,
                args=(offer.operation_id,),
                disabled=tracking.is_full(),
            )


def draw_controls(entry: Entry, suffix: str) -> None:
    """Draw the buttons of a running operation; `suffix` makes their keys unique."""
    operation = entry.operation
    if operation is None or operation.owner == viewer.owner():
        # The request may be another tab's; after a reload this session does not know its own.
        cancelling = entry.cancel_requested or (operation is not None and operation.is_cancelling)
        st.button(
            "Cancelling" if cancelling else "Cancel",
            key=f"cancel{suffix}",
            icon=":material/close:",
            on_click=commands.cancel,
            args=(entry.operation_id,),
        )
        if entry in tracking.unresponsive(resources.SETTINGS.cancel_grace):
            joblog.draw_force_stop(entry, suffix)
    joblog.draw_toggle(entry)
    st.button(
        "Stop tracking",
        key=f"untrack{suffix}",
        icon=":material/visibility_off:",
        type="tertiary",
        help="The operation goes on without this page.",
        on_click=tracking.untrack,
        args=(entry.operation_id,),
    )
    outcome.draw_origin(entry)


commands.track_url()
commands.find_offers()
if polling.is_paused() or not all(entry.job for entry in tracking.running()):
    polling.poll()  # the buttons above the fragment need to know what an id in the URL stands for

st.title(escape_markdown(resources.SETTINGS.title))
st.caption(escape_markdown(resources.SETTINGS.description))
choices.load()
if choices.is_loading():
    st.status("Loading jobs.py and the subjects")  # it shows a spinner
job = choose_job()
declared = choices.find(job)
if job and declared:
    if isinstance(declared.subjects, Upload):
        form.draw_upload(declared.subjects)
    elif declared.subjects is not None:
        choose_subject(job)
    form.draw(job, declared)
subject = commands.selected_subject()
draw_start(job, subject)
for problem in commands.problems():
    draw_problem(problem)
commands.problems().clear()

needs_polling = tracking.needs_polling() or choices.is_loading()
if needs_polling and polling.is_paused():
    running.draw_paused("The operations go on without it.")
elif needs_polling:
    polling.begin("progress")
for entry in tracking.running():
    with st.container(border=True):
        bars[entry.operation_id] = st.empty()
        with st.container(horizontal=True, vertical_alignment="center"):
            draw_controls(entry, "" if len(tracking.running()) == 1 else f"-{entry.operation_id}")
if polling.is_called("progress"):
    live_progress()
else:
    draw_progress()
draw_offers()
for entry in tracking.outcomes():
    outcome.draw(entry)
    tracking.mark_announced(entry)
if job and subject is not None:
    subject_history.draw(job, subject)
