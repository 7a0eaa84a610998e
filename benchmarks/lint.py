"""How long the fragment linter takes per 100,000 lines, for sources of several shapes and sizes.

    python benchmarks/lint.py [LINES ...]       (default: 2000 18000)

The time of a line must not grow with the size of the file.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "{{cookiecutter.project_slug}}"))

from dev.fragment_lint import check_source

LIVE = """import streamlit as st
@st.fragment(run_every=1)
def live{0}():
    if done():
        st.session_state.pop("active", None)
        st.rerun()
if st.session_state.get("active"): live{0}()
"""
SQL = "SELECT name FROM jobs LIMIT"
SHAPES: dict[str, Callable[[int], str]] = {
    "widgets": lambda i: f"v{i} = st.text_input('x')\nif v{i}:\n    st.write(v{i})",
    "guards": lambda i: f"if not ready({i}):\n    st.stop()",
    "buttons": lambda i: f"if st.button('{i}'):\n    draw({i})",
    "helpers that call each other": lambda i: f"def h{i}():\n    h{i - 1}()\nh{i}()",
    "timed fragments": lambda i: LIVE.format(i).rstrip(),
    "SQL": lambda i: f"q{i} = f'{SQL} {{x{i}}}'\ndb.execute(q{i})",
}


def main() -> None:
    """Print one line for each shape."""
    sizes = [int(size) for size in sys.argv[1:]] or [2_000, 18_000]
    print(f"{'seconds per 100,000 lines':32}", *(f"{size:>10,}" for size in sizes))
    for name, shape in SHAPES.items():
        row = []
        for size in sizes:
            count = size // (shape(1).count("\n") + 1)
            source = LIVE.format("") + "\n".join(map(shape, range(count)))
            start = time.process_time()
            check_source(source, "page.py")
            seconds = time.process_time() - start
            row.append(f"{seconds * 100_000 / (source.count(chr(10)) + 1):10.1f}")
        print(f"{name:32}", *row, flush=True)


if __name__ == "__main__":
    main()
