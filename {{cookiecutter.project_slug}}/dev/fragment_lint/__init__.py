"""Check timed Streamlit fragments for mistakes that appear only at run time.

A function under `@st.fragment(run_every=...)` is called again and again by a timer in the browser.
Typical mistakes are a timer that never ends and a page that reruns in a loop. This linter reads
the source (it imports nothing and runs nothing) and reports them.

`rules.py` says what each rule finds, and why; `--explain FC06` prints it. FC03 to FC07 check
fragments with a timer (`run_every` given, and not `None` or 0). Calls are followed through the
modules of the project; those of a fragment count wherever they are in the files that are checked.
Before a rerun, a call of another module counts as a change of what renders the fragment.

    fragment-lint [PATH ...]                    where the command is installed
    python -m dev.fragment_lint [PATH ...]      where this folder is part of the project

PATH is a file, a folder (default: the current folder; hidden folders, virtual environments,
`build`, `node_modules` and what Git ignores are skipped) or `-` for stdin. `--help` lists the
options; pyproject.toml may have lists `select`, `ignore` and `exclude` in `[tool.fragment-lint]`.
Exit code: 0 no findings, 1 findings, 2 a path that cannot be checked; the others still are. A
comment `# fragment-lint: ignore[FC03, FC04]` on a line of the statement of a finding accepts it;
on a function, that is any line from its first decorator to the colon. `ignore-file[FC04]` accepts
the findings of a whole file.

`model` reads names and the order of lines, `app` knows Streamlit, `checks` and `sql` judge by the
`rules`; `files`, `findings`, `output` and `command` are the tool.
"""

from .app import ALWAYS_WIDGETS, SOMETIMES_WIDGETS
from .command import check_paths, main
from .findings import Finding, UnreadableError, check_source
from .rules import RULES

__all__ = [
    "ALWAYS_WIDGETS",
    "RULES",
    "SOMETIMES_WIDGETS",
    "Finding",
    "UnreadableError",
    "check_paths",
    "check_source",
    "main",
]
