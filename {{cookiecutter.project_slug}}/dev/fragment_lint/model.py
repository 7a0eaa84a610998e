"""What the rules need to know about a module: its names, its functions, and when a line runs.

A module is read once, in time that grows with its size: first the names of each scope, then the
lines in the order in which they run. Modules of the same project are read when a call leads there.
"""

import ast
import builtins
import os
import tokenize
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Definition = ast.FunctionDef | ast.AsyncFunctionDef
ENDINGS = {"streamlit.rerun", "streamlit.stop", "streamlit.switch_page", "sys.exit"}
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
TRIES = (ast.Try, getattr(ast, "TryStar", ast.Try))  # Python 3.10 has no except*
# They call the functions passed to them.
RUNS_ITS_FUNCTION = {"map", "filter", "sorted", "min", "max", "streamlit.Page"}
# What these return runs the function that is their first argument.
WRAPPERS = {"functools.partial", "functools.lru_cache", "functools.cache", "streamlit.fragment"}


class Origin(NamedTuple):
    """A name that an import binds: `st` is `streamlit`."""

    dotted: str


class Part(NamedTuple):
    """A name that is bound to a part of a value: a loop variable, an unpacked element."""

    whole: ast.expr
    position: int | None = None  # which element, where it is known


Binding = ast.AST | Origin | Part
PLAIN = (ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop)
UNBOUND: list[Binding] = []  # the values of a name that nothing binds


class Scope:
    """A module, class, function or comprehension, with what its names are bound to."""

    def __init__(self, node: ast.AST, outer: "Scope | None") -> None:
        """Start without names."""
        self.node, self.outer = node, outer
        self.names: dict[str, list[Binding]] = {}
        self.declared_outside: set[str] = set()  # global and nonlocal

    def bind(self, name: str, value: Binding) -> None:
        """Add a value that the name has at some time."""
        scope: Scope = self
        if not isinstance(value, Part):
            while isinstance(scope.node, Comprehension) and scope.outer:  # `:=`
                scope = scope.outer
        while name in scope.declared_outside and scope.outer:
            scope = scope.outer
        scope.names.setdefault(name, []).append(value)

    def lookup(self, name: str) -> list[Binding]:
        """Return the values of a name in the nearest scope that binds it."""
        scope: Scope | None = self
        while scope:
            is_visible = scope is self or not isinstance(scope.node, ast.ClassDef)
            if is_visible and name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return UNBOUND


class Point:
    """What is known when a line runs: a statement that ran or a condition, and what was before."""

    def __init__(
        self,
        before: "Point | None",
        step: ast.stmt | ast.expr | None = None,
        test: ast.expr | None = None,
        holds: bool = True,
        branch: Sequence[ast.stmt] = (),
    ) -> None:
        """Note a `step` that ran, or a condition; `test` is None if it is not an expression."""
        self.before, self.step = before, step
        self.test, self.holds, self.branch = test, holds, branch
        earlier = before.guard if before else None
        self.guard: Point | None = earlier if step else self  # the innermost condition


class Callee(NamedTuple):
    """A function that a call runs, and the module that has it."""

    module: "Module"
    function: Function


Answer = TypeVar("Answer")
Question = Callable[..., Answer]  # a method whose first argument is a node


def remember(default: Any) -> Callable[[Question[Answer]], Question[Answer]]:
    """Make a method answer once for each node.

    While a circular name is followed, the answer is `default`.
    """

    def decorate(method: Question[Answer]) -> Question[Answer]:
        @wraps(method)
        def answer(self: Any, node: Any, *options: Any) -> Answer:
            values = self.values(node) if isinstance(node, ast.Name) else None
            key = (method, id(values) if values else node, *options)
            if key not in self.answers:
                self.answers[key] = default
                self.answers[key] = method(self, node, *options)
            found: Answer = self.answers[key]
            return found

        return answer

    return decorate


class Project:
    """What was read of the files of a project, and which names its folders have."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.modules: dict[Path, Module | None] = {}
        self._names: dict[Path, frozenset[str]] = {}

    def names(self, folder: Path) -> frozenset[str]:
        """Return the names in a folder; none, if it cannot be read."""
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]


class Module:
    """A source file: its names, its calls in the order in which they run, its imports followed."""

    def __init__(self, source: str, filename: str, project: Project) -> None:
        """Read the source; raise SyntaxError if it cannot be parsed."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an invalid escape is not a finding
                self.tree = ast.parse(source, filename)
        except (ValueError, MemoryError) as error:  # a null byte, too many brackets
            raise SyntaxError(str(error) or "too complex") from error
        self.source, self.filename, self.project = source, filename, project
        self.path = Path(os.path.realpath(filename))
        self.parents: dict[ast.AST, ast.AST] = {}
        self.scopes: dict[ast.AST, Scope] = {}
        self.attributes: dict[tuple[ast.AST, str], list[Binding]] = {}  # of classes
        self.stars: list[str] = []
        self.top = Scope(self.tree, None)
        self.answers: dict[object, Any] = {}
        self._read_names()
        # In a snippet that binds no `st`, it is Streamlit.
        if not self.stars and not any("st" in scope.names for scope in set(self.scopes.values())):
            self.top.bind("st", Origin("streamlit"))

    @cached_property
    def order(self) -> "RunOrder":
        """The lines in the order in which they run: not needed for the names of an import."""
        return RunOrder(self)

    @property
    def points(self) -> "dict[ast.AST, Point | None]":
        """What is known when each statement and call runs."""
        return self.order.points

    @property
    def calls(self) -> dict[ast.AST, list[ast.Call]]:
        """The calls of each function, and of the module."""
        return self.order.calls

    @cached_property
    def every_call(self) -> list[ast.Call]:
        """The calls of this file."""
        return [call for calls in self.calls.values() for call in calls]

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the source, as Python counts them."""
        return self.source.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def column(self, line: int, offset: int) -> int:
        """Return the column of a place, from 1, in characters; Python counts bytes from 0."""
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        return len(text.encode()[:offset].decode(errors="replace")) + 1

    @cached_property
    def callers(self) -> dict[ast.AST, list[ast.Call]]:
        """The calls in this file of each function."""
        found: dict[ast.AST, list[ast.Call]] = {}
        for call in self.every_call:
            for callee in self.callees(call):
                found.setdefault(callee.function, []).append(call)
        return found

    # Names.

    def _read_names(self) -> None:
        todo: list[tuple[ast.AST, Scope]] = [(self.tree, self.top)]
        while todo:
            node, scope = todo.pop()
            self.scopes[node] = scope
            inner = scope
            self._bind(node, scope)
            if isinstance(node, Function | ast.ClassDef | Comprehension):
                inner = Scope(node, scope)
            body = getattr(node, "body", None) if inner is not scope else None
            if isinstance(node, Comprehension):
                body = children(node)
            inside = set(body if isinstance(body, list) else [body])
            parts = [
                (part, inner if part in inside or isinstance(part, ast.arguments) else scope)
                for part in children(node)
            ]
            for part, _ in parts:
                self.parents[part] = node
            todo += reversed(parts)

    def _bind(self, node: ast.AST, scope: Scope) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                scope.bind(node.name, node)
            case ast.arg(arg=name):
                # Defaults and annotations are evaluated outside; that makes no difference here.
                scope.bind(name, node)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                scope.declared_outside.update(names)
                if isinstance(node, ast.Global):
                    for name in names:
                        self.top.names.setdefault(name, [])
            case ast.Import(names=items):
                for item in items:
                    top = item.name.partition(".")[0]
                    scope.bind(item.asname or top, Origin(item.name if item.asname else top))
            case ast.ImportFrom(names=items):
                origin = "." * node.level + (f"{node.module}." if node.module else "")
                for item in items:
                    if item.name == "*":
                        self.stars.append(origin.rstrip("."))
                    else:
                        scope.bind(item.asname or item.name, Origin(origin + item.name))
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._bind_target(target, value, scope)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._bind_target(target, value, scope)
            case (
                ast.AugAssign(target=target, value=value)
                | ast.NamedExpr(target=target, value=value)
            ):
                self._bind_target(target, value, scope)
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                self._bind_target(node.target, Part(node.iter), scope)
            case ast.withitem(optional_vars=ast.expr() as target, context_expr=value):
                self._bind_target(target, value, scope)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                scope.bind(name, node)
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                scope.bind(name, node)
            case ast.Call(func=ast.Attribute(value=owner, attr=attr), args=args):
                # `clauses.append(text)`: the list holds the text.
                if attr in ("append", "extend", "insert") and args:
                    part = Part(args[-1]) if attr == "extend" else args[-1]
                    self._bind_part(owner, part, scope)

    def _bind_target(self, target: ast.expr, value: Binding, scope: Scope) -> None:
        match target:
            case ast.Name(id=name):
                scope.bind(name, value)
            case ast.Starred(value=inner):
                self._bind_target(inner, value, scope)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                for inner, part in zip(targets, _parts(value, targets), strict=True):
                    self._bind_target(inner, part, scope)
            case ast.Attribute():
                self._of_self(target, scope).append(value)
            case ast.Subscript(value=owner):
                self._bind_part(owner, value, scope)

    def _bind_part(self, owner: ast.expr, value: Binding, scope: Scope) -> None:
        """Add a value that a list or dictionary holds."""
        if isinstance(owner, ast.Attribute):
            self._of_self(owner, scope).append(value)
        elif isinstance(owner, ast.Name) and (values := scope.lookup(owner.id)):
            values.append(value)

    def _of_self(self, target: ast.Attribute, scope: Scope) -> list[Binding]:
        """Return the values of `self.name` in a method; of other attributes, a new list."""
        method, owner = scope.node, target.value
        if isinstance(method, Definition) and scope.outer and isinstance(owner, ast.Name):
            first = [*method.args.posonlyargs, *method.args.args][:1]
            if first and first[0].arg == owner.id:
                return self.attributes.setdefault((scope.outer.node, target.attr), [])
        return []

    def values(self, node: ast.AST) -> list[Binding]:
        """Return what a name, an attribute of a class of this file or an item may be bound to."""
        match node:
            case ast.Name(id=name):
                return self.scopes[node].lookup(name) or self._starred(name)
            case ast.Attribute(value=owner, attr=attr):
                for kind in self.classes(owner):
                    own = [*self.attributes.get((kind, attr), [])]
                    body = next((self.scopes[item] for item in kind.body), None)
                    for value in body.names.get(attr, []) if body else []:
                        own += self._property(value) or [value]
                    if own:
                        return own
            case ast.Subscript(value=owner, slice=index):
                return [
                    item for whole in (owner, *self.values(owner)) for item in items(whole, index)
                ]
        return []

    @remember(UNBOUND)
    def _starred(self, name: str) -> list[Binding]:
        """Return what star imports bind a name to; of modules that are not here, it is a guess."""
        others = []
        for star in reversed(self.stars):
            module, rest = self.follow(star)
            if module is None:
                others.append(star)
            elif not rest and (module.top.names.get(name) or module._starred(name)):
                return [Origin(f"{star}.{name}")]
        if not others or hasattr(builtins, name):
            return UNBOUND
        star = "streamlit" if "streamlit" in others else others[0]
        return [Origin(f"{star}.{name}")]

    def _property(self, value: Binding) -> list[ast.expr]:
        """Return what a property returns."""
        makers = value.decorator_list if isinstance(value, Definition) else []
        names = {getattr(item, "id", getattr(item, "attr", "")) for item in makers}
        is_property = isinstance(value, Definition) and names & {"property", "cached_property"}
        return self.returned(value) if is_property and isinstance(value, Definition) else []

    def unpacked(self, part: Part) -> list[Binding]:
        """Return what a part of a value may be, as far as literals and functions here say."""
        found: list[Binding] = []
        wholes: list[Binding] = [part.whole, *self.values(part.whole)]
        if isinstance(part.whole, ast.Call):
            wholes += self.results(part.whole)
        for whole in wholes:
            elements = items(whole)
            if part.position is not None and part.position < len(elements):
                elements = elements[part.position : part.position + 1]
            found += elements
        return found

    @remember([])
    def classes(self, node: ast.AST) -> list[ast.ClassDef]:
        """Return the class of this file that `node` is, or is an instance of, and its bases."""
        found: list[ast.ClassDef] = []
        if self.builtin(node) == "super":
            around = self.scopes[node].outer
            if around and isinstance(around.node, ast.ClassDef):
                return [kind for base in around.node.bases for kind in self.classes(base)]
        if isinstance(node, ast.Call):  # an instance, or `type(self)`
            is_type = self.builtin(node) == "type" and node.args
            return self.classes(node.args[0] if is_type else node.func)
        if isinstance(node, ast.Attribute) and node.attr == "__class__":
            return self.classes(node.value)
        for value in self.values(node) if isinstance(node, ast.Name | ast.Attribute) else []:
            if isinstance(value, ast.ClassDef):
                found.append(value)
            elif isinstance(value, ast.arg):
                if isinstance(value.annotation, ast.Name | ast.Attribute):
                    found += self.classes(value.annotation)
                method = self.parents.get(self.parents[value])
                owner = self.parents.get(method) if method else None
                arguments = self.parents[value]
                if isinstance(owner, ast.ClassDef) and isinstance(arguments, ast.arguments):
                    first = [*arguments.posonlyargs, *arguments.args][:1]
                    found += [owner] if value in first else []
            elif isinstance(value, ast.expr) and value is not node:
                found += self.classes(value)
        for kind in found[:]:
            for base in kind.bases:
                found += self.classes(base)
        return found

    @remember("")
    def dotted(self, node: ast.AST) -> str:
        """Return the dotted name of an imported object (`streamlit.rerun`), or an empty string."""
        match node:
            case (
                ast.Attribute(value=owner, attr=attr)
                | ast.Call(
                    func=ast.Name(id="getattr"), args=[owner, ast.Constant(value=str(attr)), *_]
                )
            ):
                name = self.dotted(owner)
                return self._dotted(Origin(f"{name}.{attr}")) if name else ""
            case ast.IfExp(body=body, orelse=orelse):
                return self.dotted(body) or self.dotted(orelse)
            case ast.BoolOp(values=parts):
                return next(filter(None, map(self.dotted, parts)), "")
            case ast.Name():
                return next(filter(None, map(self._dotted, self.values(node))), "")
        return ""

    @remember("")
    def _dotted(self, value: Binding) -> str:
        """Return the current name of an imported object, behind modules that pass it on."""
        if not isinstance(value, Origin):
            return self.dotted(value) if isinstance(value, ast.AST) else ""
        for module, bound in self.imported(value.dotted):
            name = module._dotted(bound)
            if name and not module.file_of(name):
                return name
        return value.dotted.replace("streamlit.experimental_", "streamlit.", 1)

    def builtin(self, node: ast.AST) -> str:
        """Return the name of the builtin function that a call calls, or an empty string."""
        func = node.func if isinstance(node, ast.Call) else None
        if not isinstance(func, ast.Name) or self.values(func) or not hasattr(builtins, func.id):
            return ""
        return func.id

    # Functions.

    def callees(self, call: ast.Call) -> list[Callee]:
        """Return the functions whose bodies a call runs."""
        found = [*self.functions(call.func)]
        if {self.builtin(call), self.dotted(call.func)} & RUNS_ITS_FUNCTION:
            given = [*call.args, *(item.value for item in call.keywords)]
            found += [item for value in given for item in self.functions(value)]
        return found

    @remember([])
    def functions(self, node: Binding) -> list[Callee]:
        """Return the functions that run when `node` is called."""
        if isinstance(node, Part):
            return []
        if isinstance(node, Function):
            return [Callee(self, node)]
        if isinstance(node, Origin):
            bound = self.imported(node.dotted)
            return [callee for module, value in bound for callee in module.functions(value)]
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
            found = [
                callee
                for value in self.values(node)
                if value is not node
                for callee in self.functions(value)
            ]
            return found or self.functions(Origin(self.dotted(node)))
        if isinstance(node, ast.Call) and self.returns_its_argument(node):
            return self.functions(node.args[0])
        return []

    def returns_its_argument(self, call: ast.Call) -> bool:
        """Tell whether calling what a call returns runs its first argument, as with `partial`."""
        func = call.func.func if isinstance(call.func, ast.Call) else call.func
        return bool(call.args) and self.dotted(func) in WRAPPERS

    @remember([])
    def imported(self, dotted: str) -> list[tuple["Module", Binding]]:
        """Return what an imported name is bound to in another file, which may import it itself."""
        module, name = self.follow(dotted)
        found: list[tuple[Module, Binding]] = []
        if module is not None and module is not self:
            for value in module.top.names.get(name) or module._starred(name):
                origins = module.imported(value.dotted) if isinstance(value, Origin) else []
                found += origins or [(module, value)]
        return found

    def reached(self, function: Function) -> Iterator[tuple["Module", ast.Call, ast.Call]]:
        """Yield the calls that run with a function: module, call, and the call here before it."""
        seen: set[ast.AST] = {function}
        todo: list[tuple[Module, Function, ast.Call | None]] = [(self, function, None)]
        for module, current, start in todo:  # the list grows as helpers are found
            for call in module.calls.get(current, []):
                here = start if start is not None and module is not self else call
                yield module, call, here
                for callee in module.callees(call):
                    if callee.function not in seen:
                        seen.add(callee.function)
                        todo.append((callee.module, callee.function, here))

    def statement(self, node: ast.AST) -> ast.AST:
        """Return the statement around a node."""
        while not isinstance(node, ast.stmt) and node in self.parents:
            node = self.parents[node]
        return node

    def owner(self, node: ast.AST) -> Function | None:
        """Return the function around a node, or None at module level."""
        scope: Scope | None = self.scopes[node]
        while scope and not isinstance(scope.node, Function):
            scope = scope.outer
        return scope.node if scope and isinstance(scope.node, Function) else None

    def returned(self, function: Function) -> list[ast.expr]:
        """Return the expressions that a function returns; a bare return is none."""
        if isinstance(function, ast.Lambda):
            return [function.body]
        nodes = own_nodes(*function.body)
        return [node.value for node in nodes if isinstance(node, ast.Return) and node.value]

    def results(self, call: ast.Call) -> list[ast.expr]:
        """Return what the functions of this file that `call` calls return."""
        found = (item for item in self.functions(call.func) if item.module is self)
        return [value for item in found for value in self.returned(item.function)]

    # Other files of the project.

    @remember(None)
    def file_of(self, dotted: str) -> tuple[Path, str] | None:
        """Return the file of this project that defines an imported name, and its name there."""
        name = dotted.lstrip(".")
        if not name or name.startswith("streamlit."):
            return None
        level, parts = len(dotted) - len(name), name.split(".")
        folders = self.path.parents
        for folder in folders[level - 1 : level] if level else folders:
            names = self.project.names(folder)
            is_here = parts[0] in names or f"{parts[0]}.py" in names
            for length in range(len(parts), 0, -1) if is_here else ():
                base = folder.joinpath(*parts[:length])
                for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
                    if os.path.isfile(path):
                        return Path(os.path.realpath(path)), ".".join(parts[length:])
            if not level and names & {".git", "pyproject.toml"}:
                return None  # the root of the project
        return None

    def follow(self, dotted: str) -> "tuple[Module | None, str]":
        """Return the module of the project that defines an imported name, and its name there."""
        path, name = (dotted and self.file_of(dotted)) or (None, "")
        if path is None:
            return None, ""
        modules = self.project.modules
        if path not in modules:
            modules[path] = None  # it may be no Python
            try:
                with tokenize.open(path) as file:
                    modules[path] = type(self)(file.read(), str(path), self.project)
            except (OSError, UnicodeDecodeError, SyntaxError, RecursionError):
                pass
        return modules[path], name


def _parts(value: Binding, targets: list[ast.expr]) -> list[Binding]:
    """Return what each of several targets of an assignment gets."""
    whole = value.whole if isinstance(value, Part) else value
    values = value.elts if isinstance(value, ast.Tuple | ast.List) else []
    is_starred = any(isinstance(item, ast.Starred) for item in (*values, *targets))
    if len(values) == len(targets) and not is_starred:
        return [*values]
    is_numbered = isinstance(value, Part) and called_name(whole) == "enumerate"
    if is_numbered and isinstance(whole, ast.Call) and whole.args and len(targets) == 2:
        return [ast.Constant(1), Part(whole.args[0])]
    if not isinstance(whole, ast.expr):
        return [value] * len(targets)
    is_plain = not isinstance(value, Part) and not is_starred
    return [Part(whole, index if is_plain else None) for index in range(len(targets))]


def items(whole: Binding, index: ast.expr | None = None) -> list[Binding]:
    """Return the items of a literal list or dictionary; with an `index`, that item, if known."""
    keys: list[object] = []
    values: list[Binding] = []
    match whole:
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            keys, values = [*range(len(elements))], [*elements]
        case ast.Dict(keys=names, values=elements):
            keys, values = [getattr(name, "value", None) for name in names], [*elements]
        case ast.Call(func=ast.Name(id="dict"), keywords=options):
            keys, values = [item.arg for item in options], [item.value for item in options]
    wanted = [index.value] if isinstance(index, ast.Constant) else []
    return [value for key, value in zip(keys, values, strict=True) if key in wanted] or values


class RunOrder:
    """Visits the lines of a module in the order in which they run; what never runs is left out."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.points: dict[ast.AST, Point | None] = {}
        self.calls: dict[ast.AST, list[ast.Call]] = {}
        self.exits = 0  # the returns, raises and ends seen so far
        self.breaks: list[bool] = []  # for each loop around, whether it has a break
        self.later: list[Function] = []
        self.current: list[ast.Call] = self.calls.setdefault(module.tree, [])
        self.block(module.tree.body, None)
        for function in self.later:  # the list grows as functions are found
            self.current = self.calls.setdefault(function, [])
            self.breaks = []
            if isinstance(function, ast.Lambda):
                self.expression(function.body, None)
            else:
                self.block(function.body, None)

    def block(self, statements: list[ast.stmt], point: Point | None) -> tuple[Point | None, bool]:
        """Visit statements; return the point after them, and whether it is reached."""
        for statement in statements:
            self.points[statement] = point
            point, goes_on = self.statement(statement, point)
            if not goes_on:
                return point, False
        return point, True

    def statement(self, node: ast.stmt, point: Point | None) -> tuple[Point | None, bool]:
        """Visit a statement; return the point after it, and whether it is reached."""
        exits = self.exits
        after = Point(point, step=node)
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for part in (*node.decorator_list, node.args):
                    self.expression(part, point)
                self.later.append(node)
            case ast.ClassDef():
                for part in (*node.decorator_list, *node.bases):
                    self.expression(part, point)
                self.block(node.body, point)
            case ast.If():
                return self.if_chain(node, point)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self.expression(item, point)
                calls = (getattr(item.context_expr, "func", node) for item in node.items)
                if "contextlib.suppress" in map(self.module.dotted, calls):  # no end of the run
                    return self.block(node.body, Point(point))[0], True
                return self.block(node.body, point)
            case ast.For() | ast.AsyncFor() | ast.While():
                return self.loop(node, point)
            case ast.Match():
                return self.match(node, point)
            case _ if isinstance(node, TRIES):
                return self.try_block(node, point)
            case ast.Assert():
                self.expression(node, point)
                return Point(after, None, node.test, True), True
            case _:
                self.expression(node, point)
                if isinstance(node, ast.Break) and self.breaks:
                    self.breaks[-1] = True
                if isinstance(node, ast.Break | ast.Continue):
                    return after, False
                call = node.value if isinstance(node, ast.Expr) else None
                is_end = isinstance(call, ast.Call) and self.module.dotted(call.func) in ENDINGS
                if is_end or isinstance(node, ast.Return | ast.Raise):
                    self.exits += 1
                    return after, False
        return self.after(point, node, exits), True

    def after(self, point: Point | None, node: ast.stmt, exits: int) -> Point:
        """Return the point after a block: it is a condition that no return in it was reached."""
        after = Point(point, step=node)
        return Point(after) if self.exits > exits else after

    def if_chain(self, node: ast.If, point: Point | None) -> tuple[Point | None, bool]:
        """Visit an if and its elifs, which the parser nests: a long chain must not recurse."""
        first, start, exits = node, point, self.exits
        ends: list[Point | None] = []  # the points at the end of each branch that goes on
        goes_on = True
        while True:
            self.expression(node.test, point)
            known = constant(node.test)
            if known is None or known:
                inside = point if known else Point(point, None, node.test, True, node.body)
                end, is_reached = self.block(node.body, inside)
                ends += [end] if is_reached else []
            if known:
                goes_on = False
                break
            point = point if known is False else Point(point, None, node.test, False, node.orelse)
            if len(node.orelse) != 1 or not isinstance(node.orelse[0], ast.If):
                break
            node = node.orelse[0]
            self.points[node] = point
        if goes_on:
            point, goes_on = self.block(node.orelse, point)
            ends += [point] if goes_on else []
        if len(ends) == 1:  # all others ended: what holds there holds from now on
            return ends[0], True
        return self.after(start, first, exits), bool(ends)

    def loop(
        self, node: ast.For | ast.AsyncFor | ast.While, point: Point | None
    ) -> tuple[Point | None, bool]:
        """Visit a loop; its else runs if there was no break."""
        exits, is_endless = self.exits, False
        inside = Point(point)
        if isinstance(node, ast.While):
            self.expression(node.test, point)
            is_endless = bool(constant(node.test))
            inside = Point(point, None, node.test, True, node.body)
        else:
            self.expression(node.iter, point)
            if isinstance(node.iter, ast.Name | ast.Attribute | ast.Call):
                inside = Point(point, None, node.iter, True, node.body)
        self.breaks.append(False)
        self.block(node.body, point if is_endless else inside)
        breaks = self.breaks.pop()
        after = self.after(point, node, exits)
        if is_endless:
            return Point(after), breaks
        end, goes_on = self.block(node.orelse, Point(after) if breaks else after)
        if goes_on:
            return (after if breaks else end), True
        return Point(after), breaks

    def match(self, node: ast.Match, point: Point | None) -> tuple[Point | None, bool]:
        """Visit a match: each case is a condition on the subject."""
        exits, ends, is_complete = self.exits, [], False
        other: bool | None = None  # what the subject counts as in a last `case _`
        self.expression(node.subject, point)
        for case in node.cases:
            is_default = isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None
            is_complete |= is_default and case.guard is None
            inside = Point(point)
            if not is_default:
                single = case.pattern if isinstance(case.pattern, ast.MatchSingleton) else None
                holds = single is None or bool(single.value)
                kinds = getattr(case.pattern, "patterns", [case.pattern])
                values = [kind.value for kind in kinds if isinstance(kind, ast.MatchValue)]
                test = ast.Compare(node.subject, [ast.In()], [ast.Tuple(values)])
                is_known = len(values) == len(kinds)
                inside = Point(point, None, test if is_known else node.subject, holds, case.body)
                if single and not case.guard:
                    other = not holds
            elif other is not None:
                inside = Point(point, None, node.subject, other, case.body)
            if case.guard:
                self.expression(case.guard, inside)
                inside = Point(inside, None, case.guard, True, case.body)
            end, is_reached = self.block(case.body, inside)
            ends += [end] if is_reached else []
        if is_complete and len(ends) == 1:
            return ends[0], True
        return self.after(point, node, exits), bool(ends) or not is_complete

    def try_block(self, node: ast.Try, point: Point | None) -> tuple[Point | None, bool]:
        """Visit a try: its handlers and its else are conditions."""
        exits = self.exits
        end, goes_on = self.block(node.body, point)
        ends = []
        if goes_on:
            if node.orelse:
                end, goes_on = self.block(node.orelse, Point(end))
            ends += [end] if goes_on else []
        for handler in node.handlers:
            end, is_reached = self.block(handler.body, Point(point))
            ends += [end] if is_reached else []
        after = self.after(point, node, exits)
        if node.finalbody:
            end, is_reached = self.block(node.finalbody, after)
            return end, is_reached and bool(ends)
        return after, bool(ends)

    def expression(self, root: ast.AST, point: Point | None) -> None:
        """Visit an expression: `a and b` runs b under the condition a."""
        todo: list[tuple[ast.AST, Point | None]] = [(root, point)]
        found = []
        while todo:
            node, point = todo.pop()
            match node:
                case ast.Lambda():
                    self.later.append(node)
                    todo.append((node.args, point))
                    continue
                case ast.BoolOp(op=op, values=values):
                    for value in values:
                        todo.append((value, point))
                        point = Point(point, None, value, isinstance(op, ast.And))
                    continue
                case ast.IfExp(test=test, body=body, orelse=orelse):
                    todo.append((test, point))
                    todo.append((body, Point(point, None, test, True)))
                    todo.append((orelse, Point(point, None, test, False)))
                    continue
                case ast.Tuple(elts=parts) | ast.List(elts=parts):
                    for part in parts:
                        todo.append((part, point))
                        if isinstance(part, ast.Call):
                            point = Point(point, step=part)
                    continue
                case ast.Call():
                    self.points[node] = point
                    found.append(node)
            todo += [(part, point) for part in children(node)]
        self.current += sorted(found, key=lambda call: (call.lineno, call.col_offset))


def constant(node: ast.AST) -> bool | None:
    """Tell whether a constant is true or false; None for what is no constant."""
    return bool(node.value) if isinstance(node, ast.Constant) else None


def children(node: ast.AST) -> list[ast.AST]:
    """Return the parts of a node, but for operators and contexts."""
    return [part for part in ast.iter_child_nodes(node) if not isinstance(part, PLAIN)]


def own_nodes(*roots: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run with `roots`: not the bodies of functions and classes in them."""
    todo = [*reversed(roots)]
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, Function | ast.ClassDef):
            todo += reversed(children(node))


def called_name(node: object) -> str:
    """Return the last name of what is called: `button` of `st.sidebar.button(...)`."""
    func = getattr(node, "func", None)
    return str(getattr(func, "attr", getattr(func, "id", "")))


def argument(call: ast.Call, keyword: str, position: int | None = None) -> ast.expr | None:
    """Return an argument of `call` by position, where one is given, or by keyword."""
    if position is not None and len(call.args) > position:
        return call.args[position]
    return next((item.value for item in call.keywords if item.arg == keyword), None)
