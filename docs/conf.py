"""The site of these pages, with the README as its home page: `make docs`."""

import re
from pathlib import Path

from sphinx.application import Sphinx

project = "cookiecutter-streamlit-progress"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
html_copy_source = False
highlight_language = "none"
myst_heading_anchors = 4

README = Path(__file__).parents[1] / "README.md"
FILES = f"https://github.com/org/{project}/blob/main/"


def setup(app: Sphinx) -> None:
    """Register what changes pages as they are read."""
    app.connect("source-read", fit_links)


def fit_links(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the README into the index, and replace links that leave docs/."""
    if page == "index":
        home = re.sub(r"\]\((?!https:|#|docs/)", f"]({FILES}", README.read_text("utf-8"))
        source[0] = home.replace("](docs/", "](") + source[0]
    source[0] = source[0].replace("](../README.md", "](index.md")
