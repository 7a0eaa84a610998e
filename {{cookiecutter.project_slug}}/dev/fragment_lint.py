"""Check timed Streamlit fragments for mistakes that show late.

A function under `@st.fragment(run_every=...)` is called again and again by a timer in the browser.
Typical mistakes are a timer that never ends and a page that reruns in a loop. This linter reads
the source (it imports nothing and runs nothing) and reports them.

| rule | name                         | what it finds                                             |
|------|------------------------------|-----------------------------------------------------------|
| FC01 | fragment-defined-in-block    | a fragment defined under a button, or not at module level |
| FC02 | fragment-called-under-button | a fragment that is rendered only in the run of a click    |
| FC03 | widget-in-fragment           | a widget in a timed fragment or in a helper that it calls |
| FC04 | no-termination               | a timed fragment without `st.rerun` and without `st.stop` |
| FC05 | stop-is-no-end               | `st.stop` as the only end: it ends a run, not the timer   |
| FC06 | unguarded-rerun              | a rerun without a condition or without a change of state  |
| FC07 | frozen-argument              | a timed fragment with parameters, which freeze            |
| FC08 | sql-f-string                 | SQL with values in its text instead of bound parameters   |
| FC09 | dialog-called-under-button   | a dialog that the full rerun at the end would close       |

FC03 to FC07 check fragments with a timer (`run_every` given, and not `None` or 0) and follow calls
by name to helpers of the same module. Before a rerun, a call of another module of the project
counts as a change of session state, because the source of that module is not followed.

    fragment-lint [PATH ...]                  where the command is installed
    python dev/fragment_lint.py [PATH ...]    where this file is part of the project

PATH is a file or a folder (default: the current folder; hidden folders, virtual environments,
`build` and `node_modules` inside it are skipped). Exit code: 0 no findings, 1 findings, 2 a path
that cannot be read or parsed. A comment `# fragment-lint: ignore FC03` on the line of a finding, or
on the last line of the call or string that it names, accepts it; commas separate several rules.
"""

import argparse
import ast
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

RERUN = 'clear the session state that renders it, then st.rerun(scope="app")'
RULES = {  # id: (short name, what to do)
    "FC01": ("fragment-defined-in-block", "define it at module level, call it where it is needed"),
    "FC02": ("fragment-called-under-button", "call it under session state that the button sets"),
    "FC03": ("widget-in-fragment", "move the widget out of the fragment, into the page"),
    "FC04": ("no-termination", f"when the work has ended, {RERUN}"),
    "FC05": ("stop-is-no-end", f"{RERUN} (plain st.rerun() is the same)"),
    "FC06": ("unguarded-rerun", f"under a condition, {RERUN}"),
    "FC07": ("frozen-argument", "take no parameters, read st.session_state inside"),
    "FC08": ("sql-f-string", "bind parameters: a constant statement with placeholders, and values"),
    "FC09": (
        "dialog-called-under-button",
        "call it under session state that the button sets and `on_dismiss` clears",
    ),
}
IGNORE = "# fragment-lint: ignore"
SKIPPED_FOLDERS = {"build", "node_modules", "venv", "__pycache__"}  # and all hidden ones

# A button is true for one run only; so are a submitted chat message and a menu choice.
BUTTONS = {"button", "chat_input", "download_button", "form_submit_button", "menu_button"}
WIDGETS = """
    audio_input camera_input checkbox color_picker data_editor date_input datetime_input feedback
    file_uploader form multiselect number_input pagination pills radio segmented_control
    select_slider selectbox slider text_area text_input time_input toggle
"""
CHARTS = "altair_chart dataframe echarts_chart plotly_chart pydeck_chart vega_lite_chart"
ALWAYS_WIDGETS = BUTTONS.union(WIDGETS.split())
SOMETIMES_WIDGETS = {  # they only display, unless this argument makes them report back
    **dict.fromkeys(CHARTS.split(), "on_select"),
    **dict.fromkeys(("expander", "popover", "tabs"), "on_change"),
    "link_button": "on_click",
}
# Attributes of `st` that hold no widgets: `st.session_state.job.toggle()` is no finding.
NO_CONTAINERS = {"session_state", "query_params", "secrets", "connection", "context", "user"}
ENDINGS = {"streamlit.rerun", "streamlit.stop", "streamlit.switch_page"}
STATE_METHODS = {"clear", "discard", "pop", "popitem", "remove", "update"}
# The body of an `if` on one of these counts as module level: sessions do not change the result.
STATIC_TESTS = ("TYPE_CHECKING", "__name__", "sys.platform", "sys.version_info")

SQL_CALLS = {"execute", "executemany", "executescript", "query", "read_sql", "sql", "text"}
SQL_WORDS = {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "CALL", "WITH", "CREATE"}
TEXT_WRAPPERS = {"SQL", "cleandoc", "dedent"}  # they pass their text through

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Condition = tuple[ast.expr | None, bool]  # a test, and whether it must be true or false
BLOCKS = Function | ast.ClassDef | ast.If | ast.Match | ast.For | ast.AsyncFor | ast.While
LITERALS = ast.Constant | ast.JoinedStr | ast.FormattedValue | ast.BinOp
SEQUENCES = ast.List | ast.Tuple | ast.ListComp | ast.GeneratorExp


class UnreadableError(ValueError):
    """A path or a source that cannot be checked; its text is one line for the user."""


@dataclass(frozen=True, order=True)
class Finding:
    """One mistake in a file."""

    file: str
    line: int
    rule: str
    message: str
    fix: str

    def __str__(self) -> str:
        """Return the line that the command prints."""
        return f"{self.file}:{self.line}: {self.rule}: {self.message}. Fix: {self.fix}"


@dataclass(frozen=True)
class Fragment:
    """A fragment: where it is defined, and the function that it runs, if this file has it."""

    name: str
    node: ast.expr | ast.stmt
    function: Function | None
    timed: bool


class Module:
    """A parsed source file: what the rules need to know about its names, and the findings."""

    def __init__(self, source: str, filename: str) -> None:
        """Parse `source` and read its names; raise SyntaxError if it cannot be parsed."""
        try:
            with warnings.catch_warnings(action="ignore"):  # an invalid escape is not a finding
                self.tree = ast.parse(source, filename)
        except (ValueError, MemoryError) as error:  # a null byte, too many brackets
            raise SyntaxError(str(error) or "too complex") from error
        self.filename = filename
        self.lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.findings: dict[tuple[int, str], Finding] = {}
        self.nodes = list(ast.walk(self.tree))
        self.calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        self.parents = {part: node for node in self.nodes for part in ast.iter_child_nodes(node)}
        self.functions: dict[str, Function] = {
            node.name: node
            for node in self.nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and not isinstance(self.parents[node], ast.ClassDef)
        }
        self.bindings: dict[tuple[ast.AST, str], list[ast.AST]] = {}
        self.unbound: list[ast.AST] = []
        self.answers: dict[tuple[str, int], bool] = {}
        self._read_bindings()
        # In a snippet that binds no `st`, it is Streamlit.
        is_bound = any(name == "st" for _, name in self.bindings)
        self.imports = {} if is_bound else {"st": "streamlit"}
        self._read_imports()
        self.fragments = list(self._fragments())

    def add(self, rule: str, node: ast.expr | ast.stmt, message: str) -> None:
        """Record a finding, unless a comment on its line accepts it."""
        last = node.lineno if isinstance(node, ast.stmt) else node.end_lineno or node.lineno
        accepted = [self.lines[line - 1].partition(IGNORE)[2] for line in (node.lineno, last)]
        if rule not in " ".join(accepted).replace(",", " ").split():
            name, fix = RULES[rule]
            finding = Finding(self.filename, node.lineno, f"{rule} {name}", message, fix)
            self.findings.setdefault((node.lineno, rule), finding)

    # Names: what they are bound to, which are Streamlit's, which are this project's.

    def scopes(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the functions around `node`, innermost first, and the module."""
        while node is not self.tree:
            node = self.parents[node]
            if isinstance(node, Function | ast.Module):
                yield node

    def _read_bindings(self) -> None:
        for node in self.nodes:
            name, value = getattr(node, "id", None), None
            if isinstance(node, ast.arg):
                name, value = node.arg, node
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                owner = self.parents[node]
                while isinstance(owner, ast.Tuple | ast.List | ast.Starred):
                    owner = self.parents[owner]
                for field in ("value", "iter", "context_expr"):
                    value = getattr(owner, field, value)
            if name and value:
                self.bindings.setdefault((next(self.scopes(node)), name), []).append(value)

    def values(self, name: ast.AST) -> list[ast.AST]:
        """Return what a name is bound to in the nearest scope that binds it."""
        keys = ((scope, getattr(name, "id", "")) for scope in self.scopes(name))
        return next((self.bindings[key] for key in keys if key in self.bindings), self.unbound)

    def ask(
        self, question: str, name: ast.Name, judge: Callable[[ast.AST], bool], every: bool = False
    ) -> bool:
        """Judge what a name is bound to, one value or `every`. Bindings may be circular."""
        values = self.values(name)
        key = (question, id(values))
        if key not in self.answers:
            self.answers[key] = every  # the answer while a circular binding is followed
            judged = map(judge, values)
            self.answers[key] = bool(values) and (all(judged) if every else any(judged))
        return self.answers[key]

    def _read_imports(self) -> None:
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for item in node.names:
                    top = item.name.partition(".")[0]
                    self.imports[item.asname or top] = item.name if item.asname else top
            elif isinstance(node, ast.ImportFrom):
                origin = "." * node.level + (f"{node.module}." if node.module else "")
                for item in node.names:
                    self.imports[item.asname or item.name] = origin + item.name
        for (_, name), values in self.bindings.items():
            origin = self.qualified(values[0])  # `state = st.session_state` is a second name
            if origin.startswith("streamlit.") and origin.count(".") == 1:
                self.imports[name] = origin

    def qualified(self, node: ast.AST) -> str:
        """Return the dotted name of an imported object (`streamlit.rerun`), or an empty string."""
        if isinstance(node, ast.Attribute):
            owner = self.qualified(node.value)
            return owner and f"{owner}.{node.attr}"
        return self.imports.get(node.id, "") if isinstance(node, ast.Name) else ""

    def project_file(self, dotted: str) -> tuple[Path, str] | None:
        """Return the file of this project that defines an imported name, and its name there."""
        name = dotted.lstrip(".")
        level = len(dotted) - len(name)
        folders, parts = Path(self.filename).resolve().parents, name.split(".") if name else []
        for folder in folders[level - 1 : level] if level else folders:
            for length in range(len(parts), 0, -1):
                base = folder.joinpath(*parts[:length])
                for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
                    if path.is_file():
                        return path, ".".join(parts[length:])
        return None

    # Functions and fragments.

    def helper(self, node: ast.AST) -> Function | None:
        """Return the function of this file that `node` calls by its name."""
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        return self.functions.get(called_name(node)) if is_call else None

    def reached(self, *functions: Function) -> Iterator[ast.AST]:
        """Yield the nodes that run with `functions`, those of their helpers included."""
        todo = list(dict.fromkeys(functions))
        for current in todo:  # the list grows as helpers are found
            for node in body_nodes(current):
                yield node
                helper = self.helper(node)
                if helper and helper not in todo:
                    todo.append(helper)

    def is_fragment(self, node: ast.expr) -> bool:
        """Tell whether `node` is `st.fragment`, or a call of it that returns a decorator."""
        if isinstance(node, ast.Call):
            return self.is_fragment(node.func) and argument(node, "func", 0) is None
        return self.qualified(node) == "streamlit.fragment"

    def wrapped(self, node: ast.AST) -> ast.expr | None:
        """Return the `f` of a call `st.fragment(f, ...)` or `st.fragment(...)(f)`."""
        if isinstance(node, ast.Call) and self.is_fragment(node.func):
            return argument(node, "func", 0)
        return None

    def is_dialog(self, call: ast.Call) -> bool:
        """Tell whether `call` opens a dialog that this file defines."""
        function = self.helper(call)
        return function is not None and any(
            isinstance(maker, ast.Call) and self.qualified(maker.func) == "streamlit.dialog"
            for maker in getattr(function, "decorator_list", [])
        )

    def _fragments(self) -> Iterator[Fragment]:
        for node in self.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for maker in filter(self.is_fragment, node.decorator_list):
                    yield Fragment(node.name, node, node, is_timed(maker))
            elif isinstance(node, ast.Call) and (target := self.wrapped(node)):
                function = self.functions.get(getattr(target, "id", ""))
                if isinstance(target, ast.Lambda):
                    function = target
                parent = self.parents[node]  # `live = st.fragment(draw, run_every=1)`
                place = getattr(parent, "targets", [getattr(parent, "target", None)])[0]
                name = getattr(place, "id", getattr(target, "id", "a lambda"))
                yield Fragment(name, node, function, is_timed(node) or is_timed(node.func))

    def rendered(self, call: ast.Call) -> str:
        """Return the name of the fragment that `call` renders, or an empty string."""
        if target := self.wrapped(call.func):
            return getattr(target, "id", "a lambda")
        local, helper = {item.name for item in self.fragments}, self.helper(call)
        inner = [called_name(item) for item in self.reached(helper)] if helper else []
        for name in (getattr(call.func, "id", ""), *inner):
            if name in local:
                return name
        path, name = self.project_file(self.qualified(call.func)) or (None, "")
        return name if path and name in fragment_names(path) else ""

    # Conditions: what must be true for a line to run, and what ran before it.

    def way(self, node: ast.AST, top: ast.AST) -> list[Condition | ast.stmt]:
        """Return the conditions on `node` and the statements before it, from `top` on."""
        events: list[Condition | ast.stmt] = []
        while node is not top:
            parent = self.parents[node]
            before: list[Condition | ast.stmt] = list(conditions(parent, node))
            for field in ("body", "orelse", "finalbody"):
                block = getattr(parent, field, None)
                if isinstance(block, list) and node in block:
                    for statement in block[: block.index(node)]:
                        before += self.passed(statement)
            node, events = parent, before + events
        return events

    def passed(self, statement: ast.stmt) -> list[Condition | ast.stmt]:
        """Return what holds after `statement`: after `if x: return`, that `x` is false."""
        if isinstance(statement, ast.With):
            return [item for inner in statement.body for item in self.passed(inner)]
        if isinstance(statement, ast.If) and self.ends(statement.body[-1]):
            known = [] if isinstance(statement.test, ast.Constant) else [(statement.test, False)]
            return [*known, *statement.orelse]
        return [statement]

    def ends(self, statement: ast.stmt) -> bool:
        """Tell whether nothing after `statement` runs."""
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            return self.qualified(statement.value.func) in ENDINGS
        return isinstance(statement, ast.Return | ast.Raise | ast.Continue | ast.Break)

    def is_under_click(self, node: ast.AST) -> bool:
        """Tell whether `node` runs only in the run of a click."""
        known = [item for item in self.way(node, self.tree) if isinstance(item, tuple)]
        return any(test and self.needs_click(test, holds) for test, holds in known)

    def needs_click(self, test: ast.AST, holds: bool = True) -> bool:
        """Tell whether `test` is true (false, if not `holds`) only in the run of a click."""
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.needs_click(operand, not holds)
            case ast.BoolOp(op=op, values=values):
                # `clicked or state` also holds in later runs; `clicked and state` does not.
                answers = [self.needs_click(value, holds) for value in values]
                return any(answers) if isinstance(op, ast.And) == holds else all(answers)
            case ast.Name():
                return self.ask(f"click {holds}", test, lambda item: self.needs_click(item, holds))
            case ast.Call(func=func) if called_name(test) in BUTTONS:
                if isinstance(func, ast.Attribute) or self.qualified(func):
                    return holds
        parts = ast.iter_child_nodes(test)
        return holds and any(self.needs_click(part, True) for part in parts)

    # Widgets and session state.

    def is_container(self, node: ast.AST) -> bool:
        """Tell whether `node` is Streamlit or a container of it: `st.sidebar`, `columns[0]`."""
        if origin := self.qualified(node):
            top, _, rest = origin.partition(".")
            return top == "streamlit" and rest.partition(".")[0] not in NO_CONTAINERS
        match node:
            case ast.Attribute(value=owner) | ast.Subscript(value=owner):
                return self.is_container(owner)
            case ast.Call(func=func, args=args):  # `st.columns(2)`, and `enumerate(columns)`
                return any(self.is_container(part) for part in (func, *args))
            case ast.Name():
                return self.ask("container", node, self.is_container)
            case ast.arg(arg=name):  # a helper may get a container as an argument
                return name not in ("self", "cls")
        return False

    def is_widget(self, call: ast.Call) -> bool:
        """Tell whether `call` draws a Streamlit widget, on `st` or on one of its containers."""
        name = called_name(call)
        if name in SOMETIMES_WIDGETS:
            option = argument(call, SOMETIMES_WIDGETS[name])
            if option is None or getattr(option, "value", "") == "ignore":
                return False
        elif name not in ALWAYS_WIDGETS:
            return False
        return self.is_container(getattr(call.func, "value", call.func))

    def is_state(self, node: ast.AST) -> bool:
        """Tell whether `node` is the session state or a part of it."""
        if self.qualified(node).startswith("streamlit.session_state"):
            return True
        return isinstance(node, ast.Attribute | ast.Subscript) and self.is_state(node.value)

    def sets_state(self, node: ast.AST) -> bool:
        """Tell whether `node` is an assignment or a call that changes session state."""
        match node:
            case ast.Call(func=ast.Attribute(value=owner, attr=name)):
                return name in STATE_METHODS and self.is_state(owner)
            case ast.Attribute(value=owner) | ast.Subscript(value=owner):
                return isinstance(node.ctx, ast.Store | ast.Del) and self.is_state(owner)
        return False

    def changes_state(self, root: ast.AST, trust: bool = True) -> bool:
        """Tell whether running `root` changes session state; `trust` calls of other modules."""
        key = (f"changes state, trust {trust}", id(root))
        if key not in self.answers:
            nodes = list(own_nodes(root))
            nodes += self.reached(*[helper for node in nodes if (helper := self.helper(node))])
            changes = map(self.sets_state, nodes)
            self.answers[key] = any(changes) or (trust and any(map(self.is_foreign, nodes)))
        return self.answers[key]

    def is_foreign(self, node: ast.AST) -> bool:
        """Tell whether `node` calls a function of another module of this project."""
        origin = self.qualified(node.func) if isinstance(node, ast.Call) else ""
        is_class = origin.rpartition(".")[2][:1].isupper()
        return bool(origin) and not is_class and self.project_file(origin) is not None

    # SQL texts.

    def is_literal(self, node: ast.AST) -> bool:
        """Tell whether `node` consists of literals of this file only."""
        match node:
            case ast.Name():
                return self.ask("literal", node, self.is_literal, every=True)
            case ast.BinOp(left=left, op=ast.Mult()):  # "?" * len(ids)
                return self.is_literal(left)
            case ast.Call(func=ast.Attribute(value=owner, attr="join"), args=args):
                return all(self.is_literal(part) for part in (owner, *args))
        inner = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
        is_kind = isinstance(node, LITERALS | SEQUENCES)
        return is_kind and all(self.is_literal(part) for part in inner)

    def how_built(self, node: ast.AST) -> str:
        """Return how `node` puts values into a text, or an empty string if it does not."""
        match node:
            case _ if self.is_literal(node):
                return ""
            case ast.JoinedStr() | ast.Call(func=ast.Attribute(value=ast.JoinedStr())):
                return "an f-string"
            case ast.BinOp(op=ast.Add()):
                return "+ concatenation"
            case ast.BinOp(left=left, op=ast.Mod()) if self.is_literal(left):
                return "% formatting"
            case ast.Call(func=ast.Attribute(value=owner, attr="format")):
                # Not the method of a composed object: sql.SQL("...").format(sql.Identifier(table)).
                made = (owner, *self.values(owner))
                return "" if any(isinstance(item, ast.Call) for item in made) else ".format()"
        return ""


def own_nodes(*roots: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run with `roots`: not the bodies of functions and classes in them."""
    for root in roots:
        yield root
        if not isinstance(root, Function | ast.ClassDef):
            yield from own_nodes(*ast.iter_child_nodes(root))


def body_nodes(function: Function) -> Iterator[ast.AST]:
    """Yield the nodes that run when `function` is called."""
    body = function.body
    return own_nodes(*body) if isinstance(body, list) else own_nodes(body)


def called_name(node: ast.AST) -> str:
    """Return the last name of what is called: `button` of `st.sidebar.button(...)`."""
    func = getattr(node, "func", None)
    return getattr(func, "attr", getattr(func, "id", ""))


def argument(call: ast.Call, keyword: str, position: int | None = None) -> ast.expr | None:
    """Return an argument of `call` by position, where one is given, or by keyword."""
    if position is not None and len(call.args) > position:
        return call.args[position]
    return next((item.value for item in call.keywords if item.arg == keyword), None)


def is_timed(maker: ast.expr) -> bool:
    """Tell whether a fragment's decorator sets a timer; `None` and 0 set none."""
    option = argument(maker, "run_every") if isinstance(maker, ast.Call) else None
    return option is not None and not (isinstance(option, ast.Constant) and not option.value)


def conditions(parent: ast.AST, child: ast.AST) -> Iterator[Condition]:
    """Yield the condition under which `parent` runs its part `child`; `if True` is none."""
    match parent:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            for block, holds in ((parent.body, True), (parent.orelse, False)):
                inside = child in block if isinstance(block, list) else child is block
                if inside and not isinstance(test, ast.Constant):
                    yield test, holds
        case ast.match_case(body=body) | ast.ExceptHandler(body=body) if child in body:
            yield None, True


def starts_as_sql(node: ast.AST) -> bool:
    """Tell whether the text of `node` starts with an SQL keyword."""
    texts = (getattr(part, "value", None) for part in own_nodes(node))
    first = next((text for text in texts if isinstance(text, str)), "")
    return not SQL_WORDS.isdisjoint(first.replace("(", " ").upper().split()[:1])


def fragment_names(path: Path) -> set[str]:
    """Return the names of the fragments in another file, or none if it cannot be read."""
    try:
        return {item.name for item in Module(path.read_text("utf-8-sig"), str(path)).fragments}
    except (OSError, UnicodeDecodeError, SyntaxError):
        return set()


def wrong_scope(call: ast.Call) -> str:
    """Return the scope of a rerun, as written, if it is not the app."""
    scope = argument(call, "scope", 0) if called_name(call) == "rerun" else None
    return repr(scope.value) if isinstance(scope, ast.Constant) and scope.value != "app" else ""


# The rules.


def block_around(module: Module, node: ast.AST) -> str:
    """Return what keeps `node` from module level, or an empty string."""
    if module.is_under_click(node):
        return "under a button, which is true for one run only"
    while node is not module.tree:
        node = module.parents[node]
        test = ast.unparse(node.test) if isinstance(node, ast.If) else ""
        if isinstance(node, BLOCKS) and not any(word in test for word in STATIC_TESTS):
            return f"in the block of line {node.lineno}, not at module level"
    return ""


def check_places(module: Module) -> None:
    """FC01, FC02 and FC09: where fragments are defined, and where they and dialogs are called."""
    for fragment in module.fragments:
        if place := block_around(module, fragment.node):
            module.add("FC01", fragment.node, f"the fragment {fragment.name} is defined {place}")
    for call in filter(module.is_under_click, module.calls):
        if name := module.rendered(call):
            message = f"only the run of a click renders {name}; the next full rerun drops it"
            module.add("FC02", call, message)
        elif module.is_dialog(call):
            message = (
                f"the next full rerun, as at the end of a fragment, closes {ast.unparse(call)}"
            )
            module.add("FC09", call, message)


def check_timed(module: Module, name: str, node: ast.expr | ast.stmt, function: Function) -> None:
    """FC03, FC04, FC05 and FC07: the body of the timed fragment `name`, with its helpers."""
    calls = [item for item in module.reached(function) if isinstance(item, ast.Call)]
    for call in filter(module.is_widget, calls):
        message = f"every tick of {name} draws the widget {called_name(call)} again"
        module.add("FC03", call, message)
    ends = {module.qualified(call.func): call for call in reversed(calls) if not wrong_scope(call)}
    if not ENDINGS & ends.keys():
        message = f"neither {name} nor a helper in this file reaches st.rerun or st.stop()"
        module.add("FC04", node, message)
    elif ENDINGS & ends.keys() == {"streamlit.stop"}:
        message = (
            f"st.stop() is the only end of {name}: it ends one run, the browser's timer goes on"
        )
        module.add("FC05", ends["streamlit.stop"], f"{message} (measured on Streamlit 1.67)")
    if frozen := [item.arg for item in ast.walk(function.args) if isinstance(item, ast.arg)]:
        message = f"the arguments of {name} ({', '.join(frozen)}) freeze until the next full rerun"
        module.add("FC07", node, message)


def check_reruns(module: Module, name: str, function: Function) -> None:
    """FC06: the conditions of each rerun in the timed fragment `name` and its helpers."""
    todo = [(function, False, False)]
    for current, is_guarded, is_changed in todo:  # the list grows as helpers are found
        for call in (node for node in body_nodes(current) if isinstance(node, ast.Call)):
            helper, message = module.helper(call), ""
            if not helper and module.qualified(call.func) != "streamlit.rerun":
                continue
            guarded, changed = is_guarded, is_changed
            for event in module.way(call, current):
                if isinstance(event, ast.stmt):
                    changed |= guarded and module.changes_state(event)
                else:
                    guarded = True
                    changed |= event[0] is not None and module.changes_state(event[0], trust=False)
            if helper:
                if (helper, guarded, changed) not in todo:
                    todo.append((helper, guarded, changed))
            elif scope := wrong_scope(call):
                message = (
                    f"st.rerun(scope={scope}) raises in a full rerun, and does not end the timer"
                )
            elif not guarded:
                message = f"every tick of {name} reruns the app, which renders it again: a loop"
            elif not changed:
                message = f"no change of session state before it: the rerun renders {name} again"
            if message:
                module.add("FC06", call, message)


def check_sql(module: Module) -> None:
    """FC08: texts with values in them that are passed to a call that runs SQL."""
    for call in module.calls:
        name, given = called_name(call), argument(call, "sql", 0)
        if name not in SQL_CALLS or given is None:
            continue
        texts: list[ast.AST] = [given]
        if isinstance(given, ast.Name):
            bound = module.values(given)
            texts = bound if any(map(starts_as_sql, bound)) else []
        elif isinstance(given, ast.Call) and called_name(given) in TEXT_WRAPPERS:
            texts = [*given.args[:1]]
        if name == "text" and not module.qualified(call.func).startswith("sqlalchemy."):
            # Other objects have a `text`, such as Streamlit: only what starts as SQL counts.
            texts = [] if module.is_container(call.func) else [*filter(starts_as_sql, texts)]
        for text in texts:
            how = module.how_built(text)
            if how and isinstance(text, ast.expr):
                module.add("FC08", text, f"{how} puts values into the SQL that {name}() runs")


def check_source(source: str, filename: str) -> list[Finding]:
    """Return the findings in `source`; imports are looked up in the folders around `filename`."""
    try:
        module = Module(source, filename)
        check_places(module)
        for item in module.fragments:
            if item.timed and item.function:
                check_timed(module, item.name, item.node, item.function)
                check_reruns(module, item.name, item.function)
        check_sql(module)
    except (SyntaxError, RecursionError) as error:
        line, reason = getattr(error, "lineno", None) or 1, getattr(error, "msg", error)
        raise UnreadableError(f"{filename}:{line}: cannot be parsed: {reason}") from error
    return sorted(module.findings.values())


def python_files(path: Path) -> Iterator[Path]:
    """Yield `path`, or the Python files in the folder `path`, in order."""
    if not path.is_dir():
        yield path
        return
    for child in sorted(path.iterdir()):
        if child.is_dir():
            is_skipped = child.name in SKIPPED_FOLDERS or child.name.startswith(".")
            if not (is_skipped or child.is_symlink() or (child / "pyvenv.cfg").exists()):
                yield from python_files(child)
        elif child.suffix == ".py":
            yield child


def check_paths(paths: Iterable[Path | str]) -> list[Finding]:
    """Return the findings in files and folders; raise UnreadableError at the first bad path."""
    findings: list[Finding] = []
    for file in dict.fromkeys(file for path in paths for file in python_files(Path(path))):
        try:
            source = file.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", "not UTF-8 text")
            raise UnreadableError(f"{file}: cannot be read: {reason}") from error
        findings += check_source(source, str(file))
    return findings


def main() -> int:
    """Check the paths of the command line, print the findings and return the exit code."""
    parser = argparse.ArgumentParser(prog="fragment-lint", description="Check timed fragments.")
    parser.add_argument("paths", nargs="*", default=["."], metavar="PATH")
    try:
        findings = check_paths(parser.parse_args().paths)
    except UnreadableError as error:
        print(error, file=sys.stderr)
        return 2
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
