"""FC08: values that are put into the text of SQL, instead of bound as parameters."""

import ast
import re
from collections.abc import Iterator, Sequence
from itertools import islice

from .app import App
from .model import Binding, Function, Origin, Part, argument, called_name, children, items, remember

# What runs SQL, with the names that its first argument may have. These get SQL only:
SQL_ONLY = {"executemany", "executescript", "read_sql", "read_sql_query"}
NAMES = """
    fetch fetchrow fetchval
    command copy_expert exec_driver_sql execute execute_async execute_query execute_sql
    execute_string fetch_all fetch_one query query_df query_arrow raw raw_sql read_database
    run_query run_sql scalar scalars sql
"""
RUNNERS = SQL_ONLY.union(NAMES.split())
# What gets SQL only from these names: others have an `execute`, too.
CONNECTIONS = {"con", "conn", "connection", "cur", "cursor", "db", "engine", "session", "tx"}
KEYWORDS = ("sql", "query", "statement", "operation", "command", "sql_script")
TEXT_WRAPPERS = {"SQL", "cleandoc", "dedent", "text"}  # they pass their text through
SAME_TEXT = {"strip", "lstrip", "rstrip", "lower", "upper", "format", "replace", "join"}
TEMPLATES = {"substitute", "safe_substitute"}  # of string.Template
NUMBERS = {"int", "float", "len", "bool", "range", "abs", "round", "hash"}
# What these return consists of parts of what they get.
SAME_PARTS = {"str", "enumerate", "list", "tuple", "sorted", "zip", "reversed", "set", "frozenset"}
SAME_PARTS |= {"min", "max", "sum", "dict"}
NUMBER_WIDGETS = {"number_input", "slider", "checkbox", "toggle", "date_input", "time_input"}
QUOTES = {"quote_ident", "quote_identifier", "quote_name", "quoted_name"}  # of SQL libraries
CHOICES = {"selectbox", "radio", "pills", "segmented_control", "select_slider"}
# What the environment and these modules say comes from no viewer.
SAFE = ("os.environ", "os.getenv", "streamlit.secrets", "uuid.", "datetime.", "time.", "psycopg")
CHECKS = {"isidentifier", "isalnum", "isalpha", "isdigit", "isdecimal", "match", "fullmatch"}
NEAREST = 50  # conditions on a line that are looked at
VALUE = "{}"  # stands for a value in the shape of a text
MARK = re.escape(VALUE)
OBJECTS = (
    "TABLE|VIEW|INDEX|SCHEMA|DATABASE|FUNCTION|PROCEDURE|ROLE|USER|STAGE|WAREHOUSE|TASK|STREAM"
    "|TRIGGER|SEQUENCE|TYPE|EXTENSION|PIPE|SHARE|FILE FORMAT|COLUMN|POLICY|TAG|SECRET|MACRO"
)
SQL = re.compile(
    rf"""(\s|\(|--[^\n]*\n|\#[^\n]*\n|/\*.*?\*/)*(
    (?-i:SELECT)\s | SELECT\s.*\bFROM\b | VALUES\s*\(
    | WITH\s+(RECURSIVE\s+)?\S+\s*(\([^)]*\)\s*)?AS\s*(NOT\s+)?(MATERIALIZED\s*)?\(
    | FROM\s+\S+\s+SELECT\b
    | INSERT\s+(OR\s+\w+\s+|IGNORE\s+)?(INTO|OVERWRITE)\b | REPLACE\s+INTO\b | DELETE\s+FROM\b
    | UPDATE\s+\S+(\s+\S+)?\s+SET\b | MERGE\s+INTO\b | TRUNCATE\s | CALL\s+[^\s(]+\s*\(
    | (CREATE|ALTER|DROP)\s+([A-Z]+\s+)??([A-Z]+\s+)??([A-Z]+\s+)??({OBJECTS})\b
    | DROP\s+{MARK} | UNDROP\s
    | EXEC(UTE)?\s+(IMMEDIATE\s|[\w.]+\s+@) | EXPLAIN\s+(ANALYZE\s+)?(SELECT|INSERT|UPDATE|DELETE)
    | SHOW\s+([A-Z]+\s+)??([A-Z]+\s+)??(
        TABLES|COLUMNS|VIEWS|SCHEMAS|DATABASES|OBJECTS|PARAMETERS|TASKS|STAGES|WAREHOUSES|ROLES|USERS|GRANTS|FUNCTIONS|PROCEDURES|INDEX|CREATE|STREAMS)\b
    | (DESC|DESCRIBE)\s+({OBJECTS})\b | USE\s+({OBJECTS})\b | GRANT\s.*\sTO\b | REVOKE\s.*\sFROM\b
    | COPY\s+(INTO\b|\S+\s+(FROM|TO)\b) | COMMENT\s+ON\b
    | PRAGMA\s | ATTACH\s | ANALYZE\s+TABLE\b | LOCK\s+TABLE\b | LISTEN\s | NOTIFY\s
    | VACUUM\s+[^\s]+\s*(;|$) | REFRESH\s+MATERIALIZED\s | REINDEX\s | KILL\s+\S+\s*$ | DETACH\s
    | (LIST|LS|REMOVE|RM)\s+@
    | SET\s+\S+\s*(=|TO\b) | (ALTER\s+)?SESSION\s+SET\b | BEGIN\s*;
    )""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
ITEM = rf"""["`\[]?({MARK}|[\w.])+["`\]]?(\s+(ASC|DESC|{MARK}))?"""
# Where a name, a direction or a path in JSON stands: the first two cannot be bound.
IDENTIFIER = re.compile(
    rf"""\b(ORDER|GROUP)\s+BY\s+{ITEM}(\s*,\s*{ITEM})*
    | \bSELECT\s([\w\s.,*()"`]|{MARK})+?(?=\sFROM\b)
    | {MARK}(?=\s+IS\s+(NOT\s+)?NULL\b) | \bJSON_\w+\(\s*{MARK} | '\$[\w.]*{MARK}'
    | \b(FROM|JOIN|INTO|UPDATE|ON|SHOW\s[\w\s]*\bIN|USE|PRAGMA|EXISTS|RENAME\s+TO|LIST|LS|REMOVE|RM
    |{OBJECTS})\s+
    @?(\w+\(|["`\[]|\w+\.)*{MARK}(["`\]]?\.["`\[]?{MARK})*["`\]]?
    (\s*\(\w*{MARK}\))?""",
    re.IGNORECASE | re.VERBOSE,
)
LONG_ENOUGH = 2_000  # characters of a text that tell whether it is SQL


class SqlTexts:
    """Finds the texts with values in them that a module passes to calls that run SQL."""

    def __init__(self, app: App) -> None:
        """Find the helpers that pass a parameter on as SQL."""
        self.app = app
        self.values, self.answers = app.values, app.answers  # for `remember`
        self.helpers: dict[Function, ast.arg] = {}
        app.answers[SqlTexts] = self  # modules may import each other
        todo = [text for call in app.every_call for text in self._given(call)]
        for text in todo:  # the list grows as helpers are found
            for value in app.values(text) if isinstance(text, ast.Name) else []:
                if not isinstance(value, ast.arg):
                    continue
                function = app.parents.get(app.parents[value])
                if isinstance(function, Function) and function not in self.helpers:
                    self.helpers[function] = value
                    todo += app.given(value)

    def findings(self) -> Iterator[tuple[ast.expr, str, str]]:
        """Yield each text with the way in which it is built and the name of what runs it."""
        for call in self.app.every_call:
            name = called_name(call)
            for given in self._given(call):
                owner = getattr(call.func, "value", None)
                place = getattr(owner, "attr", getattr(owner, "id", ""))
                texts = self.texts(given)
                shapes = [self.shape(text) for text in texts]
                is_sql = place in CONNECTIONS and any(shape.startswith(VALUE) for shape in shapes)
                if is_sql or self._is_sql_only(call) or any(map(SQL.match, shapes)):
                    found = ((text, self.how_built(text), name) for text in texts)
                    yield from (item for item in found if item[1])

    def _given(self, call: ast.Call) -> list[ast.expr]:
        """Return what a call runs as SQL, itself or by a helper."""
        for module, function in self.app.functions(call.func):
            assert isinstance(module, App)
            if parameter := sql_texts(module).helpers.get(function):
                return module.passed(parameter, [call])
        if called_name(call) in RUNNERS or self._is_sql_only(call):
            options = (argument(call, word) for word in KEYWORDS)
            given = argument(call, "sql", 0) or next(filter(None, options), None)
            return [given] if given is not None else []
        return []

    def _is_sql_only(self, call: ast.Call) -> bool:
        origin = self.app.dotted(call.func)
        is_text = origin.startswith("sqlalchemy.") and origin.endswith(".text")
        return is_text or called_name(call) in SQL_ONLY

    def texts(self, given: ast.expr) -> list[ast.expr]:
        """Return the expressions that a text may be, behind names, wrappers and functions."""
        app, found = self.app, []
        todo: list[object] = [given]
        seen: set[object] = set()
        for node in todo:  # the list grows as names are followed
            if not isinstance(node, ast.expr) or node in seen:
                continue
            seen.add(node)
            match node:
                case ast.IfExp(body=body, orelse=orelse):
                    todo += [body, orelse]
                case ast.BoolOp(values=parts):
                    todo += parts
                case ast.Starred(value=value):
                    todo += app.unpacked(Part(value, 0))
                case ast.NamedExpr(value=value) | ast.Await(value=value):
                    todo.append(value)
                case ast.Name() | ast.Attribute() if values := app.values(node):
                    for bound in values:
                        todo += app.unpacked(bound) if isinstance(bound, Part) else [bound]
                case ast.Subscript(value=owner):
                    todo.append(owner)
                case ast.Dict(values=parts):
                    todo += parts
                case ast.Call(func=ast.Attribute(value=owner, attr="strip" | "lstrip" | "rstrip")):
                    todo.append(owner)
                case ast.Call(func=func) if app.functions(func):
                    todo += app.results(node)
                case ast.Call(args=[first, *_]) if called_name(node) in TEXT_WRAPPERS:
                    todo.append(first)
                case _:
                    found.append(node)
        return found

    @remember(VALUE)
    def shape(self, node: ast.AST) -> str:
        """Return the start of a text, with `{}` for each value that is not known."""
        return self._shape(node)[:LONG_ENOUGH]

    def _shape(self, node: ast.AST) -> str:
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.JoinedStr(values=parts):
                texts = [self.shape(part) for part in parts]
                for number, part in enumerate(parts):
                    if number and texts[number] == VALUE and self.is_literal(part):
                        texts[number] = "0"
                return "".join(texts)
            case ast.FormattedValue(value=value):
                return self.shape(value)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.shape(left) + self.shape(right)
            case ast.BinOp(left=left, op=ast.Mod()):
                return self.shape(left)
            case ast.Call(func=ast.Attribute(value=owner, attr="join"), args=[given, *_]):
                glue = owner.value if isinstance(owner, ast.Constant) else " "
                return str(glue).join(self.shape(part) for part in self._joined(given)) or VALUE
            case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in TEMPLATES:
                made = [owner, *self.app.values(owner)]
                calls = [item for item in made if isinstance(item, ast.Call) and item.args]
                return self.shape(calls[0].args[0]) if calls else VALUE
            case ast.Call(func=ast.Attribute(value=owner, attr="format_map")):
                return self.shape(owner)
            case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in SAME_TEXT:
                return self.shape(owner)
            case ast.Name():
                first = next((item for item in self.app.values(node) if item is not node), None)
                return self.shape(first) if isinstance(first, ast.expr) else VALUE
        return VALUE

    def _joined(self, given: ast.expr) -> list[ast.expr]:
        """Return the parts that a join puts together, as far as they are known."""
        found: list[ast.expr] = []
        for value in (given, *self.app.values(given)):
            parts: Sequence[Binding] = items(value)
            if isinstance(value, ast.ListComp | ast.GeneratorExp):
                parts = [value.elt]
            elif not parts and value is not given:  # `clauses.append(value)`
                parts = [value]
            found += [part for part in parts if isinstance(part, ast.expr)]
        return found

    def is_identifier(self, node: ast.AST) -> bool:
        """Tell whether all values in a text stand where SQL has a name, of a table for example."""
        shape = self.shape(node)
        return VALUE in shape and VALUE not in IDENTIFIER.sub("", shape)

    def is_checked(self, name: ast.Name) -> bool:
        """Tell whether a condition on a line, or one that sets a default, checks a name."""
        point = self.app.points.get(self.app.statement(name))
        guards = islice(self.app.guards(point), NEAREST)
        if any(self._checks(guard.test, guard.holds, name.id) for guard in guards):
            return True
        for _ in range(NEAREST):
            match point and point.step:  # `if order not in ORDERS: order = "name"`
                case ast.If(test, [ast.Assign(targets=[ast.Name(id=target)], value=value)], []):
                    if target == name.id and self._checks(test, False, target):
                        return self.is_literal(value)
                case ast.Assign(targets=[ast.Name(id=target)]) if target == name.id:
                    return False
            point = point and point.before
        return False

    def _checks(self, test: ast.expr | None, holds: bool, name: str) -> bool:
        """Tell whether a name is one of literals, or an identifier, if a condition is `holds`."""
        while isinstance(test, ast.UnaryOp):
            test, holds = test.operand, not holds
        match test:
            case ast.Compare(left=ast.Name(id=left), ops=[op], comparators=[allowed]):
                is_in = isinstance(op, ast.In) == holds and isinstance(op, ast.In | ast.NotIn)
                is_in |= isinstance(op, ast.Eq) and holds
                return left == name and is_in and self.is_literal(allowed)
            case ast.Call(func=ast.Attribute(value=owner, attr=attr), args=args):
                names = {getattr(item, "id", "") for item in (owner, *args)}
                return holds and attr in CHECKS and name in names
        return False

    def is_literal(self, node: object) -> bool:
        """Tell whether `node` consists of literals and numbers only."""
        if isinstance(node, Part):
            return self.is_literal(node.whole)
        if isinstance(node, ast.arg):
            return self._is_literal_parameter(node)
        if isinstance(node, Origin):  # a constant of another module: identifiers cannot be bound
            return node.dotted.rpartition(".")[2].isupper()
        match node:
            case ast.Constant():
                return True
            case ast.FormattedValue(value=value, format_spec=spec):
                return _is_number_format(spec) or self.is_literal(value)
            case ast.JoinedStr() | ast.List() | ast.Tuple() | ast.Set() | ast.BoolOp():
                return all(map(self.is_literal, children(node)))
            case ast.Dict(values=parts):
                return all(map(self.is_literal, parts))
            case ast.Starred(value=value) | ast.NamedExpr(value=value) | ast.UnaryOp(operand=value):
                return self.is_literal(value)
            case ast.ListComp(elt=part) | ast.GeneratorExp(elt=part) | ast.SetComp(elt=part):
                return self.is_literal(part)
            case ast.BinOp(left=left, op=ast.Mult()):  # "?" * len(ids)
                return self.is_literal(left)
            case ast.IfExp(body=left, orelse=right) | ast.BinOp(left=left, right=right):
                return self.is_literal(left) and self.is_literal(right)
            case ast.Subscript(value=owner):  # a dictionary of literals
                return self.app.dotted(owner).startswith(SAFE) or self.is_literal(owner)
            case ast.Call():
                return self._is_literal_call(node)
            case ast.Attribute(attr="value" | "name", value=ast.Attribute() as member):
                return self.is_literal(member)
            case ast.Attribute(value=ast.Call() as made) if not self.app.values(node):
                return self._is_literal_call(made)
            case ast.Name() | ast.Attribute():
                return self._is_literal_name(node)
        return False

    def _is_literal_parameter(self, parameter: ast.arg) -> bool:
        """Tell whether a private function gets literals only, in the calls of this file."""
        function = self.app.parents.get(self.app.parents[parameter])
        is_private = getattr(function, "name", "").startswith("_")
        given = [*self.app.given(parameter), *self.app.defaults(parameter)]
        return is_private and bool(given) and all(map(self.is_literal, given))

    @remember(True)
    def _is_literal_call(self, call: ast.Call) -> bool:
        app, given = self.app, [*call.args, *(item.value for item in call.keywords)]
        name = app.builtin(call)
        if name in NUMBERS or called_name(call) in QUOTES or app.dotted(call.func).startswith(SAFE):
            return True
        if name in SAME_PARTS or app.dotted(call.func) == "string.Template":
            return bool(given) and all(map(self.is_literal, given))
        if app.widget(call) in NUMBER_WIDGETS:
            return True
        if app.widget(call) in CHOICES and (choices := argument(call, "options", 1)) is not None:
            return self.is_literal(choices)
        if isinstance(call.func, ast.Attribute):
            attr, owner = call.func.attr, call.func.value
            if attr in ("isoformat", "strftime"):
                return True
            if attr in SAME_TEXT or attr in TEMPLATES:
                return all(map(self.is_literal, (owner, *given)))
            if attr in ("get", "items", "keys", "values") and self.is_literal(owner):
                return all(map(self.is_literal, given[1:]))
        values = app.results(call)
        return bool(values) and all(map(self.is_literal, values))

    def _is_literal_name(self, node: ast.Name | ast.Attribute) -> bool:
        values = self.app.values(node)
        if not values:
            origin = self.app.dotted(node)
            return origin.rpartition(".")[2].isupper() or origin.startswith(SAFE)
        if isinstance(node, ast.Name) and self.is_checked(node):
            return True
        return self._are_literal(node)

    @remember(True)
    def _are_literal(self, node: ast.Name | ast.Attribute) -> bool:
        values = self.app.values(node)
        if any(isinstance(item, ast.AST) and self.app.builtin(item) == "int" for item in values):
            values = [item for item in values if not isinstance(item, ast.arg)]  # `n = int(n)`
        return all(map(self.is_literal, values))

    def how_built(self, node: ast.AST) -> str:
        """Return how `node` puts values into a text, or an empty string if it does not."""
        if self.is_literal(node):
            return ""
        match node:
            case ast.JoinedStr():
                return "an f-string"
            case ast.BinOp(op=ast.Add()):
                return "concatenation with +"
            case ast.BinOp(left=left, op=ast.Mod()) if self.is_literal(left):
                return "% formatting"
            case ast.Call(func=ast.Attribute(attr=name)) if name in {*TEMPLATES, "format_map"}:
                return f".{name}()" if self.shape(node) != VALUE else ""
            case ast.Call(func=ast.Attribute(value=owner, attr="join")):
                is_text = self.shape(node).replace(VALUE, "").strip()
                return ".join()" if self.is_literal(owner) and is_text else ""
            case ast.Call(func=ast.Attribute(value=owner, attr="replace"), args=args):
                are_same = all(map(self.is_literal, args)) or self.shape(owner) == VALUE
                return self.how_built(owner) if are_same else ".replace()"
            case ast.Call(func=ast.Attribute(value=owner, attr="format")):
                # Not the method of a composed object: sql.SQL("...").format(sql.Identifier(table)).
                made = (owner, *self.app.values(owner))
                return "" if any(isinstance(item, ast.Call) for item in made) else ".format()"
            case ast.Call(func=ast.Attribute(value=owner, attr="lower" | "upper")):
                return self.how_built(owner)
        return ""


def _is_number_format(spec: ast.expr | None) -> bool:
    """Tell whether a format, as in `{limit:d}`, refuses what is no number."""
    parts = spec.values if isinstance(spec, ast.JoinedStr) else []
    text = "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
    return text[-1:] in tuple("bdeEfFgGnoxX%")


def sql_texts(app: App) -> SqlTexts:
    """Return the SQL of a module, which is searched once."""
    found: SqlTexts = app.answers.get(SqlTexts) or SqlTexts(app)
    return found
