"""A job's result as JSON. A value that JSON lacks never loses the rest of the result."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence, Set, ValuesView
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeGuard
from uuid import UUID

from progress.text import reason_of, safe_repr, sanitize, truncate

MAX_RESULT = 5_000_000
"""Bytes of the JSON of a result: every session that shows an operation loads its result."""
MAX_DEPTH = 100
"""Levels of values within values."""
MAX_NOTES = 20
"""How many of the replaced values are named."""
REPLACED = "not_json"
"""The key in a result under which the replaced values are named; the page shows them."""
FILES = "files"
"""The key in a result under which the kept files are named: {"name": ..., "size": ...} each. Once
there is one, it replaces what the job has under this key."""
TABLE_ROWS = "table_rows"
"""The key for the number of rows of a table of which the result has a part."""
TABLE_FILE = "table.csv"
"""The file with all of them."""


def to_json(
    value: object,
    reported: Mapping[str, Any] | None = None,
    keep: Callable[[str, bytes], None] | None = None,
) -> tuple[str, str | None]:
    """Return a result as the text of a JSON object, and in one line why it is incomplete, if it is.

    Values of known kinds are converted, and NaN becomes null. Any other value is replaced by its
    repr, and named under the key REPLACED. A result that is too large keeps its smallest keys.

    Args:
        value: What a job returned.
        reported: What the job had reported of its result before. What it returned takes precedence.
        keep: Keeps a file, given its name and content: all rows of a table that is too large. The
            result has the first of them, also without this.
    """
    converter = _Converter()
    result = converter.convert(value, "", ())
    problem = None
    if not isinstance(result, dict):
        problem = f"The job returned {type(value).__name__}; return a dict."
        result = {"value": result}
    result = merge(converter.convert(reported or {}, "", ()), result)
    if converter.replaced:
        result.setdefault(REPLACED, converter.notes())
    text = _dumps(result)
    if _size(text) > MAX_RESULT and is_table(rows := result.get("table")):
        part = _part_of_table(rows)
        if len(part) < len(rows):
            result |= {"table": part, TABLE_ROWS: len(rows)}
            if keep is not None:
                content = table_as_csv(rows)
                try:
                    keep(TABLE_FILE, content)
                    result[FILES] = add_file(result.get(FILES), TABLE_FILE, len(content))
                except Exception as error:  # the rest of the result is not lost
                    reason = f"{TABLE_FILE} could not be stored: {reason_of(error)}"
                    problem = problem or reason
        text = _dumps(result)
    if (size := _size(text)) > MAX_RESULT:
        kept = _smallest(result)
        problem = (
            f"The result has {_megabytes(size)} of JSON; at most {_megabytes(MAX_RESULT)} are"
            f" stored. Missing: {truncate(', '.join(key for key in result if key not in kept))}."
        )
        text = _dumps(kept)
    return text, problem


def to_metric(value: object) -> float | str | None:
    """Return a figure as JSON has it: text for what is no number, None for NaN."""
    converted = _Converter().convert(value, "", ())
    is_simple = converted is None or isinstance(converted, int | float | str)
    return converted if is_simple else safe_repr(converted)


def add_file(files: object, name: str, size: int) -> list[dict[str, Any]]:
    """Return the files of a result with one more, which replaces that of the same name."""
    kept = files if is_table(files) else []
    return [*(file for file in kept if file.get("name") != name), {"name": name, "size": size}]


def merge(reported: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was reported with what is newer: it takes precedence, metrics by name."""
    merged = {**reported, **result}
    metrics = reported.get("metrics"), result.get("metrics")
    if isinstance(metrics[0], Mapping) and isinstance(metrics[1], Mapping):
        merged["metrics"] = {**metrics[0], **metrics[1]}
    if FILES in reported:
        merged[FILES] = reported[FILES]
    return merged


def is_table(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Return whether a value is rows, at least one."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def table_as_csv(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as CSV, with the byte order mark which Excel needs to read it as UTF-8.

    Text that a spreadsheet would run as a formula begins with an apostrophe, as OWASP advises.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(map(_as_cell, names))
    writer.writerows([_as_cell(row.get(name, "")) for name in names] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def _as_cell(value: object) -> object:
    if not isinstance(value, str) or re.fullmatch(r"[+-]?[\d.,]+", value):
        return value
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _part_of_table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first rows, which take at most half of the room."""
    part, room = [], MAX_RESULT // 2
    for row in rows:
        room -= _size(_dumps(row)) + 2
        if room < 0:
            break
        part.append(row)
    return part


def _dumps(value: object) -> str:
    return sanitize(json.dumps(value, allow_nan=False, ensure_ascii=False))


def _size(text: str) -> int:
    return len(text.encode())


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"


def _smallest(result: dict[str, Any]) -> dict[str, Any]:
    sizes = {key: _size(_dumps({key: part})) for key, part in result.items()}
    kept, room = set(), MAX_RESULT
    for key in sorted(sizes, key=lambda key: sizes[key]):
        room -= sizes[key]
        if room < 0:
            break
        kept.add(key)
    return {key: part for key, part in result.items() if key in kept}


class _Converter:
    def __init__(self) -> None:
        self.replaced = 0
        self._notes: list[str] = []

    def notes(self) -> list[str]:
        """Return a line for each replaced value, and how many more there are."""
        more = self.replaced - len(self._notes)
        return self._notes + ([f"and {more:,} more"] if more else [])

    def convert(self, value: Any, path: str, parents: tuple[int, ...]) -> Any:
        """Return `value` as JSON has it. `parents` are the ids of the values that contain it."""
        # Whatever a value of the job raises here, the rest of the result is kept.
        with suppress(Exception):
            if len(parents) < MAX_DEPTH and id(value) not in parents:
                return self._known(value, path, (*parents, id(value)))
        self.replaced += 1
        shown = safe_repr(value)
        if len(self._notes) < MAX_NOTES:
            self._notes.append(f"{path or 'result'}: {type(value).__name__}")
        return shown

    def _known(self, value: Any, path: str, parents: tuple[int, ...]) -> Any:
        """Return a value of a known kind as JSON has it.

        Raises:
            TypeError: It is of another kind.
        """
        if type(value).__name__ in ("NaTType", "NAType"):  # of pandas
            return None
        match value:
            case Enum():
                return self.convert(value.value, path, parents)
            case None | bool() | str():
                return value
            case int():
                return int(str(value))  # raises if it has more digits than Python reads
            case float():
                return float(value) if math.isfinite(value) else None
            case Decimal():
                return _number(value)
            case date() | time():
                return value.isoformat()
            case timedelta() | PurePath() | UUID():
                return str(value)
            case bytes() | bytearray() | memoryview():
                return _text(bytes(value))
        if hasattr(value, "model_dump"):  # pydantic
            value = value.model_dump()
        elif is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in fields(value)}
        elif hasattr(value, "to_dict") and hasattr(value, "columns"):  # a data frame
            with suppress(Exception):  # a column has the name of the index
                # As groups and names, but not the numbers of the rows.
                if any(value.index.names) or value.index.dtype.kind not in "iu":
                    value = value.reset_index()
            value = value.to_dict("records")
        elif hasattr(value, "dtype") and hasattr(value, "tolist"):  # numpy, a column of pandas
            if type(value).__module__ == "numpy" and value.dtype.kind in "mM":
                value = value.astype(f"{value.dtype.kind}8[us]")  # nanoseconds become integers
            return self.convert(value.tolist(), path, parents)
        if isinstance(value, Mapping):
            return self._mapping(value, path, parents)
        if isinstance(value, Sequence | Set | ValuesView):
            return [
                self.convert(item, f"{path}[{number}]", parents)
                for number, item in enumerate(value)
            ]
        raise TypeError

    def _mapping(
        self, value: Mapping[Any, Any], path: str, parents: tuple[int, ...]
    ) -> dict[str, Any]:
        converted: dict[str, Any] = {}
        for name, item in value.items():
            key = sanitize(name if type(name) is str else self._key(name, path, parents))
            while key in converted:  # 1 and "1" are two keys
                key += "'"
            converted[key] = self.convert(item, f"{path}.{key}" if path else key, parents)
        return converted

    def _key(self, name: object, path: str, parents: tuple[int, ...]) -> str:
        key = self.convert(name, f"{path} (a key)", parents)
        return key if isinstance(key, str) else json.dumps(key, ensure_ascii=False)


def _number(value: Decimal) -> float | str | None:
    if not value.is_finite():
        return None
    if value.as_tuple().exponent == 0:
        return int(value)
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"{len(value):,} bytes"
