"""The form of a job's parameters: what the viewer entered, and what is wrong with it."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import streamlit as st
from pydantic.json_schema import GenerateJsonSchema

from progress.job import Job, ParameterErrors
from progress.operation import Options
from progress.session import viewer
from progress.text import sanitize

MAX_SLIDER = 1_000
"""Steps of a slider. Numbers in a wider range are typed."""
FLOAT_STEP = 0.01
"""The step of Streamlit's widgets for floats."""
MAX_NUMBERS = {"integer": 2**53 - 1, "number": 1e308}
"""The largest numbers of a browser."""

# Keys of the session state.
_ERRORS = "parameter_errors"  # job, and messages by field
_AS_JSON = "parameters_as_json"  # keys of the widgets whose values do not fit the type of the field


class _Schema(GenerateJsonSchema):
    """The JSON schema of pydantic, and in "zone" whether a time must have a time zone."""

    def datetime_schema(self, schema: Any) -> dict[str, Any]:
        return super().datetime_schema(schema) | {"zone": schema.get("tz_constraint")}


def key(job: str, field: str) -> str:
    """Return the key of a widget."""
    return f"parameter-{job}-{field}"


def fields(name: str, job: Job) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each parameter, without references and without `null`.

    "nullable" and "required" tell whether it may be empty, "widget" how it is entered.
    """
    if job.parameters is None:
        return {}
    schema = job.parameters.model_json_schema(schema_generator=_Schema)
    definitions = schema.get("$defs", {})
    found = {}
    for field, declared in schema.get("properties", {}).items():
        resolved = {"nullable": False, **_resolved(declared, definitions)}
        if "items" in resolved:
            resolved["items"] = _resolved(resolved["items"], definitions)
        resolved["required"] = field in schema.get("required", [])
        is_json = key(name, field) in st.session_state.get(_AS_JSON, ())
        resolved["widget"] = "json" if is_json else _widget(resolved)
        found[field] = resolved
    return found


def limits(schema: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the least and the most of a number, in its type, None for no limit.

    These help to enter it. What is valid, the model decides.
    """
    number = int if schema["type"] == "integer" else float
    least, most = (
        number(limit) if limit is not None and abs(limit) <= MAX_NUMBERS[schema["type"]] else None
        for limit in (schema.get("minimum"), schema.get("maximum"))
    )
    is_empty = least is not None and most is not None and least > most
    return (None, None) if is_empty else (least, most)


def fill(name: str, job: Job, values: Mapping[str, Any] | None = None) -> None:
    """Give the widgets of a form their values: the given ones, or else the defaults.

    Without `values` the widgets that have a value keep it. A value that its widget cannot show, as
    one outside the limits, is drawn as JSON: nothing is lost, and the model says what is wrong.
    """
    as_json: set[str] = st.session_state.setdefault(_AS_JSON, set())
    for field, schema in fields(name, job).items():
        widget = key(name, field)
        value = (values or {}).get(field, schema.get("default"))
        if values is None and widget in st.session_state:
            entered = st.session_state[widget]
            if _fits(entered, schema):
                continue
            if not _is_empty(entered, schema):  # jobs.py was edited
                value = _from_widget(entered, schema)
        schema["widget"] = _widget(schema)
        try:
            st.session_state[widget] = _for_widget(value, schema)
            as_json.discard(widget)
        except (TypeError, ValueError, OverflowError):
            st.session_state[widget] = _to_json(value)
            as_json.add(widget)
    if values is not None:
        try:
            options(name, job)
        except ParameterErrors as error:
            note_errors(name, error)
        else:
            note_errors(name, None)


def values(name: str, job: Job) -> dict[str, Any]:
    """Return what the viewer entered, as JSON has it; what is empty is null, or missing."""
    entered = {}
    for field, schema in fields(name, job).items():
        value = st.session_state.get(key(name, field))
        if not _is_empty(value, schema):
            entered[field] = _from_widget(value, schema)
        elif schema["nullable"]:
            entered[field] = None
    return entered


def options(name: str, job: Job) -> Options:
    """Return the options of an operation with the parameters that the viewer entered.

    Raises:
        ParameterErrors: A value is invalid or missing, or cannot be stored.
    """
    model = job.validate(values(name, job))
    return job.options(model.model_dump(mode="json", by_alias=True) if model else None)


def note_errors(name: str, error: ParameterErrors | None) -> None:
    """Store what is wrong with the parameters of a job; None: nothing."""
    st.session_state[_ERRORS] = name, error.messages if error else {}


def errors(name: str) -> dict[str, str]:
    """Return what was wrong at the last click on a button that starts or edits, by field."""
    job, messages = st.session_state.get(_ERRORS, ("", {}))
    return messages if job == name else {}


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(schema)
    while "$ref" in found:
        found = {**definitions[found.pop("$ref").rpartition("/")[2]], **found}
    if "allOf" in found and len(found["allOf"]) == 1:
        found = {**_resolved(found.pop("allOf")[0], definitions), **found}
    if options := found.get("anyOf"):
        kinds = [option for option in options if option.get("type") != "null"]
        found["nullable"] = len(kinds) < len(options)
        if len(kinds) == 1:
            found.pop("anyOf")
            found = {**_resolved(kinds[0], definitions), **found}
    if "const" in found:
        found["enum"] = [found["const"]]
    if None in found.get("enum", []):
        found["enum"] = [choice for choice in found["enum"] if choice is not None]
        found["nullable"] = True
    return found


def _widget(schema: Mapping[str, Any]) -> str:
    match schema:
        case {"enum": choices} if _are_distinct(choices):
            return "selectbox"
        case {"enum": _}:
            return "json"
        case {"type": "array", "items": {"enum": choices}} if _are_distinct(choices):
            return "multiselect"
        case {"type": "boolean"}:
            return "yes_or_no" if schema["nullable"] or _has_factory(schema) else "toggle"
        case {"type": "integer" | "number"}:
            return "slider" if _has_slider(schema) else "number"
        case {"type": "string", "format": "date" | "date-time" as form}:
            return str(form)
        case {"type": "string"}:
            return "text_area" if schema.get("multiline") is True else "text_input"
    return "json"


def _are_distinct(choices: list[Any]) -> bool:
    """Return whether a browser can tell the choices apart: it has their texts."""
    return len({str(choice) for choice in choices}) == len(choices)


def _is_choice(value: Any, choices: list[Any]) -> bool:
    return any(choice == value and str(choice) == str(value) for choice in choices)


def _has_slider(schema: Mapping[str, Any]) -> bool:
    """Return whether a number has both limits, few steps between them, and always a value."""
    least, most = limits(schema)
    if least is None or most is None or schema["nullable"] or schema.get("default") is None:
        return False
    step = 1 if schema["type"] == "integer" else FLOAT_STEP
    return bool(least + 1 <= most and (most - least) / step <= MAX_SLIDER)


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Return whether the widget of a field can show a value, as the widget has it."""
    kind = schema["widget"]
    if kind == "multiselect":
        is_list = isinstance(value, list) and _are_distinct(value)
        return is_list and all(_is_choice(item, schema["items"]["enum"]) for item in value)
    if kind in ("toggle", "yes_or_no"):
        return isinstance(value, bool) or (value is None and kind == "yes_or_no")
    if kind in ("json", "text_area", "text_input"):
        if not isinstance(value, str) or sanitize(value) != value:
            return False
        is_line = "\r" not in value and (kind != "text_input" or "\n" not in value)
        return kind == "json" or (is_line and len(value) <= schema.get("maxLength", len(value)))
    if value is None:
        return bool(kind != "slider")
    if kind == "selectbox":
        return _is_choice(value, schema["enum"])
    if kind == "date-time":  # a widget shows minutes, and no second hour of a clock change
        is_minute = isinstance(value, datetime) and not (value.second or value.microsecond)
        return is_minute and not value.tzinfo and not value.fold
    if kind == "date":
        return type(value) is date
    least, most = limits(schema)
    is_number = type(value) is (int if schema["type"] == "integer" else float)
    return bool(
        is_number
        and abs(value) <= MAX_NUMBERS[schema["type"]]
        and (least is None or value >= least)
        and (most is None or value <= most)
    )


def _for_widget(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return a value of JSON as the widget has it.

    Raises:
        TypeError, ValueError, OverflowError: The widget cannot show it.
    """
    if value is None and not schema["nullable"] and schema.get("default") is not None:
        raise ValueError("An empty widget would stand for the default.")
    filled = value
    match schema["widget"]:
        case "json":
            return "" if value is None else _to_json(value)
        case "multiselect" if value is None:
            filled = []
        case "toggle" if value is None:
            filled = False
        case "text_input" | "text_area" if value is None:
            filled = ""
        case "date" if value is not None:
            filled = date.fromisoformat(value)
        case "date-time" if value is not None:
            filled = datetime.fromisoformat(value)
            if (filled.tzinfo is not None) != _has_zone(schema):
                raise ValueError("The time zone would be lost.")
            if filled.tzinfo is not None:
                filled = filled.astimezone(viewer.zone()).replace(tzinfo=None)
        case "slider" | "number" if value is not None and not isinstance(value, bool | str):
            filled = int(value) if schema["type"] == "integer" else float(value)
            if filled != value:
                raise ValueError("Digits would be lost.")
    if not _fits(filled, schema) or (value is not None and _is_empty(filled, schema)):
        raise ValueError("The widget cannot show it.")
    return filled


def _to_json(value: Any) -> str:
    return sanitize(json.dumps(value, ensure_ascii=False))


def _from_widget(value: Any, schema: Mapping[str, Any]) -> Any:
    if schema["widget"] == "date-time" and isinstance(value, datetime) and _has_zone(schema):
        return value.replace(tzinfo=viewer.zone()).isoformat()
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    if schema["widget"] == "json" and isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value  # the model says what is wrong with it
    return value


def _is_empty(value: Any, schema: Mapping[str, Any]) -> bool:
    """Return whether nothing was entered. A text with a default may be empty, and a list."""
    if value == "" and schema["widget"] in ("text_input", "text_area"):
        return "default" not in schema or bool(schema["nullable"])
    if value == [] and schema["widget"] == "multiselect":
        return _has_factory(schema)
    return value is None or (value == "" and schema["widget"] == "json")


def _has_factory(schema: Mapping[str, Any]) -> bool:
    """Return whether the model makes the default, when an operation starts: it is not known."""
    return "default" not in schema and not schema["required"]


def _has_zone(schema: Mapping[str, Any]) -> bool:
    """Return whether a time has the viewer's time zone: its type or its default has one."""
    if schema.get("zone") is not None:
        return bool(schema["zone"] != "naive")
    try:
        return datetime.fromisoformat(schema["default"]).tzinfo is not None
    except (KeyError, TypeError, ValueError):
        return False
