"""The rules: what they are called, what they report, and how each is checked."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

from .app import BLOCKS, CALLBACKS, UNKNOWN, App, Changes, Fragment, rendered_by
from .model import (
    Function,
    Part,
    Point,
    argument,
    called_name,
    constant,
    own_nodes,
)
from .sql import SqlTexts

ERROR, WARNING, ADVICE = "error", "warning", "advice"
RERUN = 'clear the session state that renders it, then st.rerun(scope="app")'


class Rule(NamedTuple):
    """A rule: its name, the worst severity of its findings, what to do, and why."""

    name: str
    severity: str
    fix: str
    why: str


RULES = {
    "FC00": Rule(
        "unused-ignore",
        ADVICE,
        "remove the comment",
        "A comment that accepts no finding hides the next one.",
    ),
    "FC01": Rule(
        "fragment-defined-in-block",
        ERROR,
        "define it at module level, call it where it is needed",
        "Under a button the definition runs once: the next full rerun does not reach it and the "
        "fragment is gone. A timed fragment in another block is advice: its end is hard to see.",
    ),
    "FC02": Rule(
        "fragment-called-under-button",
        ERROR,
        "call it under session state that the button sets",
        "A button is true for one run. The fragment is on the page until the next full rerun of "
        "any cause (measured on Streamlit 1.67; a callback, too, renders for one run).",
    ),
    "FC03": Rule(
        "widget-in-fragment",
        WARNING,
        "move the widget out of the fragment, into the page",
        "Each tick draws the widget again while the user works with it.",
    ),
    "FC04": Rule(
        "no-termination",
        WARNING,
        f"when the work has ended, {RERUN}",
        "A timer of a fragment goes on until a full rerun does not call the fragment (measured on "
        "Streamlit 1.67). For a page that never ends, say so with an ignore comment.",
    ),
    "FC05": Rule(
        "stop-is-no-end",
        WARNING,
        f"{RERUN} (plain st.rerun() is the same)",
        "st.stop() ends one run of the fragment; 16 more ticks came in the 8 s after it (measured "
        "on Streamlit 1.67).",
    ),
    "FC06": Rule(
        "unguarded-rerun",
        ERROR,
        f"under a condition, {RERUN}",
        "A full rerun calls the fragment again if nothing changed that: the page reruns in a loop "
        "(200 runs without a pause on Streamlit 1.67).",
    ),
    "FC07": Rule(
        "frozen-argument",
        WARNING,
        "take no parameters, read st.session_state inside",
        "A tick runs the fragment with the values of the last full rerun.",
    ),
    "FC08": Rule(
        "sql-f-string",
        ERROR,
        "bind parameters: a constant statement with placeholders, and values",
        "A value in the text of a statement can change what the statement does.",
    ),
    "FC09": Rule(
        "async-fragment",
        ERROR,
        "use def; run coroutines inside with asyncio.run()",
        "Streamlit never awaits the coroutine: the fragment draws nothing (seen on 1.67).",
    ),
    "FC10": Rule(
        "timer-in-timer",
        WARNING,
        "call both from the page, or give the inner fragment no run_every",
        "Each tick of the outer fragment draws the inner one again, with a timer of its own.",
    ),
    "FC11": Rule(
        "page-never-ends",
        ERROR,
        "remove the loop: run_every is the loop",
        "The timers of a page start when its run has ended (streamlit#9287).",
    ),
    "FC12": Rule(
        "dialog-under-button",
        ADVICE,
        "call it under session state, and clear that in the dialog's on_dismiss",
        "A full rerun that a timed fragment requests closes a dialog that only a click opened "
        "(measured on Streamlit 1.67).",
    ),
}
ENDS = {"streamlit.rerun", "streamlit.switch_page", "streamlit.stop"}
# The body of an `if` on one of these counts as module level: sessions do not change the result.
STATIC_TESTS = ("TYPE_CHECKING", "__name__", "__version__", "sys.platform", "sys.version_info")
LOADERS = ("load", "read", "get", "fetch", "query", "poll", "list", "find", "select", "compute")


class Found(NamedTuple):
    """What a rule reports: where, and why."""

    rule: str
    node: ast.expr | ast.stmt
    message: str
    severity: str = ""  # that of the rule, if it is empty


def check(app: App) -> Iterator[Found]:
    """Yield what all rules report about a module."""
    yield from check_places(app)
    yield from check_callbacks(app)
    for item in app.fragments:
        if isinstance(item.function, ast.AsyncFunctionDef):
            message = f"{item.name} is async: Streamlit does not await it, it draws nothing"
            yield Found("FC09", item.node, message)
        if item.timed and item.function:
            yield from check_widgets(app, item, item.function)
            yield from check_end(app, item, item.function)
            yield from check_frozen(app, item, item.function)
            yield from check_reruns(app, item, item.function)
    if any(item.timed for item in app.fragments):
        yield from check_loops(app)
        yield from check_dialogs(app)
    for text, how, name in SqlTexts(app).findings():
        yield Found("FC08", text, f"{how} puts values into the SQL that {name}() runs")


def check_places(app: App) -> Iterator[Found]:
    """FC01 and FC02: where fragments are defined, and where they are called."""
    for item in app.fragments:
        message = f"the fragment {item.name} is defined"
        if app.click(item.node):
            what = "under a button, which is true for one run only"
            yield Found("FC01", item.node, f"{message} {what}")
        elif is_called(app, item.node):
            continue  # `st.fragment(draw, run_every=1)()` is more a call than a definition
        elif item.timed and (line := block_around(app, item.node)):
            what = f"in the block of line {line}, not at module level"
            yield Found("FC01", item.node, f"{message} {what}", ADVICE)
    rendered = [
        (call, name, app.click(call))
        for calls in app.calls.values()
        for call in calls
        if (name := app.rendered(call))
    ]
    later = {name for _, name, guard in rendered if guard is None}
    for call, name, guard in rendered:
        if guard is None:
            continue
        keeps = name in later and any(app.changes(item, trust=False) for item in guard.branch)
        if not keeps:
            message = f"only the run of a click renders {name}; the next full rerun drops it"
            yield Found("FC02", call, message)


def check_dialogs(app: App) -> Iterator[Found]:
    """FC12: a dialog that only a click opens, on a page that a timed fragment reruns."""
    for calls in app.calls.values():
        for call in calls:
            own = [callee.function for callee in app.callees(call) if callee.module is app]
            if app.click(call) and any(map(app.is_dialog, own)):
                message = "only the run of a click opens the dialog; the next full rerun closes it"
                yield Found("FC12", call, message)


def is_called(app: App, node: ast.AST) -> bool:
    """Tell whether a fragment is called where it is made."""
    parent = app.parents[node]
    return isinstance(parent, ast.Call) and parent.func is node


def block_around(app: App, node: ast.AST) -> int:
    """Return the line of the block that keeps `node` from module level, or 0."""
    while node is not app.tree:
        node = app.parents[node]
        test = ast.unparse(node.test) if isinstance(node, ast.If) else ""
        if isinstance(node, BLOCKS) and not any(word in test for word in STATIC_TESTS):
            return int(node.lineno)
    return 0


def check_callbacks(app: App) -> Iterator[Found]:
    """FC02: a fragment that a callback renders."""
    for calls in app.calls.values():
        for call in calls:
            for item in call.keywords:
                if item.arg in CALLBACKS and app.is_widget(call):
                    for callee in app.functions(item.value):
                        if name := rendered_by(callee):
                            message = f"the callback renders {name} for one run only"
                            yield Found("FC02", item.value, message)


def check_widgets(app: App, item: Fragment, function: Function) -> Iterator[Found]:
    """FC03 and FC10: what the timed fragment draws again at each tick."""
    for module, call, here in app.reached(function):
        if isinstance(module, App):
            if module.is_widget(call):
                place = "" if module is app else f" ({module.filename}:{call.lineno})"
                message = f"every tick of {item.name} draws the widget {called_name(call)} again"
                yield Found("FC03", here, message + place)
            for callee in module.callees(call):
                inner = isinstance(callee.module, App) and callee.module.by_function.get(
                    callee.function
                )
                if inner and inner.timed and callee.function is not function:
                    message = f"every tick of {item.name} renders {inner.name}, which has a timer"
                    yield Found("FC10", here, message)


def check_end(app: App, item: Fragment, function: Function) -> Iterator[Found]:
    """FC04 and FC05: how the timer ends."""
    if item.may_end or is_ended_by_the_page(app, function):
        return
    ends: dict[str, ast.Call] = {}
    for module, call, here in app.reached(function):
        name = module.dotted(call.func)
        assert isinstance(module, App)
        if name not in ENDS or wrong_scope(module, call):
            continue
        if name == "streamlit.stop" or not module.click(call, flags=False):
            ends.setdefault(name, here)
    if not ends:
        message = f"neither {item.name} nor a helper in this project reaches st.rerun or st.stop()"
        yield Found("FC04", item.node, message)
    elif ends.keys() == {"streamlit.stop"}:
        message = (
            f"st.stop() is the only end of {item.name}: it ends one run, the browser's timer goes "
            "on (measured on Streamlit 1.67)"
        )
        yield Found("FC05", ends["streamlit.stop"], message)


def is_ended_by_the_page(app: App, function: Function) -> bool:
    """Tell whether a widget, or state that the page clears, decides on each call of a fragment."""
    calls = app.callers.get(function, [])
    inside = {app.owner(call) for module, call, _ in app.reached(function) if module is app}
    inside.add(function)
    for call in calls:
        tests = [guard.test for guard in app.guards(app.points.get(call)) if guard.test]
        keys = {key for test in tests for key in app.reads(test) or ()}
        is_cleared = any(app.cleared.get(key, set()) - inside for key in keys)
        if not is_cleared and not any(is_switch(app, test) for test in tests):
            return False
    return bool(calls)


def is_switch(app: App, test: ast.expr) -> bool:
    """Tell whether a condition depends on a widget that keeps its value, such as a toggle."""
    nodes = [*own_nodes(test)]
    for node in nodes[:]:
        for value in app.values(node) if isinstance(node, ast.Name) else ():
            root = value.whole if isinstance(value, Part) else value
            nodes += own_nodes(root) if isinstance(root, ast.AST) else ()
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    return any(app.is_widget(call) and not app.needs_click(call) for call in calls)


def wrong_scope(app: App, call: ast.Call) -> str:
    """Return the scope of a rerun, as written, if it is not the app."""
    scope = argument(call, "scope", 0) if app.dotted(call.func) == "streamlit.rerun" else None
    if isinstance(scope, ast.Name):
        values = app.values(scope)
        scope = values[0] if len(values) == 1 and isinstance(values[0], ast.expr) else None
    if isinstance(scope, ast.List | ast.Tuple):
        return ast.unparse(scope)
    return repr(scope.value) if isinstance(scope, ast.Constant) and scope.value != "app" else ""


def check_frozen(app: App, item: Fragment, function: Function) -> Iterator[Found]:
    """FC07: parameters, and data that is loaded once for each full rerun."""
    names = [node for node in ast.walk(function.args) if isinstance(node, ast.arg)][item.bound :]
    calls = app.callers.get(function, []) if item.node is function else []
    given = [value for call in calls for value in (*call.args, *(k.value for k in call.keywords))]
    are_constant = given and all(isinstance(value, ast.Constant) for value in given)
    if names and not are_constant:
        arguments = ", ".join(node.arg for node in names)
        message = f"the arguments of {item.name} ({arguments}) freeze until the next full rerun"
        yield Found("FC07", item.node, message)
    for call in app.calls.get(function, []):
        if app.dotted(call.func).count(".") == 1 and app.is_container(call.func):
            for value in call.args:
                while isinstance(value, ast.Subscript | ast.Attribute):
                    value = value.value
                if isinstance(value, ast.Name) and is_snapshot(app, value):
                    message = f"{item.name} draws {value.id}, which only a full rerun reads again"
                    yield Found("FC07", value, message, ADVICE)


def is_snapshot(app: App, name: ast.Name) -> bool:
    """Tell whether a name of the page is bound to data that a call loaded."""
    values = app.top.names.get(name.id, [])
    return (
        app.values(name) is values
        and bool(values)
        and all(
            isinstance(value, ast.Call)
            and called_name(value).lower().startswith(LOADERS)
            and not app.dotted(value.func).startswith("streamlit.")
            and not app.state_key(value)
            for value in values
        )
    )


def check_reruns(app: App, item: Fragment, function: Function) -> Iterator[Found]:
    """FC06: the conditions of each rerun in the timed fragment and its helpers."""
    start: Changes = {}
    todo: list[tuple[Function, bool, bool, Changes]] = [(function, False, False, start)]
    seen = set()
    for current, was_guarded, was_open, earlier in todo:  # the list grows as helpers are found
        for call in app.calls.get(current, []):
            helpers = [callee for callee in app.callees(call) if callee.module is app]
            is_rerun = app.dotted(call.func) == "streamlit.rerun"
            if not helpers and not is_rerun:
                continue
            guarded, is_open, changes = was_guarded, was_open, dict(earlier)
            for point in way(app, call):
                if point.step is not None:
                    if guarded:
                        changes |= app.changes(point.step)
                    continue
                guarded = True
                if point.test is not None:
                    changes |= app.changes(point.test, trust=False)
                    keys = app.reads(point.test)
                    is_open |= bool(keys) or reads_state(app, point.test)
                    if keys and not point.holds and len(keys) == 1:
                        changes |= dict.fromkeys(keys, False)  # it is cleared already
            for helper in helpers:
                key = (helper.function, guarded, is_open, frozenset(changes.items()))
                if key not in seen:
                    seen.add(key)
                    todo.append((helper.function, guarded, is_open, changes))
            if is_rerun and (reason := why_loop(app, item, call, guarded, is_open, changes)):
                yield Found("FC06", call, reason)


def way(app: App, node: ast.AST) -> list[Point]:
    """Return the conditions on a call and the statements before it, in order."""
    found: list[Point] = []
    point = app.points.get(node)
    while point:
        found.append(point)
        point = point.before
    return found[::-1]


def reads_state(app: App, test: ast.expr) -> bool:
    """Tell whether a condition depends on session state."""
    return any(isinstance(node, ast.expr) and app.state_key(node) for node in own_nodes(test))


def why_loop(
    app: App, item: Fragment, call: ast.Call, guarded: bool, is_open: bool, changes: Changes
) -> str:
    """Return why a rerun of a timed fragment is a mistake, or an empty string."""
    is_click = app.click(call, flags=False) is not None
    if scope := wrong_scope(app, call):
        is_keys = not scope.startswith("'")
        if is_click and not is_keys:
            return ""  # a click in a fragment reruns the fragment, where the scope is legal
        return f"st.rerun(scope={scope}) raises in a full rerun, and does not end the timer"
    if is_click:
        return ""
    if not guarded:
        return f"every tick of {item.name} reruns the app, which renders it again: a loop"
    if not changes:
        return f"no change of session state before it: the rerun renders {item.name} again"
    sites = app.callers.get(item.function, []) if item.function and not item.may_end else []
    if UNKNOWN in changes or not sites or is_open:
        return ""
    if all(app.stays(site, changes, set()) for site in sites):
        what = ", ".join(sorted(changes)).replace("*", "session state")
        if not any(list(app.guards(app.points.get(site))) for site in sites):
            return f"{item.name} is called under no condition: the rerun renders it again, a loop"
        return f"the change ({what}) keeps the condition that renders {item.name}: a loop"
    return ""


def check_loops(app: App) -> Iterator[Found]:
    """FC11: a page whose run never ends."""
    todo: list[ast.AST] = [app.tree]
    for current in todo:  # the list grows as functions are found
        body = getattr(current, "body", [])
        for node in own_nodes(*body) if isinstance(body, list) else ():
            if isinstance(node, ast.While) and constant(node.test) and not has_end(app, node):
                message = (
                    f"the run of the page never ends, because of the loop in line {node.lineno}"
                )
                yield Found("FC11", node, message)
        for call in app.calls.get(current, []):
            for module, function in app.callees(call):
                if module is app and function not in todo and function not in app.by_function:
                    todo.append(function)


def has_end(app: App, loop: ast.While) -> bool:
    """Tell whether something in an endless loop ends it."""
    todo: list[tuple[ast.AST, bool]] = [(part, False) for part in loop.body]
    for node, is_inner in todo:  # the list grows as parts are found
        if isinstance(node, Function | ast.ClassDef):
            continue
        if isinstance(node, ast.Return | ast.Raise) or (
            isinstance(node, ast.Break) and not is_inner
        ):
            return True
        if isinstance(node, ast.Call) and app.dotted(node.func) in {*ENDS, "sys.exit"}:
            return True
        is_loop = isinstance(node, ast.For | ast.AsyncFor | ast.While)
        todo += [(part, is_inner or is_loop) for part in ast.iter_child_nodes(node)]
    return False
