"""The form of a job's parameters: a widget for each field of its model."""

from typing import Any

import streamlit as st

from progress.job import Job
from progress.session import parameters
from progress.ui.formats import escape_markdown

MAX_SLIDER = 1_000
"""Steps of a slider. Numbers in a wider range are typed."""


def draw(name: str, job: Job) -> None:
    """Draw the widgets, each with the message about what was entered, if it was invalid."""
    parameters.fill(name, job)
    messages = dict(parameters.errors(name))
    for field, schema in parameters.fields(job).items():
        draw_field(parameters.key(name, field), field, schema)
        if message := messages.pop(field, ""):
            st.error(escape_markdown(message), icon=":material/error:")
    for message in messages.values():  # of the model as a whole
        st.error(escape_markdown(message), icon=":material/error:")


def draw_field(key: str, name: str, schema: dict[str, Any]) -> None:
    """Draw the widget of a field. Its value is in the session state already."""
    label = escape_markdown(schema.get("title") or name)
    help_text = escape_markdown(schema.get("description", "")) or None
    common: dict[str, Any] = {"key": key, "help": help_text}
    nullable = bool(schema.get("nullable"))
    least, most = schema.get("minimum"), schema.get("maximum")
    match schema:
        case _ if parameters.is_json(schema):
            st.text_area(f"{label} (JSON)", **common)
        case _ if parameters.is_multiple_choice(schema):
            st.multiselect(label, schema["items"]["enum"], **common)
        case {"enum": choices}:
            index = None if nullable or schema["required"] else 0
            st.selectbox(label, choices, index=index, **common)
        case {"type": "boolean"} if nullable:
            st.selectbox(label, [True, False], index=None, format_func=yes_or_no, **common)
        case {"type": "boolean"}:
            st.toggle(label, **common)
        case {"type": "integer" | "number"} if is_short_range(schema):
            st.slider(label, least, most, **common)
        case {"type": "integer" | "number" as kind}:
            number = int if kind == "integer" else float
            common["min_value"] = None if least is None else number(least)
            common["max_value"] = None if most is None else number(most)
            st.number_input(label, value=None, step=1 if number is int else None, **common)
        case {"format": "date"}:
            st.date_input(label, value=None, **common)
        case {"format": "date-time"}:
            st.datetime_input(label, value=None, **common)
        case {"multiline": True}:
            st.text_area(label, max_chars=schema.get("maxLength"), **common)
        case _:
            st.text_input(label, max_chars=schema.get("maxLength"), **common)


def is_short_range(schema: dict[str, Any]) -> bool:
    """Return whether a number is chosen with a slider: it has both limits, and a value."""
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is None or most is None or schema.get("nullable") or "default" not in schema:
        return False
    return bool(schema["type"] == "number" or most - least <= MAX_SLIDER)


def yes_or_no(value: bool) -> str:
    """Return a truth value in words."""
    return "Yes" if value else "No"
