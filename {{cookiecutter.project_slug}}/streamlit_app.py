"""The only script that Streamlit runs: it checks the settings and leads to the pages."""

import streamlit as st

from progress import heap
from progress.settings import ROOT, SettingsError
from progress.ui.formats import escape_markdown

try:
    from progress.session import live, tracking  # they need the settings
except SettingsError as error:
    st.error(escape_markdown(str(error)), icon=":material/settings_alert:")
    st.stop()


@st.fragment(run_every=live.interval())
def live_notices() -> None:
    """Notice the end of watched operations on a page that does not draw them. It draws nothing."""
    if not tracking.watched():
        st.stop()  # A tick that was under way when the last watch ended.
    if live.idle():
        live.pause()
        st.rerun(scope="app")
    if ended := live.ended(live.look()):
        # A toast of this run would go with it: the full run shows it.
        tracking.settle(ended)
        st.rerun(scope="app")


st.set_page_config(page_title=live.SETTINGS.title, page_icon=":material/progress_activity:")
if st.user.get("is_logged_in") is False:  # only where the secrets have an [auth] section
    st.title(escape_markdown(live.SETTINGS.title))
    st.button("Log in", icon=":material/login:", on_click=st.login)
    st.stop()
heap.settle_soon()
for name in [page.name for page in live.SETTINGS.pages]:
    if not (ROOT / "app_pages" / f"{name}.py").is_file():
        st.error(
            f"settings.toml names the page {name}, but there is no app_pages/{name}.py."
            " Add the file, or remove the line."
        )
        st.stop()
pages = [
    st.Page(f"app_pages/{page.name}.py", title=page.title, icon=f":material/{page.icon}:")
    for page in live.SETTINGS.pages
]
page = st.navigation(pages, position="top")
if page.url_path != "":  # another page than the first, which draws the operations itself
    live.show_notices(page.url_path)
    if tracking.watched() and not live.paused():
        live_notices()
page.run()
