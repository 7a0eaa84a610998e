"""Check timed Streamlit fragments for mistakes that show late.

A function under `@st.fragment(run_every=...)` is called again and again by a timer in the browser.
Typical mistakes are a timer that never ends and a page that reruns in a loop. This linter reads
the source (it imports nothing and runs nothing) and reports them.

| rule | name                         | what it finds                                             |
|------|------------------------------|-----------------------------------------------------------|
| FC00 | unused-ignore                | a comment that accepts no finding                         |
| FC01 | fragment-defined-in-block    | a fragment defined under a button; a timed one in a block |
| FC02 | fragment-called-under-button | a fragment that is rendered only in the run of a click    |
| FC03 | widget-in-fragment           | a widget in a timed fragment or in a helper that it calls |
| FC04 | no-termination               | a timed fragment without `st.rerun` and without `st.stop` |
| FC05 | stop-is-no-end               | `st.stop` as the only end: it ends a run, not the timer   |
| FC06 | unguarded-rerun              | a rerun that runs the fragment again: a loop              |
| FC07 | frozen-argument              | a timed fragment with parameters or data, which freeze    |
| FC08 | sql-f-string                 | SQL with values in its text instead of bound parameters   |
| FC09 | async-fragment               | an async fragment, which draws nothing                    |
| FC10 | timer-in-timer               | a timed fragment that a timed fragment renders            |
| FC11 | page-never-ends              | an endless loop in a page with a timed fragment           |

FC03 to FC07 check fragments with a timer (`run_every` given, and not `None` or 0). Calls are
followed through the modules of the project. Before a rerun, a call of another module counts as a
change of what renders the fragment.

    fragment-lint [PATH ...]                    where the command is installed
    python -m dev.fragment_lint [PATH ...]      where this folder is part of the project

PATH is a file, a folder (default: the current folder; hidden folders, virtual environments,
`build` and `node_modules` inside it are skipped) or `-` for stdin. `--help` lists the options.
Exit code: 0 no findings, 1 findings, 2 a path that cannot be checked; the others still are. A
comment `# fragment-lint: ignore[FC03, FC04]` on a line of the statement of a finding accepts it;
on a function, that is any line from its first decorator to the colon.

`model` reads names and the order of lines, `app` knows Streamlit, `rules` and `sql` judge,
`findings` and `command` report.
"""

from .app import ALWAYS_WIDGETS, SOMETIMES_WIDGETS
from .command import VERSION, check_paths, main
from .findings import Finding, UnreadableError, check_source
from .rules import RULES

__all__ = [
    "ALWAYS_WIDGETS",
    "RULES",
    "SOMETIMES_WIDGETS",
    "VERSION",
    "Finding",
    "UnreadableError",
    "check_paths",
    "check_source",
    "main",
]
