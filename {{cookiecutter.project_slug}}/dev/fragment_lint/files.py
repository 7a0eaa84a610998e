"""Which files are checked, what is in them, and what pyproject.toml says."""

import ast
import io
import os
import re
import subprocess
import tokenize
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from .findings import UnreadableError

SKIPPED_FOLDERS = {"build", "node_modules", "venv", "__pycache__"}  # and all hidden ones
KEYS = ("select", "ignore", "exclude")
SECTION = re.compile(
    r'^\[tool\.(?:fragment-lint|"fragment-lint")\]\s*(?:#.*)?$(.*?)(?=^\[|\Z)', re.M | re.S
)


def python_files(path: Path, problems: list[str]) -> Iterator[Path]:
    """Yield `path`, or the Python files in the folder `path`, in order."""
    if os.path.isdir(path):  # the method of Path raises where a folder forbids to look
        yield from _files_in(path, problems, _ignored(path))
    else:
        yield path


def _files_in(folder: Path, problems: list[str], ignored: set[Path]) -> Iterator[Path]:
    try:
        children = sorted(os.scandir(folder), key=lambda child: child.name)
    except OSError as error:
        problems.append(f"{folder}: cannot be read: {error.strerror}")
        return
    for child in children:
        path = folder / child.name
        if path in ignored:
            continue
        if child.is_dir(follow_symlinks=False):
            is_skipped = child.name in SKIPPED_FOLDERS or child.name.startswith(".")
            if not (is_skipped or os.path.exists(path / "pyvenv.cfg")):
                yield from _files_in(path, problems, ignored)
        # No pipe, no broken link; a file that cannot be read is reported.
        elif path.suffix == ".py" and (
            child.is_file(follow_symlinks=False) or os.path.isfile(path)
        ):
            yield path


def _ignored(folder: Path) -> set[Path]:
    """Return the files and folders in a folder that Git ignores; none without Git."""
    command = ("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")
    try:
        done = subprocess.run(["git", *command], cwd=folder, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return set()
    names = [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    # A folder that is ignored itself was named by the user.
    return set() if "./" in names else {folder / name for name in names}


def is_excluded(file: Path, patterns: Sequence[str], root: Path) -> bool:
    """Tell whether a pattern matches a file, its name or a folder of it, also from the root."""
    absolute = Path(os.path.abspath(file))
    path = absolute.relative_to(root) if absolute.is_relative_to(root) else absolute
    names = {name for part in (path, *path.parents) for name in (part.as_posix(), part.name)}
    return any(fnmatch(name, os.path.normpath(item)) for name in names for item in patterns)


def read(path: Path) -> str:
    """Return the text of a Python file, in the encoding that it declares."""
    if path.suffix == ".ipynb":
        raise UnreadableError(f"{path}: is a notebook; convert it to a .py file to check it")
    try:
        if path.exists() and not path.is_file():
            raise UnreadableError(f"{path}: cannot be read: not a file")
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from error


def decode(data: bytes, name: str) -> str:
    """Return the text of a source, in the encoding that it declares."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{name}: cannot be read: not {error.encoding} text") from error
    except SyntaxError as error:
        reason = f"{error.msg}".replace("invalid or missing encoding declaration", "not UTF-8 text")
        raise UnreadableError(f"{name}: cannot be read: {reason}") from error


def project_root(folder: Path) -> Path:
    """Return the nearest folder above with a pyproject.toml or a .git, else the folder itself."""
    for parent in (folder, *folder.parents):
        if os.path.isfile(parent / "pyproject.toml") or os.path.exists(parent / ".git"):
            return parent
    return folder


def configuration(root: Path) -> dict[str, list[str]]:
    """Return the lists in `[tool.fragment-lint]` of a pyproject.toml."""
    file = root / "pyproject.toml"
    if not os.path.isfile(file):
        return {}
    try:
        section = SECTION.search(file.read_text("utf-8-sig"))
        # Lists of strings are the same in Python, which has no TOML parser before 3.11.
        tree = ast.parse(section.group(1) if section else "")
        found = {ast.unparse(item.targets[0]): ast.literal_eval(item.value) for item in tree.body}  # type: ignore[attr-defined]
    except (OSError, ValueError, SyntaxError, AttributeError) as error:
        raise UnreadableError(f"{file}: [tool.fragment-lint] must have lists of strings") from error
    for key, value in found.items():
        if key not in KEYS:
            raise UnreadableError(
                f"{file}: [tool.fragment-lint] has no {key}; it may have {', '.join(KEYS)}"
            )
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UnreadableError(f"{file}: [tool.fragment-lint] {key} must be a list of strings")
    return found
