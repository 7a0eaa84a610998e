"""The only script that Streamlit runs: it checks the settings and leads to the pages."""

import streamlit as st

from progress import heap
from progress.settings import SettingsError
from progress.text import plain

try:
    from progress import live, watching  # they need the settings
except SettingsError as error:
    st.error(plain(str(error)), icon=":material/settings_alert:")
    st.stop()


@st.fragment(run_every=live.interval())
def live_notices() -> None:
    """Notice the end of watched operations on a page that does not draw them. It draws nothing."""
    if not watching.watched():
        st.stop()  # A tick that was under way when the last watch ended.
    if live.idle():
        live.pause()
        st.rerun(scope="app")
    if ended := live.ended(live.look()):
        # A toast of this run would go with it: the full run shows it.
        watching.settle(ended)
        st.rerun(scope="app")


st.set_page_config(page_title=live.SETTINGS.title, page_icon=":material/progress_activity:")
if st.user.get("is_logged_in") is False:  # only where the secrets have an [auth] section
    st.title(plain(live.SETTINGS.title))
    st.button("Log in", icon=":material/login:", on_click=st.login)
    st.stop()
heap.settle_soon()
run = st.Page("views/run.py", title="Run", icon=":material/play_circle:", default=True)
board = st.Page("views/board.py", title="Board", icon=":material/view_list:")
feed = st.Page("views/feed.py", title="Live feed", icon=":material/monitoring:")
page = st.navigation([run, board, feed], position="top")
if page is not run:
    live.show_notices(page.url_path)
    if watching.watched() and not live.paused():
        live_notices()
page.run()
