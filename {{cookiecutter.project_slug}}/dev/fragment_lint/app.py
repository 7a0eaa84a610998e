"""What the rules need to know about Streamlit: fragments, widgets, clicks, session state."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from .model import (
    RUNS_ITS_FUNCTION,
    Binding,
    Callee,
    Definition,
    Function,
    Module,
    Origin,
    Part,
    Point,
    argument,
    children,
    constant,
    items,
    own_nodes,
    remember,
)

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
COMPONENTS = """
    audio_recorder_streamlit code_editor extra_streamlit_components st_aggrid st_keyup streamlit_ace
    streamlit_agraph streamlit_antd_components streamlit_calendar streamlit_card
    streamlit_cookies_manager streamlit_cropper streamlit_drawable_canvas streamlit_elements
    streamlit_feedback streamlit_flow streamlit_folium streamlit_image_coordinates
    streamlit_image_select streamlit_js_eval streamlit_mic_recorder streamlit_modal
    streamlit_monaco streamlit_navigation_bar streamlit_option_menu streamlit_plotly_events
    streamlit_quill streamlit_searchbox streamlit_shadcn_ui streamlit_sortables
    streamlit_star_rating streamlit_tags streamlit_toggle streamlit_tree_select
    streamlit_vertical_slider streamlit_webrtc
"""
COMPONENT_PACKAGES = set(COMPONENTS.split())  # their functions are widgets
COMPONENT_CLASSES = {"AgGrid", "CookieManager", "EncryptedCookieManager", "Modal"}
COMPONENT_MAKERS = {
    "streamlit.components.v1.declare_component",
    "streamlit.components.v2.component",
}
# Attributes of `st` that hold no widgets: `st.session_state.job.toggle()` is no finding.
NO_CONTAINERS = {"session_state", "query_params", "secrets", "connection", "context", "user"}
CALLBACKS = ("on_click", "on_change", "on_submit", "on_select")

# Methods that change a dictionary, such as st.session_state.
SETTERS = {"clear", "from_dict", "pop", "popitem", "setdefault", "update", "__setitem__"}
READERS = {"copy", "count", "get", "get_all", "index", "items", "keys", "to_dict", "values"}
STATES = {"streamlit.session_state": "", "streamlit.query_params": "query parameter "}
ANYTHING = "*"  # all keys, or keys that are not known
UNKNOWN = "?"  # not session state: what a function of another file changes
# What a change sets: the new value, where it is a constant; what is removed counts as None.
Changes = dict[str, ast.Constant | None]
REMOVED = ast.Constant(None)

SELF = {"self", "cls"}  # the parameter of a method that the call does not give
NEVER_NONE = {"int", "float", "str", "max", "min", "round", "abs"}
EQUALS, DIFFERS = ast.Eq | ast.Is, ast.NotEq | ast.IsNot
SIMPLE = ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete | ast.Expr
NO_TIMER = ast.Constant(None)  # the interval of a fragment without run_every
# What keeps a definition from module level.
BLOCKS = Function | ast.ClassDef | ast.If | ast.Match | ast.For | ast.AsyncFor | ast.While


@dataclass(frozen=True, eq=False)
class Fragment:
    """A fragment: where it is defined, and the function that it runs, if this file has it."""

    name: str
    node: ast.expr | ast.stmt
    function: Function | None
    timed: bool
    may_end: bool  # `run_every` can become None
    bound: int = 0  # how many parameters a partial binds


class App(Module):
    """A module of a Streamlit app."""

    @cached_property
    def fragments(self) -> list[Fragment]:
        """The fragments that this module makes."""
        return [*self._fragments()]

    @cached_property
    def by_function(self) -> dict[Function, Fragment]:
        """The fragments by the functions that they run."""
        return {item.function: item for item in self.fragments if item.function}

    @property
    def everywhere(self) -> "list[App]":
        """The module and those of the project that were read, but no tests: they are no pages."""
        found = [item for item in self.project.modules.values() if isinstance(item, App)]
        return [app for app in found if app is self or not app.path.name.startswith("test_")]

    def sites(self, function: Function) -> "list[tuple[App, ast.Call]]":
        """Return the calls of a function in all files."""
        return [(app, call) for app in self.everywhere for call in app.callers.get(function, [])]

    def set_anywhere(self, key: str) -> list[tuple[Function | None, ast.Constant | None]]:
        """Return where a key of the session state is changed in all files, and what it gets."""
        return [change for app in self.everywhere for change in app.changed.get(key, [])]

    # Fragments.

    @remember(None)
    def timer(self, node: Binding) -> ast.expr | None:
        """Return what a decorator does, if it makes fragments; it may be stored or built."""
        if not isinstance(node, ast.expr):
            return None
        if self.dotted(node) == "streamlit.fragment":
            return NO_TIMER
        match node:
            case ast.Call():
                maker = self.timer(node.func)
                if maker is None and self.dotted(node.func) == "functools.partial" and node.args:
                    maker = self.timer(node.args[0])
                elif maker is not None and self._target(node) is not None:
                    return None
                if maker is not None:
                    return self._timed(node, maker)
                for module, function in self.functions(node.func):
                    assert isinstance(module, App)
                    for value in module.returned(function):
                        if maker := module.timer(value):
                            passes_on = function.args.kwarg is not None
                            return self._timed(node, maker) if passes_on else maker
            case ast.Name() | ast.Attribute() | ast.Subscript():
                for bound in self.values(node):
                    if maker := self.timer(bound):
                        return maker
                for module, bound in self.imported(self.dotted(node)):
                    assert isinstance(module, App)
                    if maker := module.timer(bound):
                        return maker
                for module, function in self.functions(node):
                    assert isinstance(module, App)
                    if maker := module.wrapper(function):
                        return maker
            case ast.IfExp(body=body, orelse=orelse):
                return self.timer(body) or self.timer(orelse)
        return None

    def wrapper(self, function: Function) -> ast.expr | None:
        """Return what a decorator does that is a function, if it makes fragments."""
        for value in self.returned(function):
            if isinstance(value, ast.Call) and self.wraps_parameter(value, function):
                return self._timed(value, self.timer(value.func) or NO_TIMER)
            for inner in self.values(value) if isinstance(value, ast.Name) else ():
                if isinstance(inner, Definition) and self.runs_parameter(inner, function):
                    for decorator in inner.decorator_list:
                        if maker := self.timer(decorator):
                            return maker
        return None

    def runs_parameter(self, inner: Function, function: Function) -> bool:
        """Tell whether an inner function calls the first parameter of the function around it."""
        first = [item.arg for item in function.args.args[:1]]
        called = [getattr(call.func, "id", "") for call in self.calls.get(inner, [])]
        return bool(first) and first[0] in called

    def _timed(self, call: ast.Call, maker: ast.expr) -> ast.expr:
        """Return what `call` makes of a maker: it may give the interval, also by `**options`."""
        given = self.options(call, "run_every")
        return given[0] if given else maker

    def options(self, call: ast.Call, keyword: str, position: int | None = None) -> list[ast.expr]:
        """Return what may be given for an argument, also by `**options`."""
        found = [argument(call, keyword, position)]
        for item in call.keywords:
            for value in (item.value, *self.values(item.value)) if item.arg is None else ():
                if isinstance(value, ast.Dict):
                    pairs = zip(value.keys, value.values, strict=True)
                    found += [item for key, item in pairs if getattr(key, "value", 0) == keyword]
                elif isinstance(value, ast.Call):  # `dict(...)`
                    found.append(argument(value, keyword))
        return [item for item in found if item is not None]

    def wraps_parameter(self, call: ast.Call, function: Function) -> bool:
        """Tell whether `call` makes a fragment of the first parameter of `function`."""
        first = [item.arg for item in function.args.args[:1]]
        given = [getattr(item, "id", "") for item in call.args[:1]]
        return bool(first) and first == given and self.timer(call.func) is not None

    def _target(self, call: ast.Call) -> ast.expr | None:
        """Return the function that a call of st.fragment gets; `...` stands for options."""
        given = argument(call, "func", 0)
        return None if isinstance(given, ast.Constant) else given

    def _fragments(self) -> Iterator[Fragment]:
        for node in self.scopes:
            if isinstance(node, Definition):
                if (outer := self.owner(node)) and self.runs_parameter(node, outer):
                    continue  # it is in a decorator: what counts is where that is used
                for decorator in node.decorator_list:
                    if maker := self.timer(decorator):
                        yield self._fragment(node.name, node, node, maker)
            elif isinstance(node, ast.Call) and (target := self._target(node)):
                maker = self.timer(node.func)
                outer = self.owner(node)
                if maker is None or (outer and self.wraps_parameter(node, outer)):
                    continue  # the decorator that it is in is what counts
                maker = self._timed(node, maker)
                found = [item for item in self.functions(target) if item.module is self]
                parent = self.parents[node]  # `live = st.fragment(draw, run_every=1)`
                place = getattr(parent, "targets", [getattr(parent, "target", None)])[0]
                name = getattr(place, "id", getattr(target, "id", "a lambda"))
                bound = 0  # by a partial
                if isinstance(target, ast.Call):
                    bound = len(target.args) - 1 + len(target.keywords)
                yield self._fragment(name, node, found[0].function if found else None, maker, bound)

    def _fragment(
        self,
        name: str,
        node: ast.expr | ast.stmt,
        function: Function | None,
        maker: ast.expr,
        bound: int = 0,
    ) -> Fragment:
        kinds = self.intervals(maker)
        return Fragment(name, node, function, bool(kinds - {False}), kinds != {True}, bound)

    @remember(frozenset[bool | None]())
    def intervals(self, node: Binding) -> frozenset[bool | None]:
        """Return what an interval may be: True, a timer; False, none; None, not known."""
        parts: Sequence[Binding] = []
        match node:
            case ast.Constant(value=value):
                return frozenset([bool(value)])
            case ast.expr() if self.state_key(node):
                return frozenset([None])
            case ast.IfExp(body=body, orelse=orelse):
                parts = [body, orelse]
            case ast.BoolOp(op=op, values=values):
                parts = [*values, ast.Constant(None)] if isinstance(op, ast.And) else values[-1:]
            case ast.Call():
                name = self.builtin(node) or self.dotted(node.func)
                is_plain = name in NEVER_NONE or name.startswith("datetime.")
                found = [
                    item for callee in self.functions(node.func) for item in _interval_kinds(callee)
                ]
                return frozenset(found or [True if is_plain else None])
            case ast.Name() | ast.Attribute() | ast.Subscript():
                parts = self.values(node)
            case ast.arg():
                parts = [*self.given(node), *self.defaults(node)]
        kinds = frozenset(kind for item in parts for kind in self.intervals(item))
        return kinds or frozenset([True])

    def rendered(self, call: ast.Call) -> str:
        """Return the name of the fragment that a call renders, or an empty string."""
        made = call.func  # `st.fragment(draw)()`
        target = self._target(made) if isinstance(made, ast.Call) else None
        if target is not None and isinstance(made, ast.Call) and self.timer(made.func):
            return str(getattr(target, "id", "a lambda"))
        return next(filter(None, map(rendered_by, self.callees(call))), "")

    @cached_property
    def renders(self) -> dict[ast.AST, str]:
        """The functions that render a fragment when they run, with its name."""
        found: dict[ast.AST, str] = {key: item.name for key, item in self.by_function.items()}
        self.__dict__["renders"] = found  # modules may import each other
        for function, calls in self.calls.items():
            for callee in (callee for call in calls for callee in self.callees(call)):
                if callee.module is not self and (name := rendered_by(callee)):
                    found.setdefault(function, name)
        todo = [*found]
        for function in todo:  # the list grows as callers are found
            for call in self.callers.get(function, []):
                owner = self.owner(call)
                if owner and owner not in found and not self.is_dialog(owner):
                    found[owner] = found[function]
                    todo.append(owner)
        return found

    @cached_property
    def changed(self) -> dict[str, list[tuple[Function | None, ast.Constant | None]]]:
        """The keys of the session state that this module changes: where, and what they get."""
        loads = [node for node in self.scopes if isinstance(getattr(node, "ctx", None), ast.Load)]
        used = {getattr(node, "id", getattr(node, "attr", "")) for node in loads}
        found: dict[str, list[tuple[Function | None, ast.Constant | None]]] = {}
        for node in self.scopes:
            if isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
                for key, value in self.change(node, trust=False).items():
                    name = getattr(owner, "name", "") if (owner := self.owner(node)) else ""
                    if owner is None or name in used or name.startswith("__"):
                        found.setdefault(key, []).append((owner, value))
        return found

    def is_dialog(self, function: Function) -> bool:
        """Tell whether a function is a dialog, which stays open after the click that opened it."""
        makers = getattr(function, "decorator_list", [])
        parts = [item.func if isinstance(item, ast.Call) else item for item in makers]
        return any(self.dotted(item) == "streamlit.dialog" for item in parts)

    # Clicks.

    def guards(self, point: Point | None) -> Iterator[Point]:
        """Yield the conditions on a point of a function or module, innermost first."""
        point = point and point.guard
        while point:
            yield point
            point = point.before.guard if point.before else None

    def click(self, node: ast.AST, flags: bool = True) -> Point | None:
        """Return the condition that makes `node` run only in the run of a click, or None.

        A flag that is popped from the session state is true for one run, too.
        """
        function = node
        while True:
            if guard := self._click(self.points.get(function), flags):
                return guard
            outer = self.owner(function)
            if outer is None:
                return None
            function = outer
            while function not in self.points and function in self.parents:
                function = self.parents[function]

    def _click(self, point: Point | None, flags: bool) -> Point | None:
        passed: list[Point] = []
        answer: Point | None = None
        for guard in self.guards(point):
            key = ("click", flags, guard)
            if key in self.answers:
                answer = self.answers[key]
                break
            passed.append(guard)
            if guard.test is None:
                continue
            if self.needs_click(guard.test, guard.holds, flags) or (flags and self._is_flag(guard)):
                answer = guard
                break
        for guard in passed:
            self.answers["click", flags, guard] = answer
        return answer

    @remember(False)
    def needs_click(self, test: Binding, holds: bool = True, flags: bool = True) -> bool:
        """Tell whether `test` is true (false, if not `holds`) only in the run of a click."""
        if isinstance(test, ast.expr) and self.state_key(test) in self.button_keys:
            return holds
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.needs_click(operand, not holds, flags)
            case ast.BoolOp(op=op, values=values):
                # `clicked or state` also holds in later runs; `clicked and state` does not.
                answers = [self.needs_click(value, holds, flags) for value in values]
                return any(answers) if isinstance(op, ast.And) == holds else all(answers)
            case ast.Compare(left=left, ops=[op], comparators=[ast.Constant(value=value)]) if (
                value in (None, True, False) and isinstance(op, EQUALS | DIFFERS)
            ):
                return self.needs_click(
                    left, holds == (isinstance(op, EQUALS) == bool(value)), flags
                )
            case ast.Name() | ast.Attribute() | ast.Call() if results := self._bound_or_returned(
                test
            ):
                # `result = None`, and another value under a button.
                bound = [item for item in results if not _differs(item, holds)]
                return bool(bound) and all(
                    self.needs_click(item, holds, flags) or self._set_by_click(item, flags)
                    for item in bound
                )
            case ast.Call() if self.widget(test) in BUTTONS:
                return holds
            case ast.Call(func=ast.Attribute(value=owner, attr="pop")) if flags:
                if self.state_key(owner) == ANYTHING:
                    return holds
        if isinstance(test, Part):
            parts = self.unpacked(test)
            if parts and test.position is not None:
                return all(self.needs_click(part, holds, flags) for part in parts)
            test = test.whole
        if not isinstance(test, ast.AST) or isinstance(test, Function | ast.ClassDef):
            return False
        return holds and any(self.needs_click(part, True, flags) for part in children(test))

    @cached_property
    def button_keys(self) -> set[str]:
        """The keys of the buttons: their session state is true for one run, too."""
        keys = (argument(call, "key") for call in self.every_call if self.widget(call) in BUTTONS)
        return {str(key.value) for key in keys if isinstance(key, ast.Constant)}

    def _is_flag(self, guard: Point) -> bool:
        """Tell whether a branch clears the state on which it is: that is true for one run."""
        keys = self.deciding_keys(guard.test) if guard.test and guard.holds else None
        simple = [item for item in guard.branch if isinstance(item, SIMPLE)] if keys else []
        changes = [self.change(node, trust=False) for item in simple for node in own_nodes(item)]
        return any(is_false(item.get(key)) for item in changes for key in keys or ())

    def _bound_or_returned(self, node: ast.expr) -> Sequence[Binding]:
        """Return what a name is bound to, or what a function of this file returns."""
        return self.results(node) if isinstance(node, ast.Call) else self.values(node)

    def _set_by_click(self, value: Binding, flags: bool) -> bool:
        if not isinstance(value, ast.expr):
            return False
        return self._click(self.points.get(self.statement(value)), flags) is not None

    # Widgets.

    @remember(False)
    def is_container(self, node: Binding) -> bool:
        """Tell whether `node` is Streamlit or a container of it: `st.sidebar`, `columns[0]`."""
        if isinstance(node, Part):
            return self.is_container(node.whole)
        if not isinstance(node, ast.AST):
            return False
        if key := self.state_key(node):
            return any(map(self.is_container, self.kept.get(key, [])))
        if origin := self.dotted(node):
            top, _, rest = origin.partition(".")
            return top == "streamlit" and rest.partition(".")[0] not in NO_CONTAINERS
        match node:
            case ast.Attribute(value=owner):
                return any(map(self.is_container, self.values(node) or [owner]))
            case ast.Subscript(value=owner):
                return self.is_container(owner)
            case ast.Call(func=func, args=args):  # `st.columns(2)`, and `enumerate(columns)`
                if self.builtin(node) == "dict" or self.dotted(func) == "types.SimpleNamespace":
                    args = [*args, *(item.value for item in node.keywords)]
                return any(self.is_container(part) for part in (func, *args, *self.results(node)))
            case ast.Dict(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts):
                return any(map(self.is_container, parts))
            case ast.DictComp(value=part) | ast.ListComp(elt=part) | ast.GeneratorExp(elt=part):
                return self.is_container(part)
            case ast.Name():
                return any(map(self.is_container, self.values(node)))
            case ast.arg():  # a helper may get a container as an argument
                given = self.given(node)
                return any(map(self.is_container, given)) if given else node.arg not in SELF
        return False

    def defaults(self, parameter: ast.arg) -> list[ast.expr]:
        """Return the default of a parameter, if it has one."""
        arguments = self.parents[parameter]
        assert isinstance(arguments, ast.arguments)
        names = [*arguments.posonlyargs, *arguments.args]
        pairs = [
            *zip(reversed(names), reversed(arguments.defaults), strict=False),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        return [value for name, value in pairs if name is parameter and value is not None]

    def given(self, parameter: ast.arg) -> list[ast.expr]:
        """Return what the calls in this file pass for a parameter."""
        function = self.parents[self.parents[parameter]]
        return self.passed(parameter, self.callers.get(function, []))

    def passed(self, parameter: ast.arg, calls: Iterable[ast.Call]) -> list[ast.expr]:
        """Return what calls of its function pass for a parameter."""
        arguments = self.parents[parameter]
        function = self.parents[arguments]
        assert isinstance(arguments, ast.arguments)
        names = [*arguments.posonlyargs, *arguments.args]
        if isinstance(self.parents[function], ast.ClassDef) and names and names[0].arg in SELF:
            names = names[1:]
        position = names.index(parameter) if parameter in names else None
        values = (argument(call, parameter.arg, position) for call in calls)
        return [value for value in values if value is not None]

    def widget(self, call: ast.Call) -> str:
        """Return the name of the widget that `call` draws, on `st` or a container, or nothing."""
        if self.builtin(call) in RUNS_ITS_FUNCTION:  # `map(st.button, names)`
            return next(filter(None, map(self._widget_name, call.args)), "")
        name = self._widget_name(call.func)
        if name in SOMETIMES_WIDGETS:
            given = self.options(call, SOMETIMES_WIDGETS[name])
            return name if given and getattr(given[0], "value", "") != "ignore" else ""
        return name

    def _widget_name(self, func: ast.expr) -> str:
        """Return the name of the widget that a function may draw, or an empty string."""
        origin = self.dotted(func)
        package, _, name = origin.rpartition(".")
        name = name or str(getattr(func, "attr", ""))
        if package.partition(".")[0] in COMPONENT_PACKAGES:
            return name if name[:1].islower() or name in COMPONENT_CLASSES else ""
        if self._is_component(func):
            return str(getattr(func, "attr", getattr(func, "id", "")))
        if name not in ALWAYS_WIDGETS and name not in SOMETIMES_WIDGETS:
            return ""
        return name if self.is_container(getattr(func, "value", func)) else ""

    def _is_component(self, node: ast.AST) -> bool:
        return any(
            isinstance(item, ast.Call) and self.dotted(item.func) in COMPONENT_MAKERS
            for item in self.values(node)
        )

    @remember(False)
    def is_constant(self, value: Binding) -> bool:
        """Tell whether a value is the same in each run: literals, functions, names of them."""
        match value:
            case ast.Name():
                values = self.values(value)
                return len(values) == 1 and self.is_constant(values[0])
            case Part(whole=whole):
                return self.is_constant(whole)
            case Origin(dotted=dotted):
                return dotted.rpartition(".")[2].isupper()
            case (
                ast.Tuple() | ast.List() | ast.Dict() | ast.Set() | ast.UnaryOp() | ast.JoinedStr()
            ):
                return all(map(self.is_constant, children(value)))
        return isinstance(value, ast.Constant | Function)

    # Session state.

    @remember("")
    def state_key(self, node: Binding) -> str:
        """Return the key of the session state of which `node` is a part, or an empty string."""
        if isinstance(node, Part):
            node = node.whole
        if not isinstance(node, ast.expr):
            return ""
        origin = self.dotted(node)
        if origin in STATES:
            return ANYTHING
        for state, prefix in STATES.items():
            if origin.startswith(f"{state}."):
                return prefix + origin.removeprefix(f"{state}.").partition(".")[0]
        match node:
            case ast.Attribute(value=owner):
                return self.state_key(owner)
            case ast.Subscript(value=owner, slice=index):
                return self._key(owner, index)
            case ast.Call(func=ast.Attribute(value=owner, attr=name), args=args):
                if name in ("get", "pop", "setdefault", "get_all"):
                    return self._key(owner, args[0] if args else None)
            case ast.Call(func=ast.Name(id="getattr"), args=[owner, index, *_]):
                return self._key(owner, index)
            case ast.Name():
                found = (self.state_key(value) for value in self.values(node))
                return next(filter(None, found), "")
        return ""

    def _key(self, owner: ast.expr, index: ast.expr | None) -> str:
        key = self.state_key(owner)
        if key != ANYTHING:
            return key
        for value in [index, *(self.values(index) if isinstance(index, ast.Name) else [])]:
            if isinstance(value, ast.Constant):
                return f"{STATES.get(self.dotted(owner), '')}{value.value!s}"
        return ANYTHING

    @remember({})
    def changes(self, root: ast.AST, trust: bool = True) -> Changes:
        """Return what running `root` changes in the session state; `trust` calls of other files."""
        found: Changes = {}
        todo: list[tuple[App, ast.AST]] = [(self, node) for node in own_nodes(root)]
        seen: set[ast.AST] = set()
        for module, node in todo:  # the list grows as helpers are found
            found.update(module.change(node, trust))
            if isinstance(node, ast.Call):
                for callee in module.callees(node):
                    if callee.function not in seen and isinstance(callee.module, App):
                        seen.add(callee.function)
                        body = callee.function.body
                        parts = body if isinstance(body, list) else [body]
                        todo += [(callee.module, part) for part in own_nodes(*parts)]
        return found

    @cached_property
    def kept(self) -> dict[str, list[ast.expr]]:
        """The functions whose results assignments put into the session state, by key."""
        found: dict[str, list[ast.expr]] = {}
        for node in self.scopes:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                for key in filter(None, map(self.state_key, node.targets)):
                    found.setdefault(key, []).append(node.value.func)
        return found

    @cached_property
    def starts(self) -> list[tuple[int, Changes]]:
        """What each run of the page sets under no condition, with the line."""
        lines = [node for node in self.tree.body if isinstance(node, ast.Assign)]
        return [(node.lineno, found) for node in lines if (found := self.changes(node, False))]

    def change(self, node: ast.AST, trust: bool) -> Changes:
        """Return what one assignment or call changes in the session state."""
        match node:
            case ast.Attribute(value=owner, ctx=ctx) | ast.Subscript(value=owner, ctx=ctx):
                if isinstance(ctx, ast.Load) or not (key := self.state_key(node)):
                    return {}
                if self.state_key(owner) != ANYTHING:
                    return {key: None}  # a part of what the key holds
                if isinstance(ctx, ast.Del):
                    return {key: REMOVED}
                parent = self.parents[node]
                return {key: _constant(parent.value) if isinstance(parent, ast.Assign) else None}
            case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[owner, index, *rest]):
                if key := self.state_key(owner):
                    key = self._key(owner, index)
                    return {key: _constant(rest[0]) if rest else REMOVED}
                return {}
            case ast.Call(func=ast.Attribute(value=owner, attr=name)) if self.state_key(owner):
                return self._method_change(node, owner, name)
            case ast.Call():
                if self.dotted(node.func) == "streamlit.set_query_params":
                    return {ANYTHING: None}
                given = [*node.args, *(item.value for item in node.keywords)]
                is_plain = self.builtin(node) or self.dotted(node.func).startswith("streamlit.")
                if any(self.dotted(item) in STATES for item in given) and not is_plain:
                    return {ANYTHING: None}
                return {UNKNOWN: None} if trust and self.is_foreign(node) else {}
        return {}

    def _method_change(self, call: ast.Call, owner: ast.expr, name: str) -> Changes:
        key = self.state_key(owner)
        if key != ANYTHING or name not in SETTERS:
            return {} if key == ANYTHING or name in READERS else {key: None}
        if name in ("clear", "popitem"):
            return {ANYTHING: REMOVED}
        if name == "update" and not call.args:
            return {str(item.arg or ANYTHING): _constant(item.value) for item in call.keywords}
        if name in ("pop", "setdefault", "__setitem__") and call.args:
            value = REMOVED if name == "pop" else _constant(call.args[-1])
            return {self._key(owner, call.args[0]): value if name != "setdefault" else None}
        return {ANYTHING: None}

    def is_foreign(self, call: ast.Call) -> bool:
        """Tell whether a call runs a function, or a method, of another file of this project."""
        origin = self.dotted(call.func)
        if not origin and isinstance(call.func, ast.Attribute):
            made = [item for item in self.values(call.func.value) if isinstance(item, ast.Call)]
            return any(self.file_of(self.dotted(item.func)) for item in made)
        is_class = origin.rpartition(".")[2][:1].isupper()
        return bool(origin) and not is_class and self.file_of(origin) is not None

    def meaning(self, test: ast.expr) -> ast.expr:
        """Return what a name is bound to, or a function here returns, if that is one expression."""
        for _ in range(5):  # names may be circular
            values: Sequence[Binding] = []
            if isinstance(test, ast.Name | ast.Call) and not self.state_key(test):
                values = self._bound_or_returned(test)
            if len(values) != 1 or not isinstance(values[0], ast.expr):
                break
            test = values[0]
        return test

    @remember(None)
    def deciding_keys(self, test: Binding) -> set[str] | None:
        """Return the keys of the session state that decide `test`; None if other things do, too."""
        if isinstance(test, ast.expr) and (key := self.state_key(test)):
            return {key}
        if isinstance(test, ast.expr) and (meaning := self.meaning(test)) is not test:
            return self.deciding_keys(meaning)
        parts: Sequence[Binding]
        match test:
            case ast.Constant():
                return set()
            case ast.Compare(left=left, comparators=[right]) if self.dotted(right) in STATES:
                return {self._key(right, left)}
            case ast.Compare(left=left, comparators=comparators):
                parts = [left, *comparators]
            case ast.BoolOp(values=items) | ast.List(elts=items) | ast.Tuple(elts=items):
                parts = items
            case ast.UnaryOp(operand=operand) | ast.NamedExpr(value=operand):
                parts = [operand]
            case ast.Call(args=args) if self.builtin(test) in ("all", "any", "bool", "len"):
                parts = args
            case ast.Name(id="__name__"):
                return set()
            case _:
                return None
        found: set[str] = set()
        for part in parts:
            keys = self.deciding_keys(part)
            if keys is None:
                return None
            found |= keys
        return found

    def after(self, test: ast.expr, changes: Changes) -> bool | str:
        """Return what a condition is after `changes`: true, false, `same` as before, or `?`."""
        keys = self.deciding_keys(test)
        test = self.meaning(test)
        if keys is None:
            is_layout = isinstance(test, ast.Call) and not self.widget(test)
            is_layout = is_layout and self.is_container(test) and ANYTHING not in changes
            return "same" if is_layout else "?"  # `for tab in st.tabs(...)`
        if ANYTHING in keys or (keys and ANYTHING in changes):
            return "?"
        if not keys & changes.keys():
            return "same"
        value = changes[next(iter(keys))] if len(keys) == 1 else None
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                found = self.after(operand, changes)
                return not found if isinstance(found, bool) else found
            case ast.Compare(ops=[op], comparators=[ast.Constant(value=other)]) if value:
                if isinstance(op, EQUALS | DIFFERS):
                    return (value.value == other) == isinstance(op, EQUALS)
            case ast.Compare(ops=[op], comparators=[ast.Tuple() | ast.List() | ast.Set() as known]):
                others = [getattr(item, "value", None) for item in known.elts]
                if value and isinstance(op, ast.In | ast.NotIn):
                    return (value.value in others) == isinstance(op, ast.In)
            case ast.Compare(ops=[op], comparators=[right]) if (
                value and self.dotted(right) in STATES
            ):
                return isinstance(op, ast.In) == (value is not REMOVED)
            case ast.Attribute() | ast.Subscript() | ast.Call() | ast.Name() if value:
                return bool(value.value)
        return "?"

    def stays(self, call: ast.Call, changes: Changes, seen: set[ast.AST]) -> bool:
        """Tell whether a full rerun after `changes` runs `call` again, as far as is known."""
        for line, found in self.starts:
            if line < call.lineno:
                changes = changes | {key: found[key] for key in found.keys() & changes.keys()}
        for guard in self.guards(self.points.get(call)):
            parts: list[ast.expr | None] = [guard.test]
            match guard.test:
                case ast.BoolOp(op=op, values=values) if isinstance(op, ast.And) == guard.holds:
                    parts = [*values]  # each of them held
            after = {self.after(part, changes) if part else "?" for part in parts}
            if after - {"same", guard.holds}:
                return False
        if len(self.functions(call.func)) > 1:  # `PAGES[name]()`: one of them
            return False
        function = self.owner(call)
        if function is None or function in seen:
            return True
        seen.add(function)
        if self.is_dialog(function) or function in self.by_function:
            return False
        sites = self.sites(function)
        return bool(sites) and all(app.stays(item, changes, seen) for app, item in sites)


def is_false(value: ast.Constant | None) -> bool:
    """Tell whether a known new value counts as false."""
    return value is not None and not value.value


def _constant(node: ast.AST) -> ast.Constant | None:
    return node if isinstance(node, ast.Constant) else None


def rendered_by(callee: Callee) -> str:
    """Return the name of the fragment that running a function renders, or an empty string."""
    module, function = callee
    return module.renders.get(function, "") if isinstance(module, App) else ""


def _interval_kinds(callee: Callee) -> Iterator[bool | None]:
    """Yield what a function may return as an interval."""
    module, function = callee
    assert isinstance(module, App)
    for value in module.returned(function):
        yield from module.intervals(value)
    annotation = getattr(function, "returns", None)
    if annotation is not None and "None" in ast.unparse(annotation):
        yield False


def _differs(value: Binding, holds: bool) -> bool:
    """Tell whether a value is a constant, or empty, that is not what a condition needs."""
    known = constant(value) if isinstance(value, ast.AST) else None
    if isinstance(value, ast.List | ast.Tuple | ast.Dict) and not items(value):
        known = False
    return known is not None and known != holds
