"""The only script that Streamlit runs: settings, login, navigation."""

import streamlit as st
from streamlit.errors import StreamlitAPIException

from progress import edits, heap
from progress.settings import ROOT, SettingsError, have_settings_changed
from progress.ui.formats import escape_markdown

try:
    from progress.session import polling, resources, tracking, viewer  # they read settings.toml
    from progress.ui import focus, outcome, running
except SettingsError as error:
    st.error(escape_markdown(str(error)), icon=":material/settings_alert:")
    st.stop()

WIDE = {"board", "feed"}  # pages
settings = resources.SETTINGS
# A file: browsers would load the icons of Streamlit from the server of a third party.
st.set_page_config(page_title=settings.title, page_icon=ROOT / ".streamlit" / "icon.svg")
if refusal := viewer.refusal():
    st.error(escape_markdown(refusal), icon=":material/lock:")
    st.stop()
if viewer.must_log_in():
    st.title(escape_markdown(settings.title))
    for provider in viewer.providers():
        st.button(
            escape_markdown(f"Log in {provider and f'with {provider}'}".strip()),
            key=f"log_in_{provider}",
            icon=":material/login:",
            on_click=st.login,
            args=(provider or None,),
        )
    st.stop()
edits.forget_edited_modules()
heap.settle_soon()
st.html(running.STYLE)
if have_settings_changed():
    st.info("settings.toml has changed: restart the server.", icon=":material/restart_alt:")

try:
    pages = [
        st.Page(f"app_pages/{page.name}.py", title=page.title, icon=f":material/{page.icon}:")
        for page in settings.pages
    ]
    page = st.navigation(pages, position="top")
except StreamlitAPIException as error:  # no such file or icon, or two files with one address
    st.error("A page in settings.toml cannot be shown:", icon=":material/settings_alert:")
    st.text(str(error))
    st.stop()
name = page.url_path or settings.pages[0].name
if name in WIDE:  # before what is above the page is drawn: it would jump
    st.set_page_config(layout="wide")
if "is_logged_in" in st.user:
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        st.caption(escape_markdown(viewer.display_name()), width="content")
        st.button("Log out", icon=":material/logout:", type="tertiary", on_click=st.logout)
if viewer.warns_of_open_app():
    st.warning(
        "No login: all who can reach this address can start, see and cancel all operations.",
        icon=":material/lock_open:",
    )
polling.open_page(name)


@st.fragment(run_every=polling.interval())
def live_notices() -> None:
    """Notice the ends of tracked operations on pages that do not draw them. It draws nothing."""
    if not polling.is_called("notices"):
        st.stop()  # a tick that was under way when a full rerun ended the polling
    polling.tick()
    polling.poll()
    if polling.needs_full_rerun():
        st.rerun(scope="app")  # it shows the toast: one of this run would go with it


if name != "run":
    for ended in tracking.unannounced():
        outcome.toast(ended)
        tracking.mark_announced(ended, tracking.TOAST_SECONDS)
    if tracking.needs_polling() and not polling.is_paused():
        polling.begin("notices")
        live_notices()
page.run()
focus.keep()
