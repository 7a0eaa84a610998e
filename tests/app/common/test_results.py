"""What a job returns, as it is stored and read again."""

import importlib
import json
import os
import subprocess
import sys
from collections import Counter, OrderedDict, deque, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from progress.results import (
    FILES,
    MAX_NOTES,
    MAX_RESULT,
    REPLACED,
    TABLE_FILE,
    TABLE_ROWS,
    add_file,
    table_as_csv,
    to_json,
    to_metric,
)

pd = importlib.import_module("pandas")  # it has no types
Point = namedtuple("Point", "x y")
DAY = date(2026, 1, 2)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Color(Enum):
    RED = "red"
    BOX = (DAY, 1)


class Level(IntEnum):
    LOW = 1


@dataclass
class Row:
    at: date
    values: set[int]


class Model:
    """Has what the models of pydantic have."""

    def model_dump(self) -> dict[str, Any]:
        return {"at": DAY, "score": np.float32(0.5)}


class Broken:
    """Raises whatever is done with it."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def stored(value: object) -> Any:
    """Return a value as it is read after it was stored in a result."""
    text, problem = to_json({"value": value})
    assert problem is None
    result = json.loads(text)
    assert set(result) == {"value"}
    return result["value"]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"a": [1, 2.5, True, None, "ü"]}, {"a": [1, 2.5, True, None, "ü"]}),
        (float("nan"), None),
        (float("-inf"), None),
        (10**100, 10**100),
        (Decimal("3"), 3),
        (Decimal("1.10"), 1.1),
        (Decimal("0.1234567890123456789"), "0.1234567890123456789"),
        (Decimal("NaN"), None),
        (MOMENT, "2026-01-02T03:04:05+00:00"),
        (DAY, "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (timedelta(minutes=90), "1:30:00"),
        (Path("a/b"), "a/b"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("ü".encode(), "ü"),
        (bytearray(b"\xff" * 2000), "2,000 bytes"),
        (Color.RED, "red"),
        (Color.BOX, ["2026-01-02", 1]),
        (Level.LOW, 1),
        ({3}, [3]),
        (frozenset("a"), ["a"]),
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        (deque([1]), [1]),
        (range(2), [0, 1]),
        ({"a": 1}.values(), [1]),
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (Row(DAY, {1}), {"at": "2026-01-02", "values": [1]}),
        (Model(), {"at": "2026-01-02", "score": 0.5}),
        ([Model()], [{"at": "2026-01-02", "score": 0.5}]),
        (
            {1: "a", None: "b", (1, DAY): "c", DAY: "d"},
            {"1": "a", "null": "b", '[1, "2026-01-02"]': "c", "2026-01-02": "d"},
        ),
        (np.int64(3), 3),
        (np.float32("nan"), None),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(5), 5),
        (np.array([DAY, None]), ["2026-01-02", None]),
        (np.datetime64("2026-01-02T03:04:05", "ns"), "2026-01-02T03:04:05"),
        (np.array(["2026-01-02", "NaT"], "M8[ns]"), ["2026-01-02T00:00:00", None]),
        (np.timedelta64(90, "m"), "1:30:00"),
        (pd.Timestamp(MOMENT), "2026-01-02T03:04:05+00:00"),
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (pd.Series([MOMENT, None]), ["2026-01-02T03:04:05+00:00", None]),
        (
            pd.DataFrame({"at": [DAY], "n": np.array([1]), "x": [float("nan")]}),
            [{"at": "2026-01-02", "n": 1, "x": None}],
        ),
        (
            pd.DataFrame({"a": [2, 2, 3], "n": [1, 1, 1]}).groupby("a").sum(),
            [{"a": 2, "n": 2}, {"a": 3, "n": 1}],
        ),
        (
            pd.DataFrame({"n": [1, 2]}, index=["x", "y"]),
            [{"index": "x", "n": 1}, {"index": "y", "n": 2}],
        ),
        (pd.DataFrame({"n": [1, 2]})[1:], [{"n": 2}]),
        (pd.DataFrame({"a": [1]}).set_index("a", drop=False), [{"a": 1}]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_known_kinds_are_converted(value: object, read: Any) -> None:
    assert stored(value) == read


def test_two_keys_with_the_same_text_are_kept() -> None:
    assert stored({1: "a", "1": "b", np.int64(2): "c"}) == {"1": "a", "1'": "b", "2": "c"}
    assert stored({os.fsdecode(b"\x80"): 1, os.fsdecode(b"\x81"): 2}) == {"?": 1, "?'": 2}


def test_other_values_are_replaced_by_their_repr_and_named_by_their_path() -> None:
    text, problem = to_json(
        {
            "metrics": {"rows": 3, "part": Fraction(1, 3)},
            "table": [{"at": 1}, {"at": 1j}],
            "broken": Broken(),
            "long": [lambda: None, iter("x" * 9)],
            "digits": 10**5000,
            "notes": ["the rest of a long job"],
        }
    )
    assert problem is None
    result = json.loads(text)
    assert result["metrics"] == {"rows": 3, "part": "Fraction(1, 3)"}
    assert result["table"] == [{"at": 1}, {"at": "1j"}]
    assert result["broken"] == "<Broken>"
    assert result["notes"] == ["the rest of a long job"]
    assert result[REPLACED] == [
        "metrics.part: Fraction",
        "table[1].at: complex",
        "broken: Broken",
        "long[0]: function",
        "long[1]: str_ascii_iterator",
        "digits: int",
    ]


def test_long_texts_and_many_replaced_values_are_shortened() -> None:
    class Long:
        def __repr__(self) -> str:
            return "x" * 1_000_000

    result = json.loads(to_json({"table": [Long()] * 1000})[0])
    assert result["table"] == ["x" * 199 + "…"] * 1000
    assert result[REPLACED][0] == "table[0]: Long"
    assert result[REPLACED][MAX_NOTES:] == ["and 980 more"]


def test_values_that_contain_themselves_end() -> None:
    loop: dict[str, Any] = {"a": 1}
    loop["again"] = [loop, loop]
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    shared = [1]
    result = json.loads(to_json({"loop": loop, "deep": deep, "twice": [shared, shared]})[0])
    assert result["loop"]["a"] == 1
    assert result["twice"] == [[1], [1]]
    assert result[REPLACED][:2] == ["loop.again[0]: dict", "loop.again[1]: dict"]
    assert len(result[REPLACED]) == 3


def test_a_model_or_a_dataclass_may_be_the_whole_result() -> None:
    assert to_json(Model()) == ('{"at": "2026-01-02", "score": 0.5}', None)
    assert to_json(Row(DAY, set())) == ('{"at": "2026-01-02", "values": []}', None)


def test_a_key_of_the_job_is_not_replaced() -> None:
    assert json.loads(to_json({REPLACED: "mine", "a": 1j})[0]) == {REPLACED: "mine", "a": "1j"}


def test_the_module_imports_neither_numpy_nor_pandas() -> None:
    script = (
        "import sys, progress.results, progress.reporter, progress.backend.runner;"
        "sys.exit(bool({'numpy', 'pandas', 'pydantic', 'streamlit'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# What was reported before, and files


def both(value: object, reported: dict[str, Any]) -> Any:
    text, problem = to_json(value, reported)
    assert problem is None
    return json.loads(text)


@pytest.mark.parametrize(
    ("reported", "value", "result"),
    [
        ({"a": 1, "b": 1}, {"b": 2, "c": 2}, {"a": 1, "b": 2, "c": 2}),
        ({"a": DAY}, Row(DAY, set()), {"a": "2026-01-02", "at": "2026-01-02", "values": []}),
        (
            {"metrics": {"x": 1, "y": 1}},
            {"metrics": {"y": 2}},
            {"metrics": {"x": 1, "y": 2}},
        ),
        ({"metrics": {"x": 1}}, {"metrics": "odd"}, {"metrics": "odd"}),
        ({"metrics": "odd"}, {"metrics": {"x": 1}}, {"metrics": {"x": 1}}),
        ({}, {"files": 3}, {"files": 3}),
        (
            {"files": [{"name": "a", "size": 1}]},
            {"files": 3},
            {"files": [{"name": "a", "size": 1}]},
        ),
        ({"a": 1j}, {"b": 1j}, {"a": "1j", "b": "1j", REPLACED: ["b: complex", "a: complex"]}),
    ],
)
def test_what_is_returned_takes_precedence_but_loses_nothing(
    reported: dict[str, Any], value: object, result: Any
) -> None:
    assert both(value, reported) == result


def test_what_was_reported_is_kept_if_the_value_is_no_dict() -> None:
    text, problem = to_json([1], {"a": 1})
    assert json.loads(text) == {"a": 1, "value": [1]}
    assert problem == "The job returned list; return a dict."


def test_a_file_replaces_the_file_of_the_same_name() -> None:
    files = add_file(add_file(add_file(None, "a", 1), "b", 2), "a", 3)
    assert files == [{"name": "b", "size": 2}, {"name": "a", "size": 3}]
    assert add_file("odd", "a", 1) == add_file([3], "a", 1) == [{"name": "a", "size": 1}]


def large(rows: int) -> list[dict[str, Any]]:
    return [{"row": number, "text": "ü" * 1000} for number in range(rows)]


def test_a_table_that_is_too_large_is_shown_in_part_and_becomes_a_file() -> None:
    files: dict[str, bytes] = {}
    text, problem = to_json(
        {"table": large(6_000), "notes": ["All well."], "files": "odd"}, keep=files.__setitem__
    )
    assert problem is None
    assert len(text.encode()) <= MAX_RESULT
    result = json.loads(text)
    assert result["table"] == large(6_000)[: len(result["table"])]
    assert 1_000 < len(result["table"]) < 1_300, "about half of the room"
    assert (result[TABLE_ROWS], result["notes"]) == (6_000, ["All well."])
    assert result[FILES] == [{"name": TABLE_FILE, "size": len(files[TABLE_FILE])}]
    lines = files[TABLE_FILE].decode("utf-8-sig").splitlines()
    assert (lines[0], len(lines)) == ("row,text", 6_001)


def test_a_table_that_fits_is_no_file_whatever_else_does_not_fit() -> None:
    files: dict[str, bytes] = {}
    text, problem = to_json(
        {"table": [{"a": 1}], "notes": ["x" * 6_000_000]}, keep=files.__setitem__
    )
    assert (json.loads(text), files) == ({"table": [{"a": 1}]}, {})
    assert problem is not None
    assert problem.endswith("Missing: notes.")


def test_a_file_that_cannot_be_stored_does_not_lose_the_rest() -> None:
    def keep(name: str, content: bytes) -> None:
        raise OSError(28, "No space left on device", "/a/secret/path")

    text, problem = to_json({"table": large(6_000), "metrics": {"a": 1}}, keep=keep)
    result = json.loads(text)
    assert problem == "table.csv could not be stored: No space left on device"
    assert (result["metrics"], result[TABLE_ROWS]) == ({"a": 1}, 6_000)
    assert len(result["table"]) > 1_000
    assert FILES not in result


def test_cells_that_a_spreadsheet_would_run_are_text() -> None:
    rows = [{"a": "=1+1", "b": "+1.5"}, {"a": "-1", "c": "@x"}, {"=k": "\tx"}]
    assert table_as_csv(rows).decode("utf-8-sig").splitlines() == [
        "a,b,c,'=k",
        "'=1+1,+1.5,,",
        "-1,,'@x,",
        ",,,'\tx",
    ]


@pytest.mark.parametrize(
    ("value", "metric"),
    [
        (3, 3),
        (0.5, 0.5),
        (None, None),
        ("ok", "ok"),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (Decimal("1.10"), 1.1),
        (float("nan"), None),
        (np.float64("-inf"), None),
        (10**5000, "<int>"),
        (DAY, "2026-01-02"),
        ([1, 2], "[1, 2]"),
        (Broken(), "<Broken>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_metric_is_a_number_text_or_none(value: object, metric: object) -> None:
    assert to_metric(value) == metric
    json.dumps(to_metric(value), allow_nan=False)


keys = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters(), max_size=5),
    st.binary(max_size=5),
    st.datetimes(),
    st.timedeltas(),
    st.uuids(),
)
values = st.recursive(
    keys | st.decimals() | st.builds(Broken),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(keys, values, max_size=5))
def test_no_result_raises_and_no_key_is_lost(result: dict[Any, Any]) -> None:
    text, problem = to_json(result)
    assert problem is None
    assert len({*json.loads(text)} - {REPLACED}) == len(result)
