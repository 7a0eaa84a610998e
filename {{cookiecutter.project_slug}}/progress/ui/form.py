"""What a job needs from the viewer: a file to upload, a widget for each field of its model."""

from datetime import date, datetime
from typing import Any

import streamlit as st

from progress.job import Job, Upload
from progress.session import commands, parameters
from progress.ui.formats import escape_markdown

FLOAT_FORMAT = "%.10g"
"""All digits that a person enters. Streamlit shows two after the point."""


def draw(name: str, job: Job) -> None:
    """Draw the widgets of the parameters, each with the message about it, if it was invalid."""
    parameters.fill(name, job)
    messages = dict(parameters.errors(name))
    for field, schema in parameters.fields(name, job).items():
        draw_field(parameters.key(name, field), field, schema)
        if message := messages.pop(field, ""):
            st.error(escape_markdown(message), icon=":material/error:")
    for message in messages.values():  # of the model as a whole
        st.error(escape_markdown(message), icon=":material/error:")


def draw_upload(upload: Upload) -> None:
    """Draw where the viewer chooses a file."""
    if not commands.has_feature("uploads"):
        st.caption("This backend takes no uploads.")
    elif st.file_uploader("File", [*upload.types] or None, key=commands.UPLOAD) is None:
        st.caption("Choose a file.")


def draw_field(key: str, name: str, schema: dict[str, Any]) -> None:
    """Draw the widget of a field. Its value is in the session state already, and fits."""
    label = escape_markdown(schema.get("title") or name)
    help_text = escape_markdown(schema.get("description", "")) or None
    common: dict[str, Any] = {"key": key, "help": help_text}
    match schema["widget"]:
        case "json":
            st.text_area(f"{label} (JSON)", **common)
        case "multiselect":
            st.multiselect(label, schema["items"]["enum"], **common)
        case "selectbox":
            index = None if schema["nullable"] or schema["required"] else 0
            st.selectbox(label, schema["enum"], index=index, **common)
        case "yes_or_no":
            st.selectbox(label, [True, False], index=None, format_func=yes_or_no, **common)
        case "toggle":
            st.toggle(label, **common)
        case "slider" | "number" as widget:
            least, most = parameters.limits(schema)
            is_integer = schema["type"] == "integer"
            common["step"] = 1 if is_integer else parameters.FLOAT_STEP
            common["format"] = "%d" if is_integer else FLOAT_FORMAT
            if widget == "slider":
                st.slider(label, least, most, **common)
            else:
                st.number_input(label, least, most, value=None, **common)
        case "date":
            st.date_input(label, None, date.min, date.max, **common)
        case "date-time":
            st.datetime_input(label, None, datetime.min, datetime.max, **common)
        case "text_area":
            st.text_area(label, max_chars=schema.get("maxLength"), **common)
        case _:
            st.text_input(label, max_chars=schema.get("maxLength"), **common)


def yes_or_no(value: bool) -> str:
    """Return a truth value in words."""
    return "Yes" if value else "No"
