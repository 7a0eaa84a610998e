"""The checks: what each rule reports, and where."""

import ast
import builtins
from collections.abc import Iterator
from typing import NamedTuple

from .app import (
    ANYTHING,
    BLOCKS,
    CALLBACKS,
    REMOVED,
    SELF,
    UNKNOWN,
    App,
    Fragment,
    is_false,
    rendered_by,
)
from .model import (
    ENDINGS,
    Binding,
    Callee,
    Function,
    Part,
    Point,
    called_name,
    children,
    constant,
    own_nodes,
)
from .rules import ADVICE, WARNING
from .sql import sql_texts

ENDS = ENDINGS - {"sys.exit"}  # of a timer, or of one run of it
# Modules whose values are the same for all sessions.
STATIC_MODULES = {"importlib", "os", "packaging", "platform", "sys", "typing"}
# The first word of the names of functions that load data.
LOADERS = """
    load read get fetch fetchall fetchone query poll list listdir find select compute now utcnow
    today
"""
CHECK_NAME = "check the name against a list of allowed names"  # what FC08 says about names
ENDLESS = {"itertools.count", "itertools.cycle", "itertools.repeat"}


class Found(NamedTuple):
    """What a rule reports: where, and why."""

    rule: str
    node: ast.expr | ast.stmt
    message: str
    severity: str = ""  # that of the rule, if it is empty
    fix: str = ""  # as above


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
    rendered = (callee for call in app.every_call for callee in app.callees(call))
    if any(item.timed for item in app.fragments) or any(map(timed, rendered)):
        yield from check_loops(app)
        yield from check_dialogs(app)
    sql = sql_texts(app)
    for text, how, name in sql.findings():
        if sql.is_identifier(text):
            message = f"{how} puts a name into the SQL that {name}() runs"
            yield Found("FC08", text, message, WARNING, CHECK_NAME)
        else:
            yield Found("FC08", text, f"{how} puts values into the SQL that {name}() runs")


def check_places(app: App) -> Iterator[Found]:
    """FC01 and FC02: where fragments are defined, and where they are called."""
    for item in app.fragments:
        message = f"the fragment {item.name} is defined"
        if app.click(item.node):
            what = "under a button, which is true for one run only"
            yield Found("FC01", item.node, f"{message} {what}")
        elif getattr(app.parents[item.node], "func", None) is item.node:
            continue  # `st.fragment(draw, run_every=1)()` is more a call than a definition
        elif item.timed and (line := block_around(app, item.node)):
            what = f"in the block of line {line}, not at module level"
            yield Found("FC01", item.node, f"{message} {what}", ADVICE)
    rendered = [
        (call, name, app.click(call)) for call in app.every_call if (name := app.rendered(call))
    ]
    later = {name for _, name, guard in rendered if guard is None}
    for call, name, guard in rendered:
        if guard is None:
            continue
        keeps = name in later and any(app.changes(item, False) for item in guard.branch)
        if not keeps:
            message = (
                f"{name} is rendered only in the run of a click; the next full rerun removes it"
            )
            yield Found("FC02", call, message)


def check_dialogs(app: App) -> Iterator[Found]:
    """FC12: a dialog that only a click opens, on a page that a timed fragment reruns."""
    message = "the dialog is opened only in the run of a click; the next full rerun closes it"
    for call in app.every_call:
        own = [callee.function for callee in app.callees(call) if callee.module is app]
        if app.click(call) and any(map(app.is_dialog, own)):
            yield Found("FC12", call, message)


def block_around(app: App, node: ast.AST) -> int:
    """Return the line of the block that keeps `node` from module level, or 0."""
    while node is not app.tree:
        node = app.parents[node]
        if isinstance(node, BLOCKS) and not (
            isinstance(node, ast.If) and is_static(app, node.test)
        ):
            return int(node.lineno)
    return 0


def is_static(app: App, test: ast.expr) -> bool:
    """Tell whether the program decides on a condition, as by a version: no session does."""
    todo: list[object] = [test]
    for node in todo:  # the list grows as names are followed
        match node:
            case ast.Attribute() | ast.Name() if origin := app.dotted(node):
                is_version = origin == "streamlit" or origin.startswith("streamlit.__version__")
                if origin.partition(".")[0] not in STATIC_MODULES and not is_version:
                    return False
            case ast.Name(id=name):
                values = app.values(node)
                is_known = name.startswith("__") or hasattr(builtins, name)
                if not all(isinstance(item, ast.expr) for item in values) or not (
                    values or is_known
                ):
                    return False
                todo += [item for item in values if item not in todo]
            case ast.Lambda():
                return False
            case ast.AST():
                todo += children(node)
    return True


def check_callbacks(app: App) -> Iterator[Found]:
    """FC02: a fragment that a callback renders."""
    for call in filter(app.widget, app.every_call):
        given = [*call.args, *(item for name in CALLBACKS for item in app.options(call, name))]
        for value in given:
            for name in filter(None, map(rendered_by, app.functions(value))):
                yield Found("FC02", value, f"the callback renders {name} for one run only")


def check_widgets(app: App, item: Fragment, function: Function) -> Iterator[Found]:
    """FC03 and FC10: what the timed fragment draws again at each tick."""
    for module, call, here in app.reached(function):
        if isinstance(module, App):
            if name := module.widget(call):
                place = "" if module is app else f" ({module.filename}:{call.lineno})"
                message = f"every tick of {item.name} draws the widget {name} again"
                yield Found("FC03", here, message + place)
            for callee in module.callees(call):
                inner = timed(callee)
                if inner and callee.function is not function:
                    message = f"every tick of {item.name} renders {inner.name}, which has a timer"
                    yield Found("FC10", here, message)


def timed(callee: Callee) -> Fragment | None:
    """Return the timed fragment that a function is, or nothing."""
    module, function = callee
    item = module.by_function.get(function) if isinstance(module, App) else None
    return item if item and item.timed else None


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
        message = f"{item.name} never stops: no tick reaches a full st.rerun() or st.switch_page()"
        yield Found("FC04", item.node, message)
    elif ends.keys() == {"streamlit.stop"}:
        message = (
            f"st.stop() is the only end of {item.name}: it ends one run, the browser's timer goes "
            "on (measured on Streamlit 1.67)"
        )
        yield Found("FC05", ends["streamlit.stop"], message)


def is_ended_by_the_page(app: App, function: Function) -> bool:
    """Tell whether a widget, or state that the page clears, decides on each call of a fragment."""
    sites = app.sites(function)
    inside = {function, *(module.owner(call) for module, call, _ in app.reached(function))}
    for module, call in sites:
        tests = [guard.test for guard in module.guards(module.points.get(call)) if guard.test]
        keys = {key for test in tests for key in module.deciding_keys(test) or ()}
        changes = [change for key in keys for change in app.set_anywhere(key)]
        is_cleared = any(is_false(value) and owner not in inside for owner, value in changes)
        if not is_cleared and not any(is_switch(module, test) for test in tests):
            return False
    return bool(sites)


def is_switch(app: App, test: ast.expr) -> bool:
    """Tell whether a condition depends on a widget that keeps its value, such as a toggle."""
    nodes = [*own_nodes(test)]
    for node in nodes[:]:
        for value in app.values(node) if isinstance(node, ast.Name) else ():
            root = value.whole if isinstance(value, Part) else value
            nodes += own_nodes(root) if isinstance(root, ast.AST) else ()
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    return any(app.widget(call) and not app.needs_click(call) for call in calls)


def wrong_scope(app: App, call: ast.Call) -> str:
    """Return the scope of a rerun, as written, if it is not the app."""
    todo: list[Binding] = []
    if app.dotted(call.func) == "streamlit.rerun":
        todo += app.options(call, "scope", 0)
    for scope in todo:  # the list grows as names are followed
        match scope:
            case ast.Name() if len(values := app.values(scope)) == 1 and values[0] not in todo:
                todo += values
            case ast.IfExp(body=body, orelse=orelse):
                todo += [body, orelse]
            case ast.List() | ast.Tuple():
                return ast.unparse(scope)
            case ast.Constant(value=value) if value != "app":
                return repr(value)
    return ""


def check_frozen(app: App, item: Fragment, function: Function) -> Iterator[Found]:
    """FC07: parameters, and data that is loaded once for each full rerun."""
    names = [node for node in ast.walk(function.args) if isinstance(node, ast.arg)][item.bound :]
    sites = app.sites(function) if item.node is function else []
    given = [(app, value) for name in names for value in app.defaults(name)]
    for module, call in sites:
        given += [(module, value) for value in (*call.args, *(k.value for k in call.keywords))]
    is_method = isinstance(app.parents[function], ast.ClassDef) and any(
        item.arg in SELF for item in names[:1]
    )
    is_known = bool(sites) and not is_method
    are_constant = is_known and all(module.is_constant(value) for module, value in given)
    if names and not are_constant:
        arguments = ", ".join(node.arg for node in names)
        message = f"the arguments of {item.name} ({arguments}) freeze until the next full rerun"
        yield Found("FC07", item.node, message)
    for call in app.calls.get(function, []):
        if isinstance(call.func, ast.Attribute | ast.Name) and app.is_container(call.func):
            for value in (*call.args, *(option.value for option in call.keywords)):
                for name in drawn(app, value):
                    if is_snapshot(app, name, function):
                        message = (
                            f"{item.name} draws {name.id}, which is loaded only in a full rerun"
                        )
                        yield Found("FC07", name, message, ADVICE)


def drawn(app: App, value: ast.expr) -> Iterator[ast.Name]:
    """Yield the names of the data that a call draws: not what methods and functions return."""
    todo: list[ast.AST] = [value]
    for node in todo:  # the list grows as parts are found
        if isinstance(node, ast.Name):
            yield node
        elif isinstance(node, ast.Call):
            todo += node.args if app.builtin(node) else []
        elif not isinstance(node, ast.Lambda | ast.Attribute):  # an attribute is read at each tick
            todo += children(node)


def is_snapshot(app: App, name: ast.Name, function: Function) -> bool:
    """Tell whether a name is bound, outside of a function, to data that a call loaded."""
    todo, seen = [name], {name}
    for item in todo:  # the list grows as names are followed: `top = rows[:10]`
        values = [value for value in app.values(item) if isinstance(value, ast.expr)]
        calls = [value for value in values if isinstance(value, ast.Call)]
        inner = [] if calls else [part for value in values for part in drawn(app, value)]
        todo += [part for part in inner if part not in seen]
        seen |= {*inner}
        if calls and all(
            called_name(value).lower().lstrip("_").partition("_")[0] in LOADERS.split()
            and app.owner(value) is not function
            and not app.dotted(value.func).startswith("streamlit.")
            and not app.state_key(value)
            for value in calls
        ):
            return True
    return False


class Way(NamedTuple):
    """A way of a timed fragment into a function: what is known when the function starts."""

    module: App
    function: Function
    here: ast.Call | None = None  # the call in the fragment's file that led to another file
    is_guarded: bool = False  # there was a condition
    keys: frozenset[str] = frozenset()  # of the session state, which the conditions read
    changes: tuple[tuple[str, ast.Constant | None], ...] = ()  # after the first condition


def check_reruns(app: App, item: Fragment, function: Function) -> Iterator[Found]:
    """FC06: the conditions of each rerun in the timed fragment and its helpers."""
    todo = [Way(app, function)]
    seen = {*todo}
    for way in todo:  # the list grows as helpers are found
        module = way.module
        for call in module.calls.get(way.function, []):
            is_rerun = module.dotted(call.func) == "streamlit.rerun"
            callees = module.callees(call)
            if not callees and not is_rerun:
                continue
            here = call if module is app else way.here
            now = follow_points(way, call)._replace(here=here)
            for callee in callees:
                assert isinstance(callee.module, App)
                step = now._replace(module=callee.module, function=callee.function)
                if step not in seen:
                    seen.add(step)
                    todo.append(step)
            if is_rerun and here and (reason := why_loop(app, item, call, now)):
                place = "" if module is app else f" ({module.filename}:{call.lineno})"
                yield Found("FC06", here, reason + place)


def follow_points(way: Way, call: ast.Call) -> Way:
    """Return what is known when `call` runs, after the conditions and statements before it."""
    module, is_guarded, keys, changes = way.module, way.is_guarded, {*way.keys}, dict(way.changes)
    for point in points_before(module, call):
        if point.step is not None:
            if is_guarded:
                changes |= module.changes(point.step)
            continue
        is_guarded = True
        if point.test is not None:
            changes |= module.changes(point.test, False)
            reads = module.deciding_keys(point.test)
            keys |= reads or state_in(module, point.test)
            if reads and not point.holds and len(reads) == 1:
                changes |= dict.fromkeys(reads, REMOVED)  # it is cleared already
    known = tuple(sorted(changes.items(), key=lambda change: change[0]))
    return way._replace(is_guarded=is_guarded, keys=frozenset(keys), changes=known)


def points_before(app: App, node: ast.AST) -> list[Point]:
    """Return the conditions on a call and the statements before it, in order."""
    found: list[Point] = []
    point = app.points.get(node)
    while point:
        found.append(point)
        point = point.before
    return found[::-1]


def state_in(app: App, test: ast.expr) -> set[str]:
    """Return the keys of the session state in a condition that other things decide, too."""
    nodes = (node for node in own_nodes(test) if isinstance(node, ast.expr))
    return {key for key in map(app.state_key, nodes) if key}


def why_loop(app: App, item: Fragment, call: ast.Call, way: Way) -> str:
    """Return why a rerun of a timed fragment is a mistake, or an empty string."""
    changes = dict(way.changes)
    is_click = way.module.click(call, flags=False) is not None
    if scope := wrong_scope(way.module, call):
        is_keys = not scope.startswith("'")
        if is_click and not is_keys:
            return ""  # a click in a fragment reruns the fragment, where the scope is legal
        return f"st.rerun(scope={scope}) raises in a full rerun, and does not end the timer"
    if is_click:
        return ""
    if not way.is_guarded:
        return f"every tick of {item.name} reruns the app, which renders it again: a loop"
    sites = app.sites(item.function) if item.function and not item.may_end else []
    stays = all(module.stays(site, changes, set()) for module, site in sites)
    if not changes:
        set_by_page = [value for key in way.keys for _, value in app.set_anywhere(key)]
        # The rerun itself changes the condition, or what is no session state decides.
        if not stays or any(value is None for value in set_by_page):
            return ""
        return f"no change of session state before it: the rerun renders {item.name} again"
    if UNKNOWN in changes or not sites or way.keys:
        return ""
    if stays:
        what = ", ".join(sorted(changes)).replace("*", "session state")
        if not any([*module.guards(module.points.get(site))] for module, site in sites):
            return f"{item.name} is called under no condition: the rerun renders it again, a loop"
        return f"the change ({what}) leaves the condition for {item.name} true: a loop"
    return ""


def check_loops(app: App) -> Iterator[Found]:
    """FC11: a page whose run never ends."""
    todo: list[ast.AST] = [app.tree]
    seen = {*todo}
    for current in todo:  # the list grows as functions are found
        body = getattr(current, "body", [])
        for node in own_nodes(*body) if isinstance(body, list) else ():
            if isinstance(node, ast.While | ast.For) and is_endless(app, node):
                message = "this loop never ends, so neither does the run of the page"
                yield Found("FC11", node, message)
        for call in app.calls.get(current, []):
            for module, function in app.callees(call):
                if module is app and function not in seen:
                    seen.add(function)
                    todo.append(function)


def is_endless(app: App, loop: ast.While | ast.For) -> bool:
    """Tell whether a loop never ends: by its condition or iterator, and by what is in it."""
    if isinstance(loop, ast.While):
        is_endless = is_always_true(app, loop.test) or keeps_state(app, loop)
        return is_endless and not has_end(app, loop)
    source = loop.iter
    while isinstance(source, ast.Call) and app.builtin(source) == "enumerate" and source.args:
        source = source.args[0]
    if not isinstance(source, ast.Call):
        return False
    is_endless = app.dotted(source.func) in ENDLESS
    is_counted = called_name(source) == "repeat" and len(source.args) + len(source.keywords) > 1
    return is_endless and not is_counted and not has_end(app, loop)


def keeps_state(app: App, loop: ast.While) -> bool:
    """Tell whether a loop runs on session state, a constant that nothing in the loop changes."""
    keys = app.deciding_keys(loop.test) or set()
    changes = {key for part in loop.body for key in app.changes(part)}
    values = [value for key in keys for _, value in app.changed.get(key, [(None, None)])]
    return bool(values) and all(values) and not changes & {*keys, ANYTHING, UNKNOWN}


def is_always_true(app: App, test: ast.expr) -> bool:
    """Tell whether a condition holds for ever: a constant, or a name that is never another."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=ast.Constant(value=value)):
            return not value
        case ast.Name() if values := app.values(test):
            return all(isinstance(item, ast.Constant) and item.value for item in values)
    return bool(constant(test))


def has_end(app: App, loop: ast.While | ast.For) -> bool:
    """Tell whether something in an endless loop ends it."""
    todo: list[tuple[ast.AST, bool]] = [(part, False) for part in loop.body]
    for node, is_inner in todo:  # the list grows as parts are found
        if isinstance(node, Function | ast.ClassDef):
            continue
        if isinstance(node, ast.Return | ast.Raise | ast.Yield | ast.YieldFrom) or (
            isinstance(node, ast.Break) and not is_inner
        ):
            return True
        if isinstance(node, ast.Call):
            if app.dotted(node.func) in ENDINGS or app.builtin(node) in ("exit", "quit"):
                return True
            for callee in app.callees(node):
                for module, call, _ in callee.module.reached(callee.function):
                    if module.dotted(call.func) in ENDINGS:
                        return True
        is_loop = isinstance(node, ast.For | ast.AsyncFor | ast.While)
        todo += [(part, is_inner or is_loop) for part in children(node)]
    return False
