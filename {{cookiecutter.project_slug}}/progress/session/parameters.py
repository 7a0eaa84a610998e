"""The form of a job's parameters: what the viewer entered, and what is wrong with it."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import streamlit as st

from progress.job import Job, ParameterErrors
from progress.operation import Options

_ERRORS = "parameter_errors"  # key of the session state: job, and messages by field


def key(job: str, field: str) -> str:
    """Return the key of a widget."""
    return f"parameter-{job}-{field}"


def fields(job: Job) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each parameter, without references and without `null`.

    "nullable" and "required" tell whether it may be empty.
    """
    if job.parameters is None:
        return {}
    schema = job.parameters.model_json_schema()
    definitions = schema.get("$defs", {})
    required = schema.get("required", [])
    return {
        name: {**_resolved(field, definitions), "required": name in required}
        for name, field in schema.get("properties", {}).items()
    }


def fill(name: str, job: Job, values: Mapping[str, Any] | None = None) -> None:
    """Give the widgets of a form their values: the given ones, or else the defaults.

    Without `values` the widgets that have a value keep it.
    """
    for field, schema in fields(job).items():
        widget = key(name, field)
        if values is None and widget in st.session_state:
            continue
        value = (values or {}).get(field, schema.get("default"))
        st.session_state[widget] = _for_widget(value, schema)
    if values is not None:
        note_errors(name, None)


def values(name: str, job: Job) -> dict[str, Any]:
    """Return what the viewer entered, as JSON has it; what is empty is missing."""
    entered = {}
    for field, schema in fields(job).items():
        value = _from_widget(st.session_state.get(key(name, field)), schema)
        if value is not None:
            entered[field] = value
        elif schema.get("nullable") and not schema["required"]:
            entered[field] = None
    return entered


def options(name: str, job: Job) -> Options:
    """Return the options of an operation with the parameters that the viewer entered.

    Raises:
        ParameterErrors: A value is invalid or missing.
    """
    model = job.validate(values(name, job))
    return job.options({} if model is None else model.model_dump(mode="json", by_alias=True))


def note_errors(name: str, error: ParameterErrors | None) -> None:
    """Store what is wrong with the parameters of a job; None: nothing."""
    st.session_state[_ERRORS] = name, error.messages if error else {}


def errors(name: str) -> dict[str, str]:
    """Return what was wrong at the last click on the start button, by field."""
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
        if len(kinds) == 1:
            found.pop("anyOf")
            found = {**_resolved(kinds[0], definitions), **found, "nullable": len(options) > 1}
    if "const" in found:
        found["enum"] = [found["const"]]
    if "items" in found:
        found["items"] = _resolved(found["items"], definitions)
    return found


def is_multiple_choice(schema: Mapping[str, Any]) -> bool:
    """Return whether a field is a list of choices."""
    return schema.get("type") == "array" and "enum" in schema.get("items", {})


def is_json(schema: Mapping[str, Any]) -> bool:
    """Return whether a field is entered as JSON, as there is no widget for its type."""
    if "enum" in schema or is_multiple_choice(schema):
        return False
    return schema.get("type") not in ("string", "integer", "number", "boolean")


def _for_widget(value: Any, schema: Mapping[str, Any]) -> Any:
    if is_json(schema):
        return "" if value is None else json.dumps(value, ensure_ascii=False)
    kind, form = schema.get("type"), schema.get("format")
    if is_multiple_choice(schema):
        return [] if value is None else list(value)
    if value is None:
        if kind == "boolean" and not schema.get("nullable"):
            return False
        return "" if kind == "string" and "enum" not in schema and form is None else None
    if form == "date":
        return date.fromisoformat(value)
    if form == "date-time":
        return datetime.fromisoformat(value)
    if "enum" not in schema and kind == "number":
        return float(value)
    return value


def _from_widget(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    if value == "" and "enum" not in schema:
        return "" if schema.get("default") == "" else None
    if is_json(schema) and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value  # the model says what is wrong with it
    return value
