"""The only script that Streamlit runs: it checks the settings and leads to the pages."""

import streamlit as st

from progress import heap
from progress.settings import SettingsError, load_settings
from progress.text import plain

try:
    settings = load_settings()
except SettingsError as error:
    st.error(plain(str(error)), icon=":material/settings_alert:")
    st.stop()

st.set_page_config(page_title=settings.title, page_icon=":material/progress_activity:")
if st.user.get("is_logged_in") is False:  # only where the secrets have an [auth] section
    st.title(plain(settings.title))
    st.button("Log in", icon=":material/login:", on_click=st.login)
    st.stop()
heap.settle_soon()
run = st.Page("views/run.py", title="Run", icon=":material/play_circle:", default=True)
board = st.Page("views/board.py", title="Board", icon=":material/view_list:")
feed = st.Page("views/feed.py", title="Live feed", icon=":material/monitoring:")
page = st.navigation([run, board, feed], position="top")
if page is not run:
    # Not at the top: it reads the settings, of which a bad value gets its message above.
    from progress import live, watching

    live.show_notices(page.url_path)
    if watching.watched() and not live.paused():
        live.live_notices()
page.run()
