"""An app that was not made with the template uses its run page, as docs/adopting.md says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from progress.settings import ROOT

# The main script of the foreign app. The three lines with a comment are new.
APP = """\
import streamlit as st
from progress.session import polling  # new

pages = [
    st.Page("home.py", title="Home"),
    st.Page("app_pages/run.py", title="Run"),  # new
]
page = st.navigation(pages)
polling.open_page(page.url_path)  # new
page.run()
"""
HOME = """\
import streamlit as st
st.title("Orders")
st.button("Count", key="count")
"""
JOBS = """\
from typing import Any
from progress.job import Jobs
from progress.reporter import Reporter


def subjects() -> list[str]:
    return ["north", "south"]


def load_orders(report: Reporter, subject: str) -> dict[str, Any]:
    report.total(2)
    for number in (1, 2):
        report.step(f"Loading part {number} of {subject}")
    return {"metrics": {"Orders": 42}}


JOBS: Jobs = {"load_orders": load_orders}
"""

# What a user does. A process of its own: here `progress` is that of this project.
VISIT = """\
import re
import time
from streamlit.testing.v1 import AppTest

app = AppTest.from_file("app.py", default_timeout=30).run()
assert not app.exception, app.exception
assert app.title[0].value == "Orders"
app.switch_page("app_pages/run.py").run()
while not app.selectbox:  # jobs.py is loading
    assert not app.exception, app.exception
    time.sleep(0.1)
    app.run()
app.selectbox(key="subject").set_value("south")
app.button(key="start").click().run()
deadline = time.monotonic() + 30
while not app.success:
    assert time.monotonic() < deadline, app
    assert not app.exception, app.exception
    time.sleep(0.1)
    app.run()
print(app.success[0].value)
markup = "".join(element.proto.body for element in app.get("html"))
print(*re.search("<dt.*?>(.*?)</dt><dd.*?>(.*?)<", markup).groups())
app.switch_page("home.py").run()
app.button(key="count").click().run()
assert not app.exception, app.exception
print(app.title[0].value)
"""


def test_a_foreign_app_shows_the_run_page_after_three_lines(tmp_path: Path) -> None:
    copied = ("progress", "app_pages/run.py", "settings.toml")
    for name in copied:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tmp_path / name)
    files = {"app.py": APP, "home.py": HOME, "jobs.py": JOBS, "visit.py": VISIT}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("JOBS_MODULE", "PROGRESS_DATABASE", "PYTHONPATH")
    }
    done = subprocess.run(
        [sys.executable, "visit.py"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcome, metric, title = done.stdout.splitlines()
    assert outcome.startswith("Completed: 2 of 2 steps in")
    assert (metric, title) == ("Orders 42", "Orders")
    assert (tmp_path / ".local" / "progress.db").is_file()
