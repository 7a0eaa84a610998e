"""The fragment linter: bad code that it must report, and good code that it must accept.

A comment `#> FC03` in a sample says that this rule, and no other, is found on that line. A sample
without such a comment must have no findings.
"""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent, indent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from streamlit.delta_generator import DeltaGenerator

from dev.fragment_lint import (
    ALWAYS_WIDGETS,
    RULES,
    SOMETIMES_WIDGETS,
    Finding,
    UnreadableError,
    check_paths,
    check_source,
)
from dev.fragment_lint.command import lint
from progress.settings import ROOT

# A correct end of a fragment, which most samples share: each shows one mistake only.
PRELUDE = """\
import streamlit as st

def end():
    st.session_state.pop("active", None)
    st.rerun(scope="app")

"""


def sample(body: str) -> str:
    """Return the source of a sample; the prelude is left out where it imports for itself."""
    body = dedent(body)
    return body if re.search(r"^(import|from) streamlit", body, re.MULTILINE) else PRELUDE + body


def found(source: str, filename: str = "sample.py") -> list[tuple[int, str]]:
    """Return line and rule of the findings in a source."""
    return [(item.line, item.rule.split()[0]) for item in check_source(source, filename)]


def marked(source: str) -> list[tuple[int, str]]:
    """Return line and rule of the marks in a source."""
    lines = enumerate(source.split("\n"), start=1)
    return sorted((line, rule) for line, text in lines for rule in text.partition("#>")[2].split())


BAD = {
    "FC01 in a function": """
        def page():
            @st.fragment(run_every=1)
            def live():  #> FC01
                if done():
                    end()
            live()
        """,
    "FC01 a method": """
        class Page:
            @staticmethod
            @st.fragment(run_every=1)
            def live():  #> FC01
                if done():
                    end()
        """,
    "FC01 in a condition": """
        if st.session_state.get("active"):
            @st.fragment(run_every=1)
            def live():  #> FC01
                if done():
                    end()
        else:
            @st.fragment(run_every=1)
            def idle():  #> FC01
                if done():
                    end()
        """,
    "FC01 in a case": """
        match st.session_state.get("view"):
            case "live":
                @st.fragment(run_every=1)
                def live():  #> FC01
                    if done():
                        end()
        """,
    "FC01 in loops": """
        for name in names:
            @st.fragment(run_every=1)
            def live():  #> FC01
                if done(name):
                    end()
        while waiting():
            @st.fragment(run_every=1)
            def wait():  #> FC01
                if done():
                    end()
        """,
    "FC01 by a call": """
        def draw():
            if done():
                end()
        if st.button("Start"):
            live = st.fragment(draw, run_every=1)  #> FC01
        def page():
            return st.fragment(run_every=1)(draw)  #> FC01
        """,
    "FC02 in a function": """
        @st.fragment
        def live():
            st.write("...")
        def page():
            started = st.form_submit_button("Start")
            if started and not st.session_state.get("active"):
                live()  #> FC02
        """,
    "FC02 after a guard": """
        @st.fragment
        def live():
            st.write("...")
        def page():
            if not st.button("Start"):
                return
            live()  #> FC02
        """,
    "FC02 in an expression": """
        @st.fragment
        def live():
            st.write("...")
        live() if st.button("Start") else None  #> FC02
        """,
    "FC02 through a helper": """
        @st.fragment
        def live():
            st.write("...")
        def show():
            st.header("Progress")
            live()
        if st.button("Start"):
            show()  #> FC02
        """,
    "FC02 made by calls": """
        live = st.fragment(lambda: st.write("..."))
        def draw():
            st.write("...")
        if st.button("Start"):
            live()  #> FC02
        if prompt := st.chat_input():
            st.fragment(draw)()  #> FC01 FC02
        """,
    "FC03 on st": """
        @st.fragment(run_every=1)
        def live():
            name = st.text_input("Name")  #> FC03
            if st.button("Cancel"):  #> FC03
                end()
        """,
    "FC03 on containers": """
        box = st.empty()
        @st.fragment(run_every=1)
        def live():
            box.button("Outside")  #> FC03
            st.sidebar.selectbox("Job", jobs)  #> FC03
            with st.container() as here, st.form("job"):  #> FC03
                here.form_submit_button()  #> FC03
            columns = st.columns(3)
            columns[0].slider("Speed")  #> FC03
            left, *others = columns
            left.container(border=True).checkbox("Quiet")  #> FC03
            for name, column in zip(names, others):
                column.toggle(name)  #> FC03
            st.columns(2)[1].radio("Kind", kinds)  #> FC03
            [tab.feedback() for tab in st.tabs(names)]  #> FC03
            if done():
                end()
        """,
    "FC03 through helpers": """
        def draw(box):
            box.write("...")
            controls(box)

        def controls(box):
            box.download_button("Result", data)  #> FC03
            draw(box)

        @st.fragment(run_every=1)
        def live():
            draw(st.container())
            if done():
                end()
        """,
    "FC03 selections": """
        @st.fragment(run_every=1)
        def live():
            st.dataframe(rows, on_select="rerun")  #> FC03
            st.altair_chart(chart, key="chart", on_select=chosen)  #> FC03
            with st.expander("Log", on_change="rerun"):  #> FC03
                st.link_button("Docs", url, on_click=count)  #> FC03
            if done():
                end()
        """,
    "FC03 imported by name": """
        from streamlit import button, fragment, rerun, session_state, sidebar as side
        @fragment(run_every=1)
        def live():
            button("Cancel")  #> FC03
            side.number_input("Speed")  #> FC03
            if done():
                del session_state["active"]
                rerun()
        """,
    "FC03 in a nested function": """
        @st.fragment(run_every=1)
        def live():
            def cancel():
                st.button("Cancel")  #> FC03
            cancel()
            if done():
                end()
        """,
    "FC03 by calls": """
        def draw():
            st.pills("Kind", kinds)  #> FC03
            if done():
                end()
        live = st.fragment(draw, run_every=1)
        show = st.fragment(run_every=0.5)(lambda: end() if done() else st.button("Go"))  #> FC03
        """,
    "FC04 return is no end": """
        @st.fragment(run_every=interval)
        def live():  #> FC04
            if done():
                del st.session_state.active
                return
            st.write("...")
        """,
    "FC04 the end is never called": """
        @st.fragment(run_every=1)
        def live():  #> FC04
            def finish():
                end()
            st.write("...", finish)
        """,
    "FC04 by calls": """
        def draw():
            st.write("...")
        live = st.fragment(draw, run_every=1)  #> FC04
        show = st.fragment(run_every=1)(lambda: st.write("..."))  #> FC04
        """,
    "FC04 imports": """
        import streamlit
        from streamlit import fragment as f, stop
        @streamlit.fragment(run_every=1)
        def one():  #> FC04
            streamlit.write("...")
        @f(run_every=1)
        def two():  #> FC04
            print("...")
        """,
    "FC04 a rerun of something else": """
        @st.fragment(run_every=1)
        def live():  #> FC04
            if done():
                del st.session_state.active
                job.rerun()
        """,
    "FC05 in the fragment": """
        @st.fragment(run_every=1)
        def live():
            if done():
                del st.session_state.active
                st.stop()  #> FC05
            st.write("...")
        """,
    "FC05 in a helper": """
        def finish():
            st.session_state.clear()
            st.stop()  #> FC05
        @st.fragment(run_every=1)
        def live():
            if done():
                finish()
        """,
    "FC05 imported by name": """
        from streamlit import fragment, stop as halt
        @fragment(run_every=1)
        def live():
            if done():
                halt()  #> FC05
            if failed():
                halt()
        """,
    "FC06 no condition": """
        @st.fragment(run_every=1)
        def live():
            st.session_state.clear()
            st.rerun()  #> FC06
        """,
    "FC06 a condition that is none": """
        @st.fragment(run_every=1)
        def live():
            if True:
                del st.session_state.active
                st.rerun()  #> FC06
        """,
    "FC06 a guard that is none": """
        @st.fragment(run_every=1)
        def live():
            if False:
                return
            st.session_state.clear()
            st.rerun()  #> FC06
        """,
    "FC06 no condition through a helper": """
        def finish():
            st.session_state.clear()
            st.rerun()  #> FC06
        @st.fragment(run_every=1)
        def live():
            with st.container():
                finish()
        """,
    "FC06 no change": """
        @st.fragment(run_every=1)
        def live():
            if done():
                st.rerun()  #> FC06
        """,
    "FC06 a change of something else": """
        state = {}
        @st.fragment(run_every=1)
        def live():
            if done():
                state.pop("active")
                session_state = {}
                del state["active"]
                operation = st.session_state.get("active")
                st.balloons()
                st.rerun()  #> FC06
        """,
    "FC06 a change outside the branch": """
        @st.fragment(run_every=1)
        def live():
            st.session_state.ticks += 1
            if done():
                st.rerun()  #> FC06
            elif failed():
                del st.session_state.active
        """,
    "FC06 a change after it": """
        @st.fragment(run_every=1)
        def live():
            if done():
                st.rerun()  #> FC06
                del st.session_state.active
        """,
    "FC06 a change in a branch that returned": """
        @st.fragment(run_every=1)
        def live():
            if not done():
                return
            if failed():
                del st.session_state.active
                return
            st.rerun()  #> FC06
        """,
    "FC06 a helper that changes nothing": """
        def finish():
            st.balloons()
        def again():
            st.rerun()  #> FC06
        @st.fragment(run_every=1)
        def live():
            if done():
                finish()
                again()
        """,
    "FC06 one way of two": """
        def again():
            st.rerun()  #> FC06
        @st.fragment(run_every=1)
        def live():
            if done():
                del st.session_state.active
                again()
            if failed():
                again()
        """,
    "FC06 modules that are not the project's": """
        import json
        import streamlit as st
        import surely_not_installed
        @st.fragment(run_every=1)
        def live():
            if done():
                json.dumps({})
                surely_not_installed.finish()
                st.rerun()  #> FC06
        """,
    "FC06 scope": """
        @st.fragment(run_every=1)
        def live():
            if done():
                end()
            if stale():
                st.session_state.page = 2
                st.rerun(scope="fragment")  #> FC06
            if old():
                st.session_state.page = 3
                st.rerun("charts")  #> FC06
        """,
    "FC06 scope as the only end": """
        @st.fragment(run_every=1)
        def live():  #> FC04
            if done():
                st.session_state.clear()
                st.rerun(scope="fragment")  #> FC06
        """,
    "FC06 in a match and an except": """
        @st.fragment(run_every=1)
        def live():
            match status():
                case "completed":
                    st.rerun()  #> FC06
            try:
                read()
            except OSError:
                st.rerun()  #> FC06
        """,
    "FC07 a parameter": """
        @st.fragment(run_every=1)
        def live(operation):  #> FC07
            if operation.done:
                end()
        """,
    "FC07 a default, a keyword, a rest": """
        @st.fragment(run_every=1)
        def one(limit=5):  #> FC07
            done() and None
            if done():
                end()
        @st.fragment(run_every=1)
        def two(*, limit):  #> FC07
            if done():
                end()
        @st.fragment(run_every=1)
        def three(*names, **options):  #> FC07
            if done():
                end()
        """,
    "FC07 a method": """
        class Page:
            @st.fragment(run_every=1)
            def live(self):  #> FC01 FC07
                self.form("the page's own")
                if done():
                    end()
        """,
    "FC07 by calls": """
        def draw(operation):
            if operation.done:
                end()
        live = st.fragment(draw, run_every=1)  #> FC07
        """,
    "FC12 a button": """
        @st.fragment(run_every=1)
        def live():
            if st.session_state.pop("ended", None):
                st.rerun()

        @st.dialog("Edit")
        def edit():
            st.text_input("Name")

        if st.button("Edit"):
            edit()  #> FC12
        """,
    "FC12 a menu": """
        @st.fragment(run_every=1)
        def live():
            if st.session_state.pop("ended", None):
                st.rerun()

        from streamlit import dialog, form_submit_button

        @dialog("Edit", width="large")
        def edit(name):
            st.text_input(name)

        with st.form("names"):
            if form_submit_button("Edit") and name:
                edit(name)  #> FC12
        """,
    "FC12 a name": """
        @st.fragment(run_every=1)
        def live():
            if st.session_state.pop("ended", None):
                st.rerun()

        @st.dialog("Edit", on_dismiss=end)
        def edit():
            st.text_input("Name")

        clicked = st.button("Edit")
        if not clicked:
            st.stop()
        edit()  #> FC12
        """,
    "FC08 direct": """
        def read(connection, name, limit):
            connection.execute(f"SELECT * FROM jobs WHERE name = '{name}'")  #> FC08
            connection.execute("SELECT * FROM jobs LIMIT %s" % limit)  #> FC08
            connection.executemany("INSERT INTO {} VALUES (?)".format(name), rows)  #> FC08
            connection.executescript("DROP TABLE " + name)  #> FC08
            st.connection("x").query("SELECT 1 FROM t WHERE a = " + str(limit), ttl=0)  #> FC08
            session.sql(sql=f"CALL {name}()").collect()  #> FC08
        """,
    "FC08 bare names and wrappers": """
        from textwrap import dedent
        import pandas as pd
        from psycopg.sql import SQL
        from sqlalchemy import text
        def read(connection, name):
            connection.execute(text(f"{name}"))  #> FC08
            connection.execute(dedent(f"  DELETE FROM {name}"))  #> FC08
            connection.execute(SQL(f"SELECT {name}"))  #> FC08
            connection.execute(f" SELECT {name} ".strip())  #> FC08
            pd.read_sql(f"{name}", connection)  #> FC08
        """,
    "FC08 by a name": """
        def read(connection, name):
            statement = f"SELECT * FROM jobs WHERE name = '{name}'"  #> FC08
            return connection.execute(statement)
        def write(connection, name):
            statement = "UPDATE jobs SET done = 1"
            if name:
                statement += f" WHERE name = '{name}'"  #> FC08
            connection.execute(statement)
        """,
    "FC08 a constant that is none": """
        TABLE = "jobs"
        TABLE = input()
        def read(connection, column):
            connection.execute(f"SELECT * FROM {TABLE}")  #> FC08
            connection.execute(f"SELECT {column} FROM jobs")  #> FC08
            connection.execute(f"SELECT {settings.COLUMN} FROM jobs")  #> FC08
            connection.execute("SELECT * FROM jobs WHERE id IN (" + ",".join(ids) + ")")  #> FC08
        """,
    "FC01 a wrapped name": """
        from functools import partial
        every = partial(st.fragment, run_every=1)
        if st.button("Start"):
            @every
            def live():  #> FC01
                if done():
                    end()
        """,
    "FC02 a click that is kept or returned": """
        @st.fragment
        def chart():
            st.write("...")
        def ask():
            return st.button("Draw")
        class Page:
            def buttons(self):
                self.clicked = st.button("Draw")
            def charts(self):
                if self.clicked:
                    chart()  #> FC02
        if ask():
            chart()  #> FC02
        """,
    "FC02 match": """
        @st.fragment
        def chart():
            st.write("...")
        match st.sidebar.button("Draw"):
            case True:
                chart()  #> FC02
            case False:
                chart()
        """,
    "FC02 callbacks": """
        @st.fragment
        def chart():
            st.write("...")
        def start():
            chart()
        def note():
            st.session_state.active = True
        st.button("A", on_click=chart)  #> FC02
        st.toggle("B", on_change=start)  #> FC02
        st.button("C", on_click=lambda: start())  #> FC02
        st.button("D", on_click=note)
        """,
    "FC02 methods": """
        class Charts:
            @staticmethod
            @st.fragment
            def one():
                st.write("...")
            @st.fragment
            def two(self):
                st.write("...")
            def draw(self):
                if st.button("Two"):
                    self.two()  #> FC02
        charts = Charts()
        if st.button("Both"):
            Charts.one()  #> FC02
            charts.two()  #> FC02
        """,
    "FC03 containers in objects, dictionaries and lists": """
        class Panel:
            def __init__(self):
                self.row = st.container()
                self.boxes = {"left": st.empty(), "right": st.empty()}
        panel = Panel()
        slots = []
        slots.append(st.empty())
        @st.fragment(run_every=1)
        def live():
            panel.row.button("A")  #> FC03
            panel.boxes["left"].toggle("B")  #> FC03
            slots[0].radio("C", names)  #> FC03
            for slot in slots:
                slot.text_input("D")  #> FC03
            if done():
                end()
        """,
    "FC03 components": """
        import streamlit as st
        from st_aggrid import AgGrid as grid
        from streamlit_folium import st_folium
        from streamlit.components.v1 import declare_component
        color = declare_component("color", url=url)
        @st.fragment(run_every=1)
        def live():
            grid(rows)  #> FC03
            st_folium(world)  #> FC03
            color()  #> FC03
            if done():
                st.session_state.clear()
                st.rerun()
        """,
    "FC03 functions that are handed on": """
        from functools import partial
        def ask(name):
            st.number_input(name)  #> FC03
        def draw(kind):
            [*map(ask, kinds)]
            sorted(kinds, key=lambda item: st.checkbox(item))  #> FC03
            if done():
                end()
        live = st.fragment(partial(draw, "x"), run_every=1)
        """,
    "FC03 the helper of its own scope": """
        def one():
            def show():
                st.button("A")  #> FC03
            @st.fragment(run_every=1)
            def live():  #> FC01
                show()
                if done():
                    end()
        def two():
            def show():
                st.write("...")
            show()
        """,
    "FC04 decorators": """
        from functools import partial
        SECONDS = 2
        stored = st.fragment(run_every=SECONDS)
        fixed = partial(st.fragment, run_every="1s")
        old = getattr(st, "experimental_fragment")
        def polled(seconds):
            return st.fragment(run_every=seconds)
        def wrapped(function):
            return st.fragment(run_every=1)(function)
        def factory(seconds):
            def decorate(function):
                return st.fragment(function, run_every=seconds)
            return decorate
        OPTIONS = {"run_every": 2}
        @factory(2)
        def seven():  #> FC04
            st.write("...")
        @st.fragment(**OPTIONS)
        def eight():  #> FC04
            st.write("...")
        @stored
        def one():  #> FC04
            st.write("...")
        @fixed
        def two():  #> FC04
            st.write("...")
        @polled(5)
        def three():  #> FC04
            st.write("...")
        @wrapped
        def four():  #> FC04
            st.write("...")
        @old(run_every=1)
        def five():  #> FC04
            st.write("...")
        @(st.fragment(run_every=1) if NEW else same)
        def six():  #> FC04
            st.write("...")
        """,
    "FC04 all names of Streamlit": """
        from streamlit import *
        @fragment(run_every=1)
        def live():  #> FC04
            write("...")
        """,
    "FC04 an end that nobody reaches": """
        @st.fragment(run_every=1)
        def one():  #> FC04
            if done():
                return
                end()
        @st.fragment(run_every=1)
        def two():  #> FC04
            while True:
                st.write("...")
            end()
        @st.fragment(run_every=1)
        def three():  #> FC04
            if False:
                end()
        """,
    "FC06 scopes by name and by keys": """
        WHERE = "fragment"
        @st.fragment(run_every=1)
        def live():
            if done():
                end()
            if stale():
                st.session_state.page = 1
                st.rerun(scope=WHERE)  #> FC06
            if old():
                st.session_state.page = 2
                st.rerun(scope=["one", "two"])  #> FC06
        """,
    "FC08 expressions": """
        import pandas as pd
        def read(db, session, name, names):
            db.execute(text := f"SELECT {name}")  #> FC08
            db.execute(f"SELECT {name}".upper())  #> FC08
            db.execute("SELECT 1" if name else f"SELECT {name}")  #> FC08
            db.execute(" ".join(["SELECT", name]))  #> FC08
            db.execute("SELECT NAME FROM t".replace("NAME", name))  #> FC08
            session.sql(query=f"SHOW TABLES LIKE '{name}'")  #> FC08
            pd.read_sql_query(f"SELECT '{name}'", db)  #> FC08
            db.fetchrow(f"-- why\\n DELETE FROM jobs WHERE name = '{name}'")  #> FC08
            texts = {"all": "SELECT 1", "one": f"SELECT {name}"}  #> FC08
            db.execute(texts[name])
            parts = ["SELECT *", "FROM jobs"]
            parts.append(f"WHERE name = '{name}'")
            db.execute(" ".join(parts))  #> FC08
        """,
    "FC08 functions that build and that run": """
        def build(name):
            return f"SELECT * FROM jobs WHERE name = '{name}'"  #> FC08
        def run(statement):
            return db.execute(statement)
        def both(text):
            return run(text)
        class Store:
            def rows(self, statement):
                return self.db.execute(statement)
            def named(self, name):
                return self.rows(f"SELECT '{name}'")  #> FC08
        def page(name):
            db.execute(build(name))
            both("SELECT " + name)  #> FC08
        """,
    "FC09 timed": """
        @st.fragment(run_every=1)
        async def live():  #> FC09
            if done():
                end()
        """,
    "FC09 untimed": """
        @st.fragment
        async def chart():  #> FC09
            st.write(await load())
        """,
    "FC09 by a call": """
        async def draw():
            st.write(await load())
        chart = st.fragment(draw)  #> FC09
        """,
    "FC10 direct": """
        @st.fragment(run_every=5)
        def inner():
            if done():
                end()
        @st.fragment(run_every=1)
        def outer():
            inner()  #> FC10
            if done():
                end()
        """,
    "FC10 through a helper": """
        @st.fragment(run_every=5)
        def inner():
            if done():
                end()
        def both():
            inner()  #> FC10
        @st.fragment(run_every=1)
        def outer():
            both()
            if done():
                end()
        """,
    "FC10 by a call": """
        def draw():
            if done():
                end()
        inner = st.fragment(draw, run_every=1)
        @st.fragment(run_every=1)
        def outer():
            inner()  #> FC10
            if done():
                end()
        """,
    "FC02 a callback by position": """
        @st.fragment
        def live(): st.write(1)
        st.button("Go", "key", "help", live)  #> FC02
        """,
    "FC04 a wrapper in a decorator": """
        import functools
        def polled(seconds):
            def deco(f):
                @functools.wraps(f)
                @st.fragment(run_every=seconds)
                def inner(*a, **k):
                    return f(*a, **k)
                return inner
            return deco
        @polled(2)
        def live():  #> FC04
            st.write(1)
        live()
        """,
    "FC04 options that are passed on": """
        def polled(**k):
            return st.fragment(**k)
        @polled(run_every=2)
        def live():  #> FC04
            st.write(1)
        live()
        """,
    "FC07 data of the function around it": """
        def page(job):
            rows = load_rows(job)
            @st.fragment(run_every=2)
            def live():  #> FC01
                st.line_chart(rows)  #> FC07
                if done():
                    end()
            live()
        """,
    "FC02 the other case": """
        @st.fragment
        def live(): st.write(1)
        clicked = st.button("x")
        match clicked:
            case False: pass
            case _: live()  #> FC02
        """,
    "FC02 a method of the base class": """
        class Base:
            @st.fragment
            def live(self): st.write(1)
        class Panel(Base):
            def page(self):
                if st.button("Start"):
                    super().live()  #> FC02
        """,
    "FC06 a scope in options": """
        OPTS = {"scope": "fragment"}
        @st.fragment(run_every=2)
        def live():  #> FC04
            if done():
                st.session_state.clear()
                st.rerun(**OPTS)  #> FC06
        """,
    "FC04 a decorator in a dictionary": """
        DECOS = {"fast": st.fragment(run_every=1)}
        @DECOS["fast"]
        def live():  #> FC04
            st.write(1)
        """,
    "FC03 packages of widgets": """
        import streamlit as st
        import streamlit_antd_components as sac
        import extra_streamlit_components as stx
        import streamlit_shadcn_ui as ui
        from streamlit_extras.stylable_container import stylable_container
        from streamlit_modal import Modal
        from streamlit_echarts import st_echarts
        from streamlit_lottie import st_lottie
        from streamlit_webrtc import webrtc_streamer
        @st.fragment(run_every=2)
        def live():
            sac.buttons([1])  #> FC03
            stx.tab_bar([1])  #> FC03
            ui.button("x")  #> FC03
            webrtc_streamer("x")  #> FC03
            if done():
                st.session_state.pop('active', None)
                st.rerun()
        """,
    "FC03 containers by dict()": """
        boxes = dict(a=st.empty(), b=st.container())
        slots = [st.empty() for name in names]
        @st.fragment(run_every=2)
        def live():
            slots[0].button("x")  #> FC03
            boxes["a"].button("x")  #> FC03
            boxes.get("b").button("x")  #> FC03
            for box in boxes.values():
                box.toggle("x")  #> FC03
            if done():
                end()
        """,
    "FC03 a container stored in a dictionary": """
        boxes = {}
        boxes["a"] = st.empty()
        @st.fragment(run_every=2)
        def live():
            boxes["a"].button("x")  #> FC03
            if done():
                end()
        """,
    "FC03 a container that a function returns": """
        def panel():
            return st.container()
        @st.fragment(run_every=2)
        def live():
            panel().button("x")  #> FC03
            box = panel()
            box.toggle("y")  #> FC03
            if done():
                end()
        """,
    "FC03 a container in a global name": """
        def layout():
            global box
            box = st.container()
        def other():
            box = Box()
        @st.fragment(run_every=2)
        def live():
            box.button("x")  #> FC03
            if done():
                end()
        """,
    "FC03 a rerun by a click is no loop": """
        @st.fragment(run_every=2)
        def live():
            if st.button("A"):  #> FC03
                st.rerun()
            if st.button("B"):  #> FC03
                st.rerun(scope="fragment")
            if done():
                end()
        """,
    "FC03 a container in a namespace": """
        from types import SimpleNamespace
        ui = SimpleNamespace(left=st.empty())
        @st.fragment(run_every=2)
        def live():
            ui.left.button("x")  #> FC03
            if done():
                end()
        """,
    "FC03 a method that is handed on": """
        @st.fragment(run_every=2)
        def live():
            list(map(st.button, names))  #> FC03
            any(st.toggle(n) for n in names)  #> FC03
            if done():
                end()
        """,
    "FC03 containers in attributes": """
        class Page:
            def __init__(self):
                self.a, self.b = st.columns(2)
                self.boxes = []
                self.boxes.append(st.empty())
            @st.fragment(run_every=2)
            def live(self):  #> FC01 FC07
                self.b.button("x")  #> FC03
                self.boxes[0].button("x")  #> FC03
                if done():
                    end()
        """,
    "FC08 templates": """
        from string import Template
        Q = Template("SELECT * FROM t WHERE n = '$n'")
        def f(cur, name):
            cur.execute(Template("SELECT * FROM t WHERE n = '$n'").substitute(n=name))  #> FC08
            cur.execute(Q.safe_substitute({"n": name}))  #> FC08
            t = Template("DELETE FROM jobs WHERE n = $n")
            q = t.substitute(n=name)  #> FC08
            cur.execute(q)
        """,
    "FC08 format_map": """
        def f(cur, name):
            cur.execute("SELECT * FROM t WHERE n = '{n}'".format_map({"n": name}))  #> FC08
            cur.execute("SELECT * FROM t WHERE n = '{n}'".format_map(locals()))  #> FC08
        """,
    "FC08 one of two results": """
        def build(name):
            return f"SELECT * FROM t WHERE n = '{name}'", ()  #> FC08
        def f(cur, name):
            sql, params = build(name)
            cur.execute(sql, params)
            cur.execute(*build(name))
        """,
    "FC08 and, or": """
        def f(cur, name):
            cur.execute("SELECT * FROM t" + (f" WHERE n = '{name}'" if name else ""))  #> FC08
            cur.execute(name and f"SELECT * FROM t WHERE n = '{name}'" or "SELECT 1")  #> FC08
        """,
    "FC08 joins": """
        def f(cur, name):
            cur.execute("".join(("SELECT * FROM t WHERE n = '", name, "'")))  #> FC08
            cur.execute("\\n".join(["SELECT *", f"FROM {name}"]))  #> FC08
            sep = " "
            cur.execute(sep.join(["SELECT * FROM", name]))  #> FC08
        """,
    "FC08 first words": """
        def f(session, name):
            for_ = f"SHOW TABLES IN SCHEMA {name}"  #> FC08
            session.sql(for_)
            d = f"DESCRIBE TABLE {name}"  #> FC08
            session.sql(d)
            u = f"USE WAREHOUSE {name}"  #> FC08
            session.sql(u)
            c = f"CREATE OR REPLACE TEMPORARY TABLE {name} (a int)"  #> FC08
            session.sql(c)
            g = f"GRANT SELECT ON {name} TO ROLE x"  #> FC08
            session.sql(g)
            t = f"TRUNCATE TABLE {name}"  #> FC08
            session.sql(t)
            a = f"ALTER SESSION SET QUERY_TAG = '{name}'"  #> FC08
            session.sql(a)
            e = f"EXECUTE IMMEDIATE '{name}'"  #> FC08
            session.sql(e)
            s = f"set x = '{name}'"  #> FC08
            session.sql(s)
            l = f"list @{name}"  #> FC08
            session.sql(l)
            p = f"put file://x @{name}"
            session.sql(p)
            v = f"VACUUM {name}"  #> FC08
            session.sql(v)
            r = f"REFRESH MATERIALIZED VIEW {name}"  #> FC08
            session.sql(r)
            k = f"KILL {name}"  #> FC08
            session.sql(k)
            rm = f"REMOVE @{name}"  #> FC08
            session.sql(rm)
            desc = f"DESC TABLE {name}"  #> FC08
            session.sql(desc)
            rep = f"SELECT\\n\t* FROM {name}"  #> FC08
            session.sql(rep)
        """,
    "FC08 keywords": """
        def f(cur, conn, session, name):
            conn.query(sql=f"SELECT * FROM {name}")  #> FC08
            cur.execute(operation=f"SELECT * FROM {name}")  #> FC08
            pd.read_sql(sql=f"SELECT * FROM {name}", con=conn)  #> FC08
            pl.read_database(query=f"SELECT * FROM {name}", connection=conn)  #> FC08
            duckdb.sql(query=f"SELECT * FROM {name}")  #> FC08
            client.query(query=f"SELECT * FROM {name}")  #> FC08
        """,
    "FC08 more runners": """
        def f(cur, conn, session, name):
            pd.read_sql_query(sql=f"SELECT * FROM {name}", con=conn)  #> FC08
            pl.read_database(f"SELECT * FROM {name}", conn)  #> FC08
            client.query_df(f"SELECT * FROM {name}")  #> FC08
            client.command(f"DROP TABLE {name}")  #> FC08
            conn.exec_driver_sql(f"SELECT * FROM {name}")  #> FC08
            session.scalars(f"SELECT * FROM {name}")  #> FC08
            conn.scalar(f"SELECT * FROM {name}")  #> FC08
            spark.sql(f"SELECT * FROM {name}")  #> FC08
            db.execute_query(f"SELECT * FROM {name}")  #> FC08
            db.run_query(f"SELECT * FROM {name}")  #> FC08
            db.fetch_all(f"SELECT * FROM {name}")  #> FC08
            db.fetch_one(f"SELECT * FROM {name}")  #> FC08
            cursor.execute_async(f"SELECT * FROM {name}")  #> FC08
            conn.raw_sql(f"SELECT * FROM {name}")  #> FC08
            cs.fetch_pandas(f"SELECT * FROM {name}")
            conn.fetch(f"SELECT * FROM {name}")  #> FC08
            conn.fetchval(f"SELECT * FROM {name}")  #> FC08
            db.raw(f"SELECT * FROM {name}")  #> FC08
        """,
    "FC08 replace by a name": """
        SQL = "SELECT * FROM t WHERE n = ':name'"
        def f(cur, name):
            cur.execute(SQL.replace(":name", name))  #> FC08
            q = SQL
            q = q.replace(":name", name)  #> FC08
            cur.execute(q)
        """,
    "FC03 containers in session state": """
        if "box" not in st.session_state:
            st.session_state["box"] = st.container()
        @st.fragment(run_every=1)
        def live():
            st.session_state.box.button("A")  #> FC03
            box = st.session_state["box"]
            box.toggle("B")  #> FC03
            if done():
                end()
        """,
    "FC08 a check of another name": """
        def f(cur, table, other, column):
            if not other.isidentifier():
                raise ValueError
            cur.execute(f"SELECT * FROM {table}")  #> FC08
            if column not in ("a", "b"):
                column = table
            cur.execute(f"SELECT {column} FROM t")  #> FC08
            if table not in load():
                raise ValueError
            cur.execute(f"SELECT id FROM {table}")  #> FC08
            order = input()
            if order not in ("a", "b"):
                order = "a"
            order = input()
            cur.execute(f"SELECT * FROM t ORDER BY {order}")  #> FC08
        """,
    "FC08 a function that calls itself": """
        def where(names):
            if not names:
                return ""
            return where(names[1:]) + f" AND a = {names[0]}"
        def first(name):
            return second(name)
        def second(name):
            return first(name) + "x"
        db.execute("SELECT 1 FROM t " + where(names))  #> FC08
        db.execute(first(name))
        """,
}

GOOD = {
    "FC06 a tuple after and": """
        @st.fragment(run_every=2)
        def live():
            done = poll() == "done"
            done and (st.session_state.clear(), st.rerun())
        if "active" in st.session_state: live()
        """,
    "FC04 an interval from a dictionary": """
        PACE = {"fast": 1, "off": None}
        @st.fragment(run_every=PACE[st.session_state.pace])
        def live():
            st.write("tick")
        live()
        """,
    "FC06 an error ends the block": """
        from contextlib import suppress
        @st.fragment(run_every=2)
        def live():
            with suppress(LookupError):
                st.session_state.result = poll()
                st.rerun()
        if "result" not in st.session_state: live()
        """,
    "FC06 query parameters of old Streamlit": """
        @st.fragment(run_every=2)
        def live():
            if done():
                st.experimental_set_query_params()
                st.rerun()
        if st.experimental_get_query_params().get("job"):
            live()
        """,
    "FC01 an attribute decides": """
        if hasattr(st, "fragment"):
            @st.fragment(run_every=1)
            def live():
                if done():
                    end()
        else:
            def live(): ...
        """,
    "FC01 a version in a name decides": """
        STREAMLIT = tuple(map(int, st.__version__.split(".")[:2]))
        if STREAMLIT >= (1, 37):
            @st.fragment(run_every=1)
            def live():
                if done():
                    end()
        """,
    "FC01 the environment decides": """
        import os
        if os.environ.get("LIVE"):
            @st.fragment(run_every=1)
            def live():
                if done():
                    end()
        """,
    "FC08 constants of the class of self": """
        class Base:
            TABLE = "jobs"
        class R(Base):
            def f(self, cur, n):
                cur.execute("SELECT * FROM %s" % self.TABLE)
                cur.execute("SELECT * FROM {}".format(R.TABLE))
                cur.execute(f"SELECT * FROM {type(self).TABLE}")
                cur.execute(f"SELECT * FROM {self.__class__.TABLE}")
        """,
    "FC08 sentences for other programs": """
        def f(name):
            chat.execute(f"Create a summary of {name}")
            pipe.execute(f"Explain {name} in simple words")
            robot.execute("drop %s at the door" % name)
            tool.execute(f"With all data of {name}, show the table")
        """,
    "FC08 a set of names": """
        ALLOWED = {"a", "b"}
        def f(cur, column):
            if column not in ALLOWED:
                raise ValueError(column)
            cur.execute(f"SELECT {column} FROM t")
        """,
    "FC08 an assertion": """
        def f(cur, column):
            assert column in ("a", "b")
            cur.execute(f"SELECT {column} FROM t")
        """,
    "FC08 a private helper that gets constants": """
        def _count(cur, table):
            return cur.execute(f"SELECT count(*) FROM {table}")
        def f(cur):
            _count(cur, "jobs")
            _count(cur, "steps")
        """,
    "FC08 an identifier": """
        def f(cur, table):
            if not table.isidentifier():
                raise ValueError
            cur.execute(f"SELECT * FROM {table}")
        """,
    "FC01 untimed in a page function": """
        def page():
            @st.fragment
            def chart():
                st.slider("...")
            chart()
        """,
    "FC01 a fragment that is called where it is made": """
        def draw():
            if done():
                end()
        if st.session_state.get("active"):
            st.fragment(draw, run_every=1)()
        """,
    "FC01 options left out": """
        def page():
            @st.fragment(...)
            def chart():
                st.write("...")
        """,
    "FC02 later runs render it, too": """
        @st.fragment
        def chart(name):
            st.write(name)
        for name in st.session_state.setdefault("names", []):
            chart(name)
        if name := st.chat_input():
            st.session_state.names.append(name)
            chart(name)
        if st.button("Start"):
            st.session_state.active = True
            chart("now")
        elif st.session_state.get("active"):
            chart("then")
        """,
    "FC02 a dialog": """
        @st.fragment
        def chart():
            st.write("...")
        @st.dialog("Chart", width="large")
        def show():
            chart()
        if st.button("Open"):
            show()
        """,
    "FC02 the other name of two": """
        @st.fragment
        def chart():
            st.write("...")
        clicked, kind = st.button("Draw"), st.selectbox("Kind", kinds)
        if kind:
            chart()
        """,
    "FC03 no timer by a name": """
        NEVER = None
        @st.fragment(run_every=NEVER)
        def one():
            st.button("...")
        """,
    "FC03 a parameter that is no container": """
        def draw(lamp):
            lamp.toggle()
        @st.fragment(run_every=1)
        def live():
            draw(Lamp())
            if done():
                end()
        """,
    "FC04 an interval that can become None": """
        pace = None
        if st.session_state.get("running"):
            pace = 1
        def interval() -> float | None:
            if st.session_state.get("running"):
                return 0.5
        @st.fragment(run_every=pace)
        def one():
            st.write("...")
        @st.fragment(run_every=1 if st.session_state.get("running") else None)
        def two():
            st.write("...")
        @st.fragment(run_every=st.session_state.get("pace"))
        def three():
            st.write("...")
        @st.fragment(run_every=interval())
        def four():
            st.write("...")
        @st.fragment(run_every=st.session_state.get("running") and 1)
        def five():
            st.write("...")
        """,
    "FC04 the page ends it": """
        @st.fragment(run_every=1)
        def one():
            st.write("...")
        @st.fragment(run_every=1)
        def two():
            st.write("...")
        def stop():
            st.session_state.active = False
        if st.toggle("Live"):
            one()
        st.button("Stop", on_click=stop)
        if st.session_state.get("active"):
            two()
        """,
    "FC06 more guards": """
        @st.fragment(run_every=1)
        def one():
            st.session_state.pop("done", None) and st.rerun()
        @st.fragment(run_every=1)
        def two():
            try:
                result = read()
            except LookupError:
                st.write("...")
            else:
                st.session_state.result = result
                st.rerun()
        @st.fragment(run_every=1)
        def three():
            for job in jobs():
                if job.running:
                    break
            else:
                end()
        @st.fragment(run_every=1)
        def four():
            for job in jobs():
                if job.running:
                    return
            end()
        @st.fragment(run_every=1)
        def five():
            if done():
                st.write("...")
            else:
                return
            end()
        @st.fragment(run_every=1)
        def six():
            try:
                read()
            except LookupError:
                return
            end()
        """,
    "FC06 state of other kinds": """
        @st.fragment(run_every=1)
        def one():
            if done():
                setattr(st.session_state, "active", False)
                st.rerun()
        @st.fragment(run_every=1)
        def two():
            if done():
                st.query_params.clear()
                st.rerun()
        @st.fragment(run_every=1)
        def three():
            if done():
                st.session_state.ended.append(5)
                st.rerun()
        @st.fragment(run_every=1)
        def four():
            job = st.session_state.job
            if done():
                job.finish()
                st.rerun()
        @st.fragment(run_every=1)
        def five():
            if done():
                reset(st.session_state)
                st.rerun()
        if st.session_state.active:
            one()
        if "job" in st.query_params:
            two()
        if not st.session_state.ended:
            three()
        if st.session_state.job.running:
            four()
        """,
    "FC06 a condition that the page changes": """
        @st.fragment(run_every=1)
        def live():
            if version() != st.session_state.get("version"):
                st.rerun()
        st.session_state.version = version()
        if st.session_state.active:
            live()
        """,
    "FC08 a property": """
        class Store:
            @property
            def table(self):
                return "jobs"
            def read(self, db):
                db.execute(f"SELECT * FROM {self.table}")
        """,
    "FC08 a parameter with a class": """
        class Store:
            def __init__(self, kind):
                self.mark = "?" if kind == "sqlite" else "%s"
        def read(store: Store, db, name):
            db.execute(f"SELECT * FROM jobs WHERE name = {store.mark}", (name,))
        """,
    "FC08 a name of a comprehension": """
        def read(db, ids):
            safe = []
            for i in ids:
                safe.append(int(i))
            marks = ", ".join(str(i) for i in safe)
            db.execute(f"SELECT * FROM jobs WHERE id IN ({marks})")
        """,
    "FC06 a flag that is set once": """
        @st.fragment(run_every=1)
        def live():
            if done() and not st.session_state.get("finished"):
                st.session_state.finished = True
                st.rerun()
        live()
        """,
    "FC08 identifiers and numbers": """
        from config import TABLE
        ORDERS = {"new": "id DESC", "old": "id"}
        class Store:
            NAME = "jobs"
            def read(self, db, order, limit, ids):
                db.execute(f"SELECT * FROM {TABLE} ORDER BY {ORDERS[order]} LIMIT {int(limit)}")
                db.execute(f"SELECT * FROM {self.NAME} ORDER BY id {'DESC' if order else 'ASC'}")
                db.execute(f"SELECT * FROM {Store.NAME} LIMIT {limit:d}")
                marks = ", ".join(f":id{number}" for number in range(len(ids)))
                db.execute(f"SELECT * FROM jobs WHERE id IN ({marks})", ids)
                marks = ", ".join(f"${number}" for number, _ in enumerate(ids, 1))
                db.execute(f"SELECT * FROM jobs WHERE id IN ({marks})", ids)
                limit = int(limit)
                db.execute(f"SELECT * FROM jobs LIMIT {limit}")
                for column in ("name", "status"):
                    db.execute(f"SELECT {column} FROM jobs")
        """,
    "FC08 other languages": """
        def ask(engine, frame, prometheus, name):
            engine.query(f"Which job is {name}?")
            engine.query(f"Select the best of {name}")
            frame.query(f"age > {name}")
            prometheus.query(f"rate({name}[5m])")
            agent.execute(f"Update the report of {name}")
            agent.execute(f"With {name} as a guest")
            self.line.text(f"Update {name} of 5")
        """,
    "FC09 a coroutine inside": """
        import asyncio
        @st.fragment
        def chart():
            st.write(asyncio.run(load()))
        async def load():
            return 5
        """,
    "FC10 an untimed one inside": """
        @st.fragment
        def inner():
            st.write("...")
        @st.fragment(run_every=1)
        def outer():
            inner()
            if done():
                end()
        """,
    "FC11 a page without a timer": """
        while True:
            st.write("...")
        """,
    "FC01 module level": """
        from typing import TYPE_CHECKING
        import sys
        import streamlit as st
        @st.fragment
        def one():
            st.write("...")
        try:
            @st.fragment
            def two():
                st.write("...")
        except ImportError:
            @st.fragment
            def two():
                st.write("...")
        if TYPE_CHECKING:
            @st.fragment
            def three(): ...
        elif sys.version_info >= (3, 12):
            @st.fragment
            def three():
                st.write("...")
        if __name__ == "__main__":
            with st.container():
                @st.fragment
                def four():
                    st.write("...")
        """,
    "FC01 a fragment of something else": """
        def page():
            @html.fragment
            def live():
                st.write("...")
            @fragment(run_every=1)
            def other(name):
                st.button("...")
        """,
    "FC02 in the other branch": """
        @st.fragment
        def live():
            st.write("...")
        clicked = st.button("Start")
        if clicked:
            st.session_state.active = True
        elif st.session_state.get("active"):
            live()
        if not clicked:
            live()
        """,
    "FC02 or state": """
        @st.fragment
        def live():
            st.write("...")
        if st.button("Start") or st.session_state.get("active"):
            live()
        """,
    "FC02 names of other scopes and other buttons": """
        @st.fragment
        def live():
            st.write("...")
        def controls():
            clicked = st.button("Start")
            return clicked
        def page(clicked):
            if clicked:
                live()
            if st.toggle("Live"):
                live()
            if button():
                live()
            if not any([st.button("A"), st.button("B")]):
                live()
        joystick = pygame.joystick.Joystick(0)
        if joystick.button(0, key="fire") and not st.session_state.get("fire"):
            live()
        if st.session_state.get("fire"):
            live()
        """,
    "FC02 a helper that renders none": """
        @st.fragment
        def live():
            st.write("...")
        def start():
            st.session_state.active = True
        if st.button("Start"):
            start()
        live()
        """,
    "FC03 outside": """
        st.button("Cancel")
        @st.fragment(run_every=1)
        def live():
            st.sidebar.progress(0.5)
            st.columns(2)[0].metric("Steps", 5)
            if done():
                end()
        def controls():
            st.text_input("Name")
        """,
    "FC03 no timer": """
        @st.fragment
        def one():
            st.button("Cancel")
        @st.fragment(run_every=None)
        def two(name="x"):
            st.button("Cancel")
            st.rerun(scope="fragment")
        @st.fragment(run_every=0)
        def three():
            st.text_input("Name")
        four = st.fragment(lambda: st.button("Cancel"))
        """,
    "FC03 displays": """
        @st.fragment(run_every=1)
        def live():
            st.dataframe(rows, key="rows")
            st.altair_chart(chart, on_select="ignore")
            with st.expander("Log", key="log"):
                st.page_link("page.py")
                st.link_button("Docs", url)
            st.tabs(["A", "B"])[0].text("...")
            if done():
                end()
        """,
    "FC03 methods of other things": """
        @st.fragment(run_every=1)
        def live():
            st.session_state.machine.toggle()
            job = st.session_state.get("job")
            job.feedback()
            store = st.connection("progress")
            store.form("x")
            machine = Machine()
            machine.button("x")
            draw("x")
            if done():
                end()
        class Form:
            def draw(self):
                st.text_input("Name")
        """,
    "FC03 callbacks are not called": """
        def ask():
            st.text_input("Name")
        @st.fragment(run_every=1)
        def live():
            register(ask, lambda: st.button("x"))
            if done():
                end()
        """,
    "FC04 and FC05 a helper ends it": """
        def check():
            if done():
                end()
        @st.fragment(run_every=1)
        def live():
            if not st.session_state.get("active"):
                st.stop()
            check()
        """,
    "FC04 a page change": """
        @st.fragment(run_every=1)
        def live():
            if done():
                st.switch_page("result.py")
        """,
    "FC04 an imported body is not followed": """
        import streamlit as st
        from elsewhere import draw
        live = st.fragment(draw, run_every=1)
        """,
    "FC06 changes": """
        @st.fragment(run_every=1)
        def live():
            if one():
                del st.session_state.active
                st.rerun()
            if two():
                st.session_state["active"] = None
                st.rerun(scope="app")
            if three():
                st.session_state.pop("active", None)
                st.rerun("app")
            if four():
                st.session_state.job, rest = None, 1
                st.rerun()
            if five():
                if "active" in st.session_state:
                    del st.session_state["active"]
                st.rerun()
            if st.session_state.pop("finished", False):
                st.rerun()
            if six():
                st.session_state["jobs"].discard("this")
                with st.spinner("..."):
                    st.rerun()
        """,
    "FC06 names for the state": """
        import streamlit as st
        from streamlit import session_state as memory
        state = st.session_state
        @st.fragment(run_every=1)
        def live():
            if one():
                memory.clear()
                st.rerun()
            if two():
                state.active = False
                st.rerun()
        """,
    "FC06 guards": """
        @st.fragment(run_every=1)
        def live():
            if not one():
                return
            if two():
                st.write("...")
                st.stop()
            st.session_state.clear()
            st.rerun()
        @st.fragment(run_every=1)
        def other():
            with st.container():
                if not one():
                    return
            st.session_state.clear()
            st.rerun()
        @st.fragment(run_every=1)
        def loop():
            for job in jobs():
                if not job.done:
                    continue
                st.session_state.clear()
                st.rerun()
        """,
    "FC06 other branches": """
        @st.fragment(run_every=1)
        def live():
            if one():
                st.write("...")
            else:
                st.session_state.clear()
                st.rerun()
        @st.fragment(run_every=1)
        def other():
            if one():
                return
            else:
                st.session_state.clear()
            st.rerun()
        """,
    "FC06 helpers": """
        def forget():
            forget_one()
        def forget_one():
            del st.session_state.active
            if again():
                forget()
        def again():
            st.rerun()
        @st.fragment(run_every=1)
        def live():
            if one():
                forget()
                st.rerun()
            if two():
                forget()
                again()
        """,
    "FC06 match, except, expression": """
        @st.fragment(run_every=1)
        def live():
            match status():
                case "completed" | "failed":
                    st.session_state.clear()
                    st.rerun()
            try:
                read()
            except KeyError:
                st.session_state.clear()
                st.rerun()
            st.rerun() if st.session_state.pop("done", None) else None
        """,
    "FC06 outside fragments": """
        if st.button("Start"):
            st.rerun()
        st.rerun()
        """,
    "FC07 no parameter": """
        @st.fragment(run_every=1)
        def live():
            operation = st.session_state.get("active")
            if done(operation, key=lambda item: item):
                end()
        @st.fragment
        def untimed(operation):
            st.write(operation)
        """,
    "FC08 bound": """
        TABLE = "jobs"
        FIELDS = ("name", "status")
        COLUMNS = ", ".join(FIELDS)
        SELECT = f"SELECT {COLUMNS} FROM {TABLE}"
        def read(connection, ids, name):
            connection.execute("SELECT * FROM jobs WHERE name = ?", (name,))
            connection.execute(SELECT + " WHERE name = %s", (name,))
            marks = ",".join("?" * len(ids))
            connection.execute(f"{SELECT} WHERE id IN ({marks})", ids)
            connection.execute(f"{SELECT} WHERE id IN ({', '.join('?' for _ in ids)})", ids)
            connection.execute(SELECT, f"{name}")
            statement = "SELECT 1" " UNION SELECT 2"
            statement += " LIMIT 5"
            connection.execute(statement)
            connection.execute(build(name))
            connection.execute()
        """,
    "FC12 under session state": """
        def close():
            st.session_state.pop("is_editing", None)

        @st.dialog("Edit", on_dismiss=close)
        def edit():
            st.text_input("Name", key="name")

        st.button("Edit", on_click=st.session_state.update, kwargs={"is_editing": True})
        if st.session_state.get("is_editing"):
            edit()
        """,
    "FC08 texts that are no SQL": """
        def show(name, box):
            st.text(f"Step {name}")
            st.text(f"CALL {name} ended")
            box.text(f"With {name}")
            message = f"Working on {name}"
            st.text(message)
            page.text(f"Hello {name}")
            runner.execute(message)
            created = f"Created {name}"
            runner.execute(created)
            log(f"SELECT {name}")
            print("SELECT " + name)
        """,
    "FC08 composed": """
        from psycopg import sql
        def read(connection, table, name):
            query = sql.SQL("SELECT * FROM {}")
            connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)), [name])
            connection.execute(query.format(sql.Identifier(table)), [name])
        """,
    "FC07 the parameters of a lambda": """
        @st.fragment(run_every=1)
        def live(key=lambda item: item):
            if done():
                end()
        if st.session_state.active:
            live()
        """,
    "FC08 a default for what is not allowed": """
        ORDERS = {"a", "b"}
        def f(cur, order):
            if order not in ORDERS:
                order = "a"
            cur.execute(f"SELECT * FROM t ORDER BY {order}")
        """,
    "FC04 an end of the process, and an end in finally": """
        import sys
        count = 0
        @st.fragment(run_every=1)
        def live():
            global count
            count += 1
            if count > 5:
                end()
            if failed():
                sys.exit()
            st.write(count)
        @st.fragment(run_every=1)
        def other():
            try:
                st.write("...")
            finally:
                if done():
                    end()
        """,
}

# True only in the run of a click: in such a block a fragment is lost at the next full rerun.
CLICKS = {
    "a button": 'if st.button("Start"):',
    "a button of a column": "left, right = st.columns(2)\nif left.button('Start') and ready:",
    "a submit button": "with st.form('job'):\n    go = st.form_submit_button()\nif go:",
    "a chat message": "if prompt := st.chat_input():",
    "a walrus": "if (clicked := st.sidebar.button('Start')):\n    print(clicked)",
    "one of two buttons": "if st.button('Start') or st.button('Restart'):",
    "a name": "clicked = st.button('A')\ngo = clicked and st.session_state.get('on')\nif go:",
    "a guard": "if not st.button('Start'):\n    st.stop()\nwith st.container():",
    "the else of a not": "if not st.button('Start'):\n    st.write('...')\nelse:",
    "a comparison": "clicked = st.button('A')\nif clicked is False:\n    st.stop()\n"
    "with st.container():",
    "one of two results": "def ask():\n    return st.button('A'), st.radio('B', kinds)\n"
    "start, kind = ask()\nif start:",
    "a result": "def ask():\n    return st.button('A')\nif ask():",
    "the state of a button": "st.button('go', key='go')\nif st.session_state.go:",
    "a name that a click sets": "answer = ''\nif st.button('A'):\n    answer = ask()\nif answer:",
    "the length of it": "rows = []\nif st.button('A'):\n    rows = load()\nif len(rows) > 0:",
    "a loop over it": "rows = []\nif st.button('A'):\n    rows = load()\nfor row in rows:",
    "a popped flag": "if st.session_state.pop('fresh', None):",
    "a flag that is reset": "if st.session_state.get('go'):\n    st.session_state.go = False",
    "a flag that is deleted": "if 'go' in st.session_state:\n    del st.session_state['go']",
}
CHART = '@st.fragment\ndef chart():{}\n    st.write("...")\n'
for name, head in CLICKS.items():
    BAD[f"FC01 under {name}"] = f"{head}\n{indent(CHART.format('  #> FC01'), '    ')}"
    BAD[f"FC02 under {name}"] = f"{CHART.format('')}{head}\n    chart()  #> FC02\n"

# A rerun after a change of session state, and the condition on the call of the fragment.
STATE = "st.session_state"
STAYS = [  # the condition is true after the change, too: a loop
    (f"rows = {STATE}.rows.copy()", f"if {STATE}.rows: live()"),
    (f"st.write({STATE}, len({STATE}))", "live()"),
    (f"{STATE}.update(job=5)", f"if {STATE}.job: live()"),
    (f"{STATE}.result = 5", "live()"),
    (f"{STATE}.result = 5", "def main():\n    live()\nif __name__ == '__main__':\n    main()"),
    (f"{STATE}.result = 5", "for tab in st.tabs(['a', 'b']):\n    with tab: live()"),
    (f"{STATE}.result = 5", "def page():\n    live()\nst.navigation([st.Page(page)]).run()"),
    (f"{STATE}['result'] = 5", f"if 'job' in {STATE}: live()"),
    (f"{STATE}['result'] = 5", f"def on(): return {STATE}.get('job')\nif on(): live()"),
    (f"{STATE}['job'] = None", f"if 'job' in {STATE}: live()"),
    (f"{STATE}['job'] = True", f"if {STATE}.get('job'): live()"),
    (f"{STATE}.idle = False", f"if not {STATE}.idle: live()"),
    (f"{STATE}.status = 'running'", f"if {STATE}.status == 'running': live()"),
    (f"{STATE}.job = 0", f"if {STATE}.get('job') is not None: live()"),
    (f"{STATE}.status = 'queued'", f"if {STATE}.status in ('running', 'queued'): live()"),
    (f"{STATE}.b = True", f"if {STATE}.get('a') and {STATE}.get('b'): live()"),
    (f"{STATE}.status = 'queued'", f"match {STATE}.status:\n    case 'run' | 'queued': live()"),
    (f"{STATE}.result = 5", f"match {STATE}.s:\n    case 'run' if {STATE}.get('job'): live()"),
    (f"{STATE}.result = 5", f"KEY = 'job'\nif {STATE}[KEY]: live()"),
    # The page sets it back before it calls the fragment.
    (f"{STATE}.job = None", f"{STATE}.job = 'x'\nif {STATE}.job: live()"),
]
CHANGES = [  # it may be false after the change, as far as can be known
    (f"{STATE}.finished = True", f"if not {STATE}.get('finished'): live()"),
    (f"del {STATE}.job", f"if 'job' in {STATE}: live()"),
    (f"{STATE}.pop('job')", f"if {STATE}.get('a') and {STATE}.get('job'): live()"),
    (f"{STATE}.status = 'done'", f"match {STATE}.status:\n    case 'run' | 'queued': live()"),
    (f"{STATE}.job = None", f"match {STATE}.s:\n    case 'run' if {STATE}.get('job'): live()"),
    (f"{STATE}.s = 'done'", f"if 'run' in {STATE}.s: live()"),
    (f"{STATE}.page = 'end'", f"PAGES = {{'run': live, 'end': end}}\nPAGES[{STATE}.page]()"),
    (
        f"{STATE}.job = None",
        f"if 'job' not in {STATE}:\n    {STATE}.job = 'x'\nif {STATE}.job: live()",
    ),
    (f"{STATE}.pop(KEY)", f"KEY = 'job'\nif {STATE}[KEY]: live()"),
    (f"{STATE}.update({{'job': None}})", f"if {STATE}.job: live()"),
    (f"{STATE}.job = None", f"if getattr({STATE}, 'job'): live()"),
    (f"del {STATE}.job.rows", f"if {STATE}.job.rows: live()"),
    # What is no session state.
    ("os.remove('running')", "import os\nif os.path.exists('running'): live()"),
    ("pass", "if status(function) == 'running': live()"),
    ("ON['x'] = False", "ON = {'x': True}\nif ON['x']: live()"),
    ("Job.on = False", "class Job:\n    on = True\nif Job.on: live()"),
    ("jobs().clear()", "@st.cache_resource\ndef jobs(): return Jobs()\nif jobs().active: live()"),
]


def gated(change: str, gate: str, mark: str = "") -> str:
    """Return a page with a fragment that changes something and reruns the app."""
    head = "@st.fragment(run_every=1)\ndef live():\n    if done():\n"
    return f"{head}        {change}\n        st.rerun()  {mark}\n{gate}\n"


BAD |= {f"FC06 {change}; {gate}": gated(change, gate, "#> FC06") for change, gate in STAYS}
GOOD |= {f"FC06 {change}; {gate}": gated(change, gate) for change, gate in CHANGES}

# Calls of a timed fragment with an argument.
CONSTANT = [
    "live('Jobs')",
    "live(title='Jobs')",
    "live()",
    "live(-1)",
    "live(['a', 'b'])",
    "live({'a': 1})",
    "live(f'a')",
    "live(end)",
    "live(lambda: 5)",
    "NAMES = ['a', 'b']\nlive(NAMES)",
    "from config import NAMES\nlive(NAMES)",
    "title = 'Jobs'\nother = title\nlive(other)",
    "for name in ('a', 'b'): live(name)",
]
FROZEN = [
    f"live({STATE}.job)",
    "live([load()])",
    "live({'a': load()})",
    "live(f'{load()}')",
    "NAMES = load()\nlive(NAMES)",
    "from config import names\nlive(names)",
    "for name in load(): live(name)",
    "name = 'a'\nif done(): name = 'b'\nlive(name)",
]
TITLED = "@st.fragment(run_every=1)\ndef live(title=5):{}\n    if done():\n        end()\n"
TITLED += "if st.session_state.active:\n"
BAD |= {f"FC07 {call}": TITLED.format("  #> FC07") + indent(call, "    ") for call in FROZEN}
GOOD |= {f"FC07 {call}": TITLED.format("") + indent(call, "    ") for call in CONSTANT}

# Data of the page that a timed fragment draws.
LOADED = [
    "rows = fetch_table()\nLIVE\n    st.table(rows)",
    "rows = _load()\nLIVE\n    a, b = st.columns(2)\n    a.table(rows)",
    "import datetime\nnow = datetime.datetime.now()\nLIVE\n    st.write(f'now {now}')",
    "rows = cursor.fetchall()\ntop = rows[:5]\nLIVE\n    st.table(top)",
    "rows = load()\nLIVE\n    own = rows\n    st.table(own)",
]
READ = [
    "job = get_job()\nLIVE\n    st.write(job.status)",
    "job = get_job()\nLIVE\n    st.table(job.rows())",
    "LIVE\n    rows = load()\n    own = rows\n    st.table(own)",
    "user = getuser()\nqueue = listen()\nLIVE\n    st.write(user, queue)",
]


def drawing(source: str, mark: str = "") -> str:
    """Return a page with a timed fragment that ends with a line that draws."""
    head = "@st.fragment(run_every=1)\ndef live():\n    if done():\n        end()"
    return f"{source.replace('LIVE', head)}{mark}\n"


BAD |= {f"FC07 {source}": drawing(source, "  #> FC07") for source in LOADED}
GOOD |= {f"FC07 {source}": drawing(source) for source in READ}

# Loops in a page with a timed fragment.
ENDLESS = [
    "while True:  #> FC11\n    work()",
    "while 1:  #> FC11\n    for item in items:\n        break",
    "while not False:  #> FC11\n    work()",
    "running = True\nwhile running:  #> FC11\n    work()",
    "def main():\n    while True:  #> FC11\n        work()\nmain()",
    "if ready():\n    while True:  #> FC11\n        work()",
    "@st.fragment\ndef chart():\n    while True:  #> FC11\n        work()\nchart()",
    "import itertools\nfor i in itertools.count():  #> FC11\n    work()",
    "from itertools import cycle\nfor i in cycle('abc'):  #> FC11\n    work()",
    "from itertools import count\nfor n, i in enumerate(count(1)):  #> FC11\n    work()",
    "import itertools as it\nfor _ in it.repeat(None):  #> FC11\n    work()",
    "st.session_state.on = True\nwhile st.session_state.on:  #> FC11\n    work()",
    "def save():\n    st.session_state.job = 1\nwhile True:  #> FC11\n    save()",
]
ENDING = [
    "while True:\n    if ready():\n        break",
    "while True:\n    if ready():\n        exit()",
    "import sys\nwhile True:\n    if ready():\n        sys.exit()",
    "while True:\n    if ready():\n        end()",
    "while True:\n    if ready():\n        raise ValueError",
    "while True:\n    try:\n        work()\n    except ValueError:\n        break",
    "def read():\n    while True:\n        if ready():\n            return 5\nread()",
    "def lines():\n    while True:\n        yield 5\nst.write_stream(lines())",
    "def worker():\n    while True:\n        work()\nthread(worker)",
    "from itertools import repeat\nfor _ in repeat(None, 5):\n    work()",
    "from itertools import count\nfor i in count():\n    if ready(i):\n        break",
    "running = True\nwhile running:\n    running = False",
    "stop = False\nwhile not stop:\n    stop = ready()",
    "while st.session_state.on:\n    st.session_state.on = ready()",
    "while st.session_state.on:\n    st.session_state.update(on=ready())",
]
PAGE = "@st.fragment(run_every=1)\ndef live():\n    if done():\n        end()\n"
PAGE += "if st.session_state.active:\n    live()\n"
BAD |= {f"FC11 {loop}": f"{PAGE}{loop}\n" for loop in ENDLESS}
GOOD |= {f"FC11 {loop}": f"{PAGE}{loop}\n" for loop in ENDING}

# Values in the text of SQL.
SAFE = [
    "int(n)",
    "-len(n)",
    "Kind.A.value",
    "min(int(n), 100)",
    "n:d",
    "st.number_input('x')",
    "st.slider('x', 1, 5)",
    "st.date_input('x')",
    "st.time_input('x')",
    "st.checkbox('x')",
    "st.toggle('x')",
    "n.strftime('%Y')",
    "n.isoformat()",
    "datetime.date.today()",
    "uuid.uuid4().hex",
    "st.selectbox('c', ['a', 'b'])",
    "os.environ['TABLE']",
    "os.getenv('DB', 'x')",
    "st.secrets['table']",
    "st.secrets.table",
    "ORDERS.get(n, 'id')",
    "ORDERS[n]",
]
UNSAFE = [
    "n",
    "n.strip()",
    "str(n)",
    "st.text_input('x')",
    "st.selectbox('c', n)",
    "ORDERS.get(n, n)",
    "n:>5",
]
SEARCH = """\
import datetime, os, uuid
from enum import Enum
ORDERS = dict(new="created DESC", old="created")
class Kind(Enum):
    A = "a"
def search(db, n):
    db.execute(f"SELECT * FROM t WHERE d = {VALUE}")"""
BAD |= {f"FC08 {value}": SEARCH.replace("VALUE", value) + "  #> FC08\n" for value in UNSAFE}
GOOD |= {f"FC08 {value}": SEARCH.replace("VALUE", value) for value in SAFE}


# The document that the rules come from, with its own examples.

COMPLETE_EXAMPLE = '''
import streamlit as st
import time
from concurrent.futures import ThreadPoolExecutor

def initialize_analysis_progress(audio_file: str):
    """Initialize progress tracking in database table"""
    session.sql(f"""#> FC08
        INSERT INTO UTILITY_DEMO_V2.CUSTOMER_DATA.ANALYSIS_PROGRESS
        (AUDIO_FILE_NAME, STATUS, CURRENT_STEP, TOTAL_STEPS)
        VALUES ('{audio_file}', 'in_progress', 0, 18)
    """).collect()

def call_stored_procedure_async(proc_name: str, *args):
    """Execute stored procedure in background thread"""
    executor = ThreadPoolExecutor(max_workers=1)
    def run_proc():
        return session.call(proc_name, *args)
    return executor.submit(run_proc)

@st.fragment(run_every="0.5s")
def show_analysis_progress_live(audio_file):  #> FC07
    """Auto-refreshing fragment that polls ANALYSIS_PROGRESS table."""
    # Query current progress from database
    progress_result = session.sql(f"""#> FC08
        SELECT STATUS, CURRENT_STEP, TOTAL_STEPS, STEP_DESCRIPTION, LAST_UPDATED
        FROM UTILITY_DEMO_V2.CUSTOMER_DATA.ANALYSIS_PROGRESS
        WHERE AUDIO_FILE_NAME = '{audio_file}'
        ORDER BY LAST_UPDATED DESC
        LIMIT 1
    """).collect()

    if not progress_result:
        st.warning("Initializing analysis...")
        return

    p = progress_result[0].as_dict()

    # Show live progress bar and status
    if p["STATUS"] == "in_progress" and p["TOTAL_STEPS"] > 0:
        progress_pct = p["CURRENT_STEP"] / p["TOTAL_STEPS"]
        st.progress(progress_pct, text=f"Step {p['CURRENT_STEP']}/{p['TOTAL_STEPS']}")
        st.info(f"{p['STEP_DESCRIPTION']}")

        # Show elapsed time
        if "analysis_start_time" in st.session_state:
            elapsed = time.time() - st.session_state.analysis_start_time
            st.caption(f"Elapsed: {int(elapsed)}s")

    # Stop polling when complete
    if p["STATUS"] in ["completed", "partial", "failed"]:
        if p["STATUS"] == "completed":
            st.success(f"Analysis complete! Processed {p['CURRENT_STEP']} steps")
        elif p["STATUS"] == "partial":
            st.warning(f"Partial completion: {p['CURRENT_STEP']}/{p['TOTAL_STEPS']} steps")
        else:  # failed
            st.error(f"Analysis failed at step {p['CURRENT_STEP']}: {p['STEP_DESCRIPTION']}")

        # Clear session state to stop fragment
        if "active_analysis_file" in st.session_state:
            del st.session_state.active_analysis_file
        if "analysis_in_progress" in st.session_state:
            st.session_state.analysis_in_progress = False
        if "analysis_start_time" in st.session_state:
            del st.session_state.analysis_start_time
        if "analysis_future" in st.session_state:
            del st.session_state.analysis_future

        st.stop()  #> FC05

# Main app code
st.title("Call Center Analytics")

# CRITICAL: Conditional fragment rendering (outside button block)
if st.session_state.get("active_analysis_file"):
    st.info(f"Analyzing: {st.session_state.active_analysis_file}")
    show_analysis_progress_live(st.session_state.active_analysis_file)

# Button handler (only runs when button is clicked)
if st.button(
    "Analyze Transcription",
    type="primary",
    disabled=st.session_state.get("analysis_in_progress", False),
):
    selected_file = "call_de_20250924_003.mp3"

    # Set session state to trigger fragment
    st.session_state.active_analysis_file = selected_file
    st.session_state.analysis_in_progress = True
    st.session_state.analysis_start_time = time.time()

    # Initialize progress tracking
    with st.spinner("Launching analysis..."):
        initialize_analysis_progress(selected_file)
        future = call_stored_procedure_async(
            "UTILITY_DEMO_V2.CUSTOMER_DATA.SP_ANALYZE_CALL_TRANSCRIPTION_PROGRESSIVE",
            selected_file,
        )
        st.session_state.analysis_future = future

    st.rerun()  # Trigger rerun to show fragment
'''

RULE_DOCUMENT = {
    "complete example": COMPLETE_EXAMPLE,
    "anti-pattern 1": """
        if st.button("Start"):
            @st.fragment(run_every="1s")
            def show_progress():  #> FC01 FC04
                st.write("Progress...")
            show_progress()  #> FC02
        """,
    "correct pattern 1": """
        @st.fragment(run_every="1s")
        def show_progress():  #> FC04
            if st.session_state.get("active"):
                st.write("Progress...")

        if st.session_state.get("active"):
            show_progress()

        if st.button("Start"):
            st.session_state.active = True
            st.rerun()
        """,
    "anti-pattern 2": """
        @st.fragment(run_every="1s")
        def fragment_with_widgets():  #> FC04
            user_input = st.text_input("Name")  #> FC03
            st.write(f"Hello {user_input}")
        """,
    "correct pattern 2": """
        user_input = st.text_input("Name")

        @st.fragment(run_every="1s")
        def display_only_fragment():  #> FC04
            st.write(f"Hello {user_input}")
        """,
    "anti-pattern 3": """
        @st.fragment(run_every="1s")
        def infinite_polling():  #> FC04
            st.write("Polling forever...")
        """,
    "correct pattern 3": """
        @st.fragment(run_every="1s")
        def polling_with_termination():
            status = check_operation_status()
            st.write(f"Status: {status}")

            if status == "complete":
                del st.session_state.active_operation
                st.stop()  #> FC05
        """,
}


def cases(samples: dict[str, str]) -> pytest.MarkDecorator:
    """Parametrize a test with samples, named by their keys."""
    values = [pytest.param(sample(body), id=name) for name, body in samples.items()]
    return pytest.mark.parametrize("source", values)


@cases(BAD | RULE_DOCUMENT)
def test_bad_code_is_found_at_its_line(source: str) -> None:
    assert marked(source)
    assert found(source) == marked(source)


@cases(GOOD)
def test_good_code_is_accepted(source: str) -> None:
    assert "#>" not in source
    assert found(source) == []


@pytest.mark.parametrize("rule", sorted(RULES.keys() - {"FC00"}))
def test_every_rule_has_samples(rule: str) -> None:
    named = [body for name, body in BAD.items() if name.startswith(rule)]
    assert len(named) >= 3
    assert all(rule in body.partition("#>")[2] for body in named)
    assert any(rule in name for name in GOOD)


def test_a_snippet_needs_no_import() -> None:
    source = "@st.fragment(run_every=1)\ndef live():\n    st.write('...')\n"
    assert found(source) == [(2, "FC04")]
    assert found("st = something()\n" + source) == []


def test_a_finding_names_the_problem_and_the_fix() -> None:
    source = "@st.fragment(run_every=1)\ndef live():\n    st.stop()\n"
    (finding,) = check_source(source, "app.py")
    assert isinstance(finding, Finding)
    assert (finding.rule, finding.severity) == ("FC05 stop-is-no-end", "warning")
    assert "ends one run" in finding.message
    assert "timer" in finding.message
    assert 'st.rerun(scope="app")' in finding.fix
    assert (finding.column, finding.end_line, finding.end_column) == (5, 3, 14)
    text = f"FC05 stop-is-no-end: {finding.message}. Fix: {finding.fix} [warning]"
    assert str(finding) == f"app.py:3:5: {text}"


TICK = "@st.fragment(run_every=1)\ndef live():\n    "


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (f"{TICK}st.rerun()", "every tick of live reruns the app"),
        (f"{TICK}if done(): st.rerun()", "no change of session state before it"),
        (
            gated("st.session_state.job = 5", "if st.session_state.job: live()"),
            "the change (job) leaves the condition for live true: a loop",
        ),
        (
            f"{TICK}st.rerun(scope='fragment')",
            "live never stops: no tick reaches a full st.rerun() or st.switch_page()",
        ),
        (f"{CHART.format('')}if st.button('A'): chart()", "chart is rendered only in the run of a"),
        (drawing(LOADED[0]), "live draws rows, which is loaded only in a full rerun"),
        (f"{PAGE}while 1: work()", "this loop never ends, so neither does the run of the page"),
        ("db.execute('SELECT a FROM t WHERE a = ' + a)", "concatenation with + puts values"),
        (
            "db.execute(f'SELECT a FROM {a}')",
            "an f-string puts a name into the SQL that execute() ",
        ),
    ],
)
def test_a_message_says_what_happens(source: str, message: str) -> None:
    messages = [item.message for item in check_source(source, "app.py")]
    assert [text for text in messages if text.startswith(message)]


def test_a_name_in_sql_is_a_warning_and_a_value_an_error() -> None:
    where = 'db.execute(f"SELECT {a} FROM t WHERE n = {n}")'
    name = 'db.execute(f"SELECT * FROM {schema}.{table} JOIN \\"{other}\\" WHERE n = ?")'
    tables = 'db.execute(f"SHOW TABLES IN SCHEMA {schema}.{table}")'
    index = 'db.execute(f"CREATE INDEX {a} ON {table} (f{n})")'
    order = 'db.execute(f"SELECT {a}, COUNT({n}) FROM t GROUP BY {a} ORDER BY t.{n}, {a} {other}")'
    path = "db.execute(f\"SELECT json_extract({a}, '$.{n}') FROM t WHERE {a} IS NOT NULL\")"
    head = "def read(db, a, n, schema, table, other):"
    source = "\n    ".join([head, where, name, tables, index, order, path])
    first, *others = check_source(source, "app.py")
    assert (first.severity, first.fix) == ("error", RULES["FC08"].fix)
    assert [item.severity for item in others] == ["warning"] * 5
    assert {item.fix for item in others} == {"check the name against a list of allowed names"}


def test_the_lists_know_every_widget_of_the_installed_streamlit() -> None:
    # A widget reports back to the script, so it takes a callback. New widgets belong in the lists.
    reports = {"on_change", "on_click", "on_select", "on_submit"}
    methods = inspect.getmembers(DeltaGenerator, callable)
    widgets = {
        name
        for name, method in methods
        if not name.startswith("_") and reports & inspect.signature(method).parameters.keys()
    }
    assert "button" in widgets
    assert widgets - ALWAYS_WIDGETS - SOMETIMES_WIDGETS.keys() == set()


@pytest.mark.parametrize("name", sorted(ALWAYS_WIDGETS))
def test_every_widget_is_found(name: str) -> None:
    end = "    if done():\n        end()\n"
    source = f"{PRELUDE}@st.fragment(run_every=1)\ndef live():\n    st.{name}('x')\n{end}"
    assert found(source) == [(9, "FC03")]


@pytest.mark.parametrize(("name", "option"), SOMETIMES_WIDGETS.items())
def test_every_display_that_reports_back_is_found(name: str, option: str) -> None:
    end = "    if done():\n        end()\n"
    source = (
        f"{PRELUDE}@st.fragment(run_every=1)\ndef live():\n    st.{name}('x', {option}=OPTION)\n"
    )
    assert found(source.replace("OPTION", "'rerun'") + end) == [(9, "FC03")]
    assert found(source.replace("OPTION", "'ignore'") + end) == []


# Comments that accept a finding.


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("# fragment-lint: ignore FC04", []),
        ("# fragment-lint: ignore[FC04]", []),
        ("#fragment-lint:ignore[FC04] the dashboard never ends", []),
        ("# noqa: D103  # fragment-lint: ignore FC04", []),
        ("# fragment-lint: ignore FC03, FC04", ["FC00"]),
        ("# fragment-lint: ignore[FC03,FC04]", ["FC00"]),
        ("# fragment-lint: ignore FC03", ["FC00", "FC04"]),
        ("# fragment-lint: ignore", ["FC00", "FC04"]),
        ("# fragment-lint: ignore-file", ["FC00", "FC04"]),
        ("# fragment-lint: ignore[FC99]", ["FC00", "FC04"]),
        ("# FC04", ["FC04"]),
    ],
)
def test_a_comment_accepts_the_rule_that_it_names(comment: str, expected: list[str]) -> None:
    source = f"@st.fragment(run_every=1)\ndef live():  {comment}\n    st.write('...')\n"
    assert sorted(rule for _, rule in found(source)) == expected


LONG_HEAD = """\
@st.fragment(  # 1
    run_every=1,  # 2
)  # 3
@other  # 4
def live(  # 5
    # 6
):  # 7
    st.write("...")  # 8
"""


@pytest.mark.parametrize("line", range(1, 9))
def test_a_comment_may_be_on_each_line_of_the_head_of_a_function(line: int) -> None:
    ignored = LONG_HEAD.replace(f"# {line}\n", "# fragment-lint: ignore[FC04]\n")
    assert found(LONG_HEAD) == [(5, "FC04")]
    assert found(ignored) == ([] if line < 8 else [(5, "FC04"), (8, "FC00")])


def test_a_comment_may_be_on_each_line_of_a_statement() -> None:
    call = 'rows = run.execute(  # A\n    f"SELECT {name}",  # B\n    x,  # C\n)  # D\n# E'
    for mark in "ABCDE":
        source = call.replace(f"# {mark}", "# fragment-lint: ignore[FC08]")
        assert found(source) == ([] if mark != "E" else [(2, "FC08"), (5, "FC00")])


@pytest.mark.parametrize("rules", ["FC04", "FC04, FC03"])
def test_a_comment_may_accept_a_rule_in_the_whole_file(rules: str) -> None:
    source = f"{TICK}work()\n{TICK}work()\n# fragment-lint: ignore-file[{rules}]\n"
    assert found(source) == ([(7, "FC00")] if "FC03" in rules else [])


def test_a_text_is_no_comment() -> None:
    source = 'text = "# fragment-lint: ignore[FC04]"\n'
    assert found(source) == []


# Several files of one project.


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str, str], Path]:
    """A function that writes a file of a project and returns its path."""

    def write(name: str, body: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sample(body), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("imported", "call"),
    [
        ("from progress.live import live", "live"),
        ("from progress.live import live as show", "show"),
        ("from progress import live", "live.live"),
        ("import progress.live", "progress.live.live"),
        ("import progress.live as p", "p.live"),
        ("from ..progress.live import live", "live"),
        ("from ..progress import live", "live.live"),
    ],
)
def test_a_fragment_of_another_file_is_known(
    project: Callable[[str, str], Path], imported: str, call: str
) -> None:
    project(
        "progress/live.py", "@st.fragment\ndef live():\n    st.write('...')\ndef other(): ...\n"
    )
    calls = f"if st.button('Start'):\n    {call}()  #> FC02\n{call}()\n"
    page = project("app_pages/run.py", f"import streamlit as st\n{imported}\n{calls}")
    assert found(page.read_text("utf-8"), str(page)) == marked(page.read_text("utf-8"))
    other = page.read_text("utf-8").replace(f"{call}()", f"{call}.other()")
    assert found(other, str(page)) == []


def test_a_relative_import_is_looked_up_in_its_folder_only(
    project: Callable[[str, str], Path],
) -> None:
    project("live.py", "@st.fragment\ndef live():\n    st.write('...')\n")
    page = project("app_pages/run.py", "from streamlit import button\n")
    source = "from {}live import live\nif st.button('Start'):\n    live()\n"
    assert found(source.format(""), str(page)) == [(3, "FC02")]
    assert found(source.format(".."), str(page)) == [(3, "FC02")]
    assert found(source.format("."), str(page)) == []


def test_a_call_of_another_file_may_change_the_state(project: Callable[[str, str], Path]) -> None:
    project("progress/state.py", "def unwatch(): ...\n")
    page = project(
        "app_pages/run.py",
        """
        import time
        import pandas
        import streamlit as st
        from progress.state import unwatch, Outcome
        from progress import state
        @st.fragment(run_every=1)
        def live():
            if one():
                unwatch()
                st.rerun()
            if two():
                state.unwatch()
                st.rerun()
            if unwatch():
                st.rerun()  #> FC06
            if three():
                outcome = Outcome()
                st.rerun()  #> FC06
            if four():
                time.sleep(1)
                pandas.unwatch()
                st.rerun()  #> FC06
        """,
    )
    assert found(page.read_text("utf-8"), str(page)) == marked(page.read_text("utf-8"))


def test_an_imported_file_with_a_syntax_error_is_ignored(
    project: Callable[[str, str], Path],
) -> None:
    project("progress/live.py", "def live(:\n")
    source = "from progress.live import live\nif st.button('Start'):\n    live()\n"
    assert found(source, str(project("page.py", source))) == []


def test_helpers_of_other_files_are_followed(project: Callable[[str, str], Path]) -> None:
    project(
        "jobs.py",
        """
        import streamlit as st
        from controls import draw
        def finish():
            st.session_state.clear()
            st.rerun()
        def show():
            draw()
        class Jobs:
            def finish(self): ...
        """,
    )
    project("controls.py", "import streamlit as st\ndef draw():\n    st.button('Stop')\n")
    page = project(
        "page.py",
        """
        import streamlit as st
        from jobs import Jobs, finish, show
        @st.fragment(run_every=1)
        def one():
            show()  #> FC03
            if done():
                finish()
        jobs = Jobs()
        @st.fragment(run_every=1)
        def two():
            if done():
                jobs.finish()
                st.rerun()
        """,
    )
    assert found(page.read_text("utf-8"), str(page)) == marked(page.read_text("utf-8"))


def test_reruns_and_decorators_of_other_files_are_judged(
    project: Callable[[str, str], Path],
) -> None:
    project(
        "compat.py",
        """
        import streamlit as st
        fragment = st.fragment if hasattr(st, "fragment") else st.experimental_fragment
        """,
    )
    project(
        "jobs.py",
        """
        import streamlit as st
        def again():
            st.rerun()
        def finish():
            if st.session_state.get("result"):
                st.session_state.active = False
                st.rerun()
        """,
    )
    page = project(
        "page.py",
        """
        import streamlit as st
        import compat
        from jobs import again, finish
        @compat.fragment(run_every=1)
        def one():
            if done():
                again()  #> FC06
        @compat.fragment(run_every=1)
        def two():
            finish()
        if st.session_state.active:
            two()
        """,
    )
    assert found(page.read_text("utf-8"), str(page)) == marked(page.read_text("utf-8"))
    other = project(
        "other.py", "from page import two\ntwo()\nwhile True:  #> FC11\n    print('...')\n"
    )
    assert found(other.read_text("utf-8"), str(other)) == marked(other.read_text("utf-8"))


@pytest.mark.parametrize("mark", ["pyproject.toml", ".git"])
def test_a_search_ends_at_the_root_of_the_project(
    project: Callable[[str, str], Path], mark: str
) -> None:
    project("live.py", "@st.fragment\ndef live():\n    st.write('...')\n")
    source = "from live import live\nif st.button('Start'):\n    live()\n"
    page = project("app/page.py", source)
    assert found(source, str(page)) == [(3, "FC02")]
    (page.parent / mark).touch()
    assert found(source, str(page)) == []


LIVE = "import streamlit as st\n@st.fragment(run_every=1)\ndef live({}):{}\n    "
FINISHED = f"{LIVE.format('', '')}if done():\n        {STATE}.finished = True\n        st.rerun()"
HELPER = "def rows(db, sql):\n    return db.execute(sql)\n"
IN_A_VALUE = "rows(db, f\"SELECT * FROM t WHERE n = '{name}'\")  #> FC08\n"
PROJECTS = {  # the files of a project, with marks
    "a toggle decides in another file": {
        "live.py": LIVE.format("", "") + "st.write('...')",
        "app.py": "from live import live\nif st.toggle('Live'): live()",
        "test_app.py": "from live import live\nlive()",
    },
    "a toggle decides in one of two files": {
        "live.py": LIVE.format("", "  #> FC04") + "st.write('...')",
        "app.py": "from live import live\nif st.toggle('Live'): live()",
        "pages/more.py": "import live\nlive.live()",
    },
    "one file renders it, another clears the state": {
        "live.py": LIVE.format("", "") + "st.write('...')",
        "app.py": f"import live\nif {STATE}.get('on'): live.live()",
        "menu.py": f"def off():\n    {STATE}.on = False\nst.button('Off', on_click=off)",
    },
    "a constant argument of another file": {
        "live.py": LIVE.format("title", "") + "if done(): st.switch_page('end.py')",
        "app.py": "from live import live\nlive('Jobs')",
    },
    "an argument of another file": {
        "live.py": LIVE.format("title", "  #> FC07") + "if done(): st.switch_page('end.py')",
        "app.py": "from live import live\nlive(st.text_input('Title'))",
    },
    "a rerun that leaves the condition of another file true": {
        "live.py": FINISHED + "  #> FC06",
        "app.py": "from live import live\nlive()",
    },
    "a rerun that changes the condition of another file": {
        "live.py": FINISHED,
        "app.py": f"from live import live\nif not {STATE}.get('finished'): live()",
    },
    "what a star import brings": {
        "common.py": "import streamlit as st",
        "names.py": "from common import *",
        "app.py": "from names import *\n@st.fragment(run_every=1)\ndef live(): ...  #> FC04",
    },
    "the star import of two that has the name": {
        "live.py": "@st.fragment\ndef chart(): ...",
        "other.py": "number = 1",
        "app.py": "from other import *\nfrom live import *\nif st.button('A'): chart()  #> FC02",
        "more.py": "from math import *\nfrom streamlit import *\n"
        "@fragment(run_every=1)\ndef live(): ...  #> FC04",
    },
    "what a package passes on": {
        "common.py": "import streamlit as st\nfragment = st.fragment",
        "parts/__init__.py": "from .live import live as chart\nfrom common import st, fragment",
        "parts/live.py": "@st.fragment\ndef live(): ...",
        "app.py": "from parts import chart, st\nif st.button('A'): chart()  #> FC02",
        "more.py": "import parts\n@parts.fragment(run_every=1)\ndef live(): ...  #> FC04",
    },
    "imports in a circle": {
        "a.py": "from b import *\nfrom b import live\nif st.button('A'): live()\nother()",
        "b.py": "from a import *\nfrom a import live\nif st.button('A'): live()\nother()",
    },
    "a helper of another file runs SQL": {
        "db.py": HELPER,
        "more.py": "import db as base\ndef rows(db, text):\n    return base.rows(db, text)",
        "app.py": f"from db import rows\n{IN_A_VALUE}",
        "page.py": f"from more import rows\n{IN_A_VALUE}rows(db, 'SELECT 1')",
    },
    "an import that is too long for a file": {
        "parts/__init__.py": "",
        "app.py": f"from parts.{'long' * 80} import draw\ndraw()",
    },
}


@pytest.mark.parametrize("files", PROJECTS.values(), ids=PROJECTS)
def test_the_files_of_a_project_are_judged_together(
    project: Callable[[str, str], Path], tmp_path: Path, files: dict[str, str]
) -> None:
    for name, text in files.items():
        path = project(name, "")
        path.write_text(text)
    places = [(item.file, item.line, item.rule.split()[0]) for item in lint([tmp_path]).findings]
    paths = sorted(tmp_path.rglob("*.py"))
    assert sorted(places) == [
        (str(path), *mark) for path in paths for mark in marked(path.read_text())
    ]


# The command.

BAD_FILE = "import streamlit as st\n@st.fragment(run_every=1)\ndef live():\n    st.write('...')\n"


def run(
    *arguments: str | Path, folder: Path = ROOT, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = [sys.executable, "-m", "dev.fragment_lint", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_command_clean(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import streamlit as st\n")
    done = run(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_command_findings(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text(BAD_FILE)
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a.py").write_text(BAD_FILE)
    done = run(folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "2 findings in 2 of 2 files: 2 warning\n"
    lines = done.stdout.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["b.py:3:1:", f"{Path('pages/a.py')}:3:1:"]
    for line in lines:
        assert re.fullmatch(r"\S+\.py:3:1: FC04 no-termination: .+\. Fix: .+ \[warning\]", line)


def test_command_checks_files_once_and_skips_what_is_not_the_projects(tmp_path: Path) -> None:
    for folder in (".venv", ".cache/deep", "build", "node_modules/x", "env", "sub/build"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text(BAD_FILE)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "notes.txt").write_text(BAD_FILE)
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "0 findings in 0 of 0 files\n")
    file = tmp_path / "build" / "a.py"
    # A path on the command line is checked, wherever it is.
    assert len(run(file, file, tmp_path / "build").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "gone.py: cannot be read: No such file"),
        (b"x = 1\ndef broken(:\n", "gone.py:2: cannot be parsed: invalid syntax"),
        (b"x = '\x00'\n", "gone.py:1: cannot be parsed: source code"),
        (b"x = '\xff'\n", "gone.py: cannot be read: not UTF-8"),
        (b"x = " + b"-" * 100_000 + b"1\n", "gone.py:1: cannot be parsed: "),
        # Python parses it; the check of the SQL would recurse too deep.
        (b"db.execute('a'" + b" + 'b'" * 1_500 + b")\n", "gone.py:1: cannot be parsed: "),
    ],
    ids=["missing", "syntax", "null", "encoding", "brackets", "terms"],
)
def test_command_with_a_bad_path(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "gone.py"
    if content is not None:
        path.write_bytes(content)
    done = run(path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not done.stderr.endswith(": \n")
    with pytest.raises(UnreadableError):
        check_paths([path])


def test_source_with_a_surrogate_is_refused() -> None:
    with pytest.raises(UnreadableError, match=r"app\.py:1: cannot be parsed"):
        check_source("x = '\ud800'", "app.py")


def test_warnings_of_python_are_no_findings() -> None:
    assert found(r"x = '\d'") == []


def test_a_byte_order_mark_and_other_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_bytes(b"\xef\xbb\xbf" + BAD_FILE.replace("\n", "\r\n").encode())
    assert [item.line for item in check_paths([path])] == [3]
    assert found(BAD_FILE.replace("\n", "\r")) == [(3, "FC04")]


@pytest.mark.parametrize("order", ["a_broken.py", "z_broken.py"])
def test_a_bad_file_does_not_hide_the_findings_of_others(tmp_path: Path, order: str) -> None:
    (tmp_path / order).write_text("def broken(:\n")
    (tmp_path / "bad.py").write_text(BAD_FILE)
    done = run(folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith("bad.py:3:1: FC04 ")
    assert f"{order}:1: cannot be parsed: invalid syntax" in done.stderr


def test_what_is_no_file_is_passed_over_in_a_folder_and_refused_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "broken_link.py").symlink_to("gone.py")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "page.ipynb").write_text("{}")
    (tmp_path / "bad.py").write_text(BAD_FILE)
    (tmp_path / "link.py").symlink_to("bad.py")
    done = run(tmp_path)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
    for name, reason in (("pipe.py", "not a file"), ("page.ipynb", "is a notebook")):
        done = run(tmp_path / name)
        assert (done.returncode, done.stdout) == (2, "")
        assert reason in done.stderr


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that permissions close in part, for a user whom they stop: not root."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (Path(name) / "bad.py").write_text(BAD_FILE + "import entry.page\nentry.page.draw()\n")
        for child, mode in (("entry", 0o644), ("list", 0o311)):
            (Path(name) / child).mkdir()
            (Path(name) / child / "page.py").touch()
            (Path(name) / child).chmod(mode)
        os.seteuid(os.geteuid() or 65534)
        yield Path(name)
        os.seteuid(os.getuid())


def test_what_permissions_close_is_reported_and_hides_nothing(folder: Path) -> None:
    closed = [folder / "entry" / "page.py", folder / "list"]
    report = lint([folder])
    assert report.problems == [f"{path}: cannot be read: Permission denied" for path in closed]
    assert len(report.findings) == 1


def test_a_path_that_is_too_long_is_one_line() -> None:
    done = run("long" * 80)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert ": cannot be read: File name too long" in done.stderr


def test_a_declared_encoding_is_read(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_bytes(b"# coding: latin-1\nname = 'caf\xe9'\n" + BAD_FILE.encode())
    assert [item.line for item in check_paths([path])] == [5]
    path.write_bytes(b"# coding: klingon\n")
    with pytest.raises(UnreadableError, match="unknown encoding"):
        check_paths([path])


# Options.

TWO_RULES = BAD_FILE + "def read(db, name):\n    db.execute(f'SELECT {name}')\n"


@pytest.mark.parametrize(
    ("options", "rules"),
    [
        ([], ["FC04", "FC08"]),
        (["--select", "FC08"], ["FC08"]),
        (["--select", "fc08, FC04"], ["FC04", "FC08"]),
        (["--ignore", "FC08"], ["FC04"]),
        (["--select", "FC04", "--ignore", "FC04"], []),
        (["--exclude", "*.py"], []),
        (["--exclude", "pages/"], []),
        (["--exclude", "./pages"], []),
        (["--exclude", "other/../pages/*.py"], []),
        (["--exclude", "other"], ["FC04", "FC08"]),
    ],
)
def test_options_choose_rules_and_files(
    tmp_path: Path, options: list[str], rules: list[str]
) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "app.py").write_text(TWO_RULES)
    done = run(*options, "pages", folder=tmp_path)
    assert [line.split()[1] for line in done.stdout.splitlines()] == rules
    assert done.returncode == bool(rules)


def test_json_and_github_name_the_place_and_the_severity(tmp_path: Path) -> None:
    (tmp_path / "a,b.py").write_text(TWO_RULES)
    done = run("--format", "json", folder=tmp_path)
    first, second = json.loads(done.stdout)
    place = {"file": "a,b.py", "line": 6, "column": 16, "end_line": 6, "end_column": 32}
    assert place.items() <= second.items()
    assert [item["severity"] for item in (first, second)] == ["warning", "error"]
    done = run("--format", "github", folder=tmp_path)
    line = done.stdout.splitlines()[1]
    assert line.startswith("::error file=a%2Cb.py,line=6,col=16,endLine=6,endColumn=32,title=FC08 ")


def test_columns_count_characters(tmp_path: Path) -> None:
    source = 'x = "Ümläut"; db.execute(f"SELECT {ä}")  # fragment-lint: ignore[FC04]\n'
    first, second = check_source(source, "app.py")
    assert source[first.column - 1 : first.end_column - 1] == 'f"SELECT {ä}"'
    assert source[second.column - 1 : second.end_column - 1].startswith("# fragment-lint")


def test_sarif_is_what_code_scanning_reads(tmp_path: Path) -> None:
    (tmp_path / "a b.py").write_text(TWO_RULES)
    (tmp_path / "broken.py").write_text("def broken(:\n")
    done = run("--format", "sarif", folder=tmp_path)
    assert done.returncode == 2
    log = json.loads(done.stdout)
    assert (log["version"], log["$schema"][-16:]) == ("2.1.0", "sarif-2.1.0.json")
    (scan,) = log["runs"]
    rules = scan["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(RULES)
    assert {rule["defaultConfiguration"]["level"] for rule in rules} == {"error", "warning", "note"}
    first, second = scan["results"]
    assert [item["level"] for item in (first, second)] == ["warning", "error"]
    assert rules[second["ruleIndex"]]["id"] == second["ruleId"] == "FC08"
    assert second["message"]["text"].startswith("an f-string puts values into the SQL")
    (location,) = second["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "a%20b.py"},
        "region": {"startLine": 6, "startColumn": 16, "endLine": 6, "endColumn": 32},
    }
    (invocation,) = scan["invocations"]
    assert invocation["executionSuccessful"] is False
    (note,) = invocation["toolExecutionNotifications"]
    assert note["message"]["text"] == "broken.py:1: cannot be parsed: invalid syntax"
    done = run("--format", "sarif", tmp_path / "a b.py")
    (scan,) = json.loads(done.stdout)["runs"]
    place = scan["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place["uri"] == (tmp_path / "a b.py").as_uri()


@pytest.mark.parametrize(
    ("section", "options", "expected"),
    [
        ('select = ["FC08"]', [], ["FC08"]),
        ('ignore = ["fc08"]  # a comment', [], ["FC04"]),
        ("exclude = [\n  'pages',  # all of them\n]", [], []),
        ('exclude = ["pages/*.py"]', [], []),
        ('select = ["FC08"]', ["--select", "FC04"], ["FC04"]),
        ('exclude = ["pages"]', ["--exclude", "other"], ["FC04", "FC08"]),
        ("", [], ["FC04", "FC08"]),
    ],
)
def test_pyproject_chooses_rules_and_files(
    tmp_path: Path, section: str, options: list[str], expected: list[str]
) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "app.py").write_text(TWO_RULES)
    text = f'[project]\nname = "x"\n\n[tool.fragment-lint]\n{section}\n\n[tool.ruff]\nx = true\n'
    (tmp_path / "pyproject.toml").write_text(text)
    for arguments, folder in (([], tmp_path), (["."], tmp_path / "pages")):
        done = run(*options, *arguments, folder=folder)
        assert [line.split()[1] for line in done.stdout.splitlines()] == expected
    (tmp_path / "pages" / ".git").touch()  # the root of another project
    assert len(run(*options, folder=tmp_path / "pages").stdout.splitlines()) == (
        1 if "--select" in options else 2
    )


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ('selct = ["FC08"]', "has no selct; it may have select, ignore, exclude"),
        ('select = "FC08"', "select must be a list of strings"),
        ('select = ["FC99"]', "unknown rule FC99; the rules are FC00"),
        ("select = true", "must have lists of strings"),
        ("select = [", "must have lists of strings"),
    ],
)
def test_a_wrong_configuration_is_one_line(tmp_path: Path, section: str, reason: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.fragment-lint]\n{section}\n")
    done = run(folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "pyproject.toml: " in line
    assert reason in line


def test_what_git_ignores_is_not_checked(tmp_path: Path) -> None:
    subprocess.run([shutil.which("git") or "git", "init", "--quiet", tmp_path], check=True)
    for folder in ("pages", "pages/made", "out", "out/deep"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "app.py").write_text(BAD_FILE)
    (tmp_path / ".gitignore").write_text("out/\n")
    (tmp_path / "pages" / ".gitignore").write_text("made\n")
    expected = [f"{Path('pages/app.py')}:3:1:"]
    assert [line.split()[0] for line in run(folder=tmp_path).stdout.splitlines()] == expected
    assert len(run("pages", folder=tmp_path).stdout.splitlines()) == 1
    # What a path names is checked, ignored or not.
    assert len(run("out", "pages/made/app.py", folder=tmp_path).stdout.splitlines()) == 3
    shutil.rmtree(tmp_path / ".git")
    assert len(run(folder=tmp_path).stdout.splitlines()) == 4


def test_a_reader_that_goes_away_sees_no_traceback(tmp_path: Path) -> None:
    for number in range(400):
        (tmp_path / f"app{number}.py").write_text(BAD_FILE)
    command = [sys.executable, "-m", "dev.fragment_lint", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.readline()
        running.stdout.close()
        assert "Traceback" not in running.stderr.read()


def test_stdin_is_checked(tmp_path: Path) -> None:
    done = run("-", "--stdin-filename", "pages/app.py", stdin=BAD_FILE, folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("pages/app.py:3:1: FC04 ")
    assert run("-", stdin="def broken(:", folder=tmp_path).returncode == 2
    coded = b"# coding: latin-1\nname = 'caf\xe9'\n"
    command = [sys.executable, "-m", "dev.fragment_lint", "-"]
    latin = subprocess.run(command, cwd=ROOT, input=coded, capture_output=True, check=False)
    assert (latin.returncode, latin.stderr) == (0, b"")


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_explained(rule: str) -> None:
    done = run("--explain", rule)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{rule} {RULES[rule].name} ({RULES[rule].severity}): ")
    for text in (RULES[rule].finds, RULES[rule].why, RULES[rule].measured, RULES[rule].fix):
        assert text in done.stdout
    assert indent(RULES[rule].good, "    ") in done.stdout


@pytest.mark.parametrize("rule", RULES)
def test_the_bad_code_of_a_rule_is_bad_and_its_good_code_good(rule: str) -> None:
    (first, *_) = check_source(RULES[rule].bad, "page.py")
    assert (first.rule, first.severity) == (f"{rule} {RULES[rule].name}", RULES[rule].severity)
    assert check_source(RULES[rule].good, "page.py") == []


@pytest.mark.parametrize("option", ["--select", "--ignore", "--explain"])
@pytest.mark.parametrize(
    ("rules", "reason"), [("FC99", "unknown rule FC99"), (",", "no rule is named")]
)
def test_what_names_no_rule_is_refused_with_the_list(option: str, rules: str, reason: str) -> None:
    done = run(option, rules)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{reason}; the rules are FC00, FC01" in done.stderr.splitlines()[-1]


def test_the_version_is_printed() -> None:
    assert run("--version").stdout == "fragment-lint (a copy)\n"


# Everything else.


def test_code_without_streamlit_is_clean() -> None:
    assert check_paths([Path(subprocess.__file__), Path(re.__file__).parent]) == []


STATEMENTS = [
    "a = st.button('x')",
    "a = a and b or not c",
    "b, *a = c",
    "a: int = b + c",
    "c += f'SELECT {a}'",
    "a, b = b, a",
    "run.execute(c % a)",
    "if (c := a): live()",
    "live = st.fragment(live, run_every=a)",
    "st.fragment(run_every=1)(lambda a=b: st.rerun())()",
    "b = [a.button(c) for a in b]",
    "state = st.session_state; state[a].b = c",
    "from .. import live",
    "import streamlit as b",
    "from streamlit import *",
    "del st.session_state[a], b",
    "live(a)(b)",
    "st.rerun(*a, **b)",
    "st.rerun()",
    "st.stop()",
    "@(yes := st.fragment(run_every=1))\nclass A: a = b",
]
BLOCKS = [
    "if a:",
    "if not st.button('x'):\n    st.stop()\nelse:",
    "while c:",
    "for a in b:",
    "async def later(a, *, b=1):",
    "def live():",
    "@st.fragment(run_every=1)\ndef live(*a):",
    "class A:",
    "with st.container() as a, b:",
    "match a:\n  case [b, *_]:",
    "try:\n    live()\nexcept* A as b:",
    "try:\n    live()\nfinally:",
]


def block(head: str, body: list[str]) -> str:
    """Return a statement with a body."""
    return f"{head}\n{indent(chr(10).join(body), '    ')}"


def programs() -> some.SearchStrategy[str]:
    """Generate valid sources that mix everything that the rules check."""
    statement = some.recursive(
        some.sampled_from(STATEMENTS),
        lambda inner: some.builds(block, some.sampled_from(BLOCKS), some.lists(inner, min_size=1)),
    )
    return some.lists(statement, max_size=8).map("\n".join)


def test_long_and_circular_sources_are_judged() -> None:
    elifs = "".join(f"elif a == {number}:\n    b = {number}\n" for number in range(2_000))
    assert found(f"if a:\n    b = 1\n{elifs}") == []
    doubled = "".join(f"a{number + 1} = a{number} + a{number}\n" for number in range(60))
    circle = "x = y = x or y\nif x and y: z = x\nx = f'{x}{y}{z}'\n"
    assert found(f"a0 = 'x'\n{doubled}{circle}db.execute(a60)\ndb.execute(x)\n") in (
        [],
        [(65, "FC08")],
    )


@settings(deadline=None)
@given(programs())
def test_no_code_breaks_the_linter(source: str) -> None:
    findings = check_source(source, "sample.py")
    assert findings == sorted(set(findings))
    assert {item.rule.split()[0] for item in findings} <= RULES.keys()
