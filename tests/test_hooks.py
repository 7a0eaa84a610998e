"""The hooks as functions: what they refuse, what they lay, and what they say."""

import contextlib
import json
import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from conftest import BACKENDS, CONTEXT, PROJECT, ROOT, Bake, load
from cookiecutter.utils import create_env_with_context  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pre_gen = load(ROOT / "hooks" / "pre_gen_project.py")
post_gen = load(ROOT / "hooks" / "post_gen_project.py")
settings = load(PROJECT / "progress" / "settings.py")

GOOD = {
    "project_name": "Live Progress",
    "project_slug": "live-progress",
    "description": "Shows progress.",
    "author": "Ada",
    "operation": "Analyze",
    "poll_interval": "0.5s",
}


def problems(**answers: str) -> list[str]:
    """Return what the hook says to these answers, the others being good."""
    return list(pre_gen.problems(GOOD | answers, GOOD))


# Free text


@pytest.mark.parametrize("name", pre_gen.TEXTS)
@pytest.mark.parametrize(
    "text",
    [
        'It\'s "ours"',
        "C:\\new\\",
        "👩‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "<script>",
        "日本語 עברית العربية",
        "50% {curly} }} %} #}",
        "42",
        "🚀",
    ],
)
def test_text_is_taken_as_typed(name: str, text: str) -> None:
    assert problems(**{name: text}) == []


@pytest.mark.parametrize("name", pre_gen.TEXTS)
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' has nothing that can be read. Write some words"),
        ("  ", "'  ' has nothing that can be read. Write some words"),
        ("\u200d", "'\\u200d' has nothing that can be read. Write some words"),
        ("x" * 201, f"'{'x' * 57}...' has 201 characters. Use at most "),
        ("a{{b", "'a{{b' has {{, which cookiecutter runs. Leave it out"),
        ("{% if %}", "'{% if %}' has {%, which cookiecutter runs. Leave it out"),
        ("{# x", "'{# x' has {#, which cookiecutter runs. Leave it out"),
        ("a\nb", "'a\\nb' has U+000A, which cannot be seen. Use one line of plain text"),
        ("a\u2028b", "'a\\u2028b' has U+2028, which cannot be seen. Use one line of plain text"),
        ("a\u202eb", "'a\\u202eb' has U+202E, which cannot be seen. Use one line of plain text"),
        ("a\u2066b", "'a\\u2066b' has U+2066, which cannot be seen. Use one line of plain text"),
        ("a\ufeffb", "'a\\ufeffb' has U+FEFF, which cannot be seen. Use one line of plain text"),
        ("a\ufffeb", "'a\\ufffeb' has U+FFFE, which cannot be seen. Use one line of plain text"),
        ("a\uffffb", "'a\\uffffb' has U+FFFF, which cannot be seen. Use one line of plain text"),
        ("a\udc80", "'a\\udc80' has U+DC80, which cannot be seen. Use one line of plain text"),
        ("a\x00\x01\x1b\x7f", "'a\\x00\\x01\\x1b\\x7f' has U+0000, U+0001, U+001B, ..., which"),
    ],
)
def test_text_that_cannot_be_used_gets_a_line(name: str, text: str, why: str) -> None:
    (line,) = problems(**{name: text})
    assert line.startswith(f"{name}: {why}")
    assert line.endswith(f", such as: {pre_gen.TEXTS[name][1]}")


@pytest.mark.parametrize(
    ("name", "longest"), [(n, limit) for n, (limit, _) in pre_gen.TEXTS.items()]
)
def test_the_longest_text_is_accepted(name: str, longest: int) -> None:
    assert problems(**{name: "é" * longest}) == []
    assert f"Use at most {longest}" in problems(**{name: "é" * (longest + 1)})[0]


def test_text_that_cookiecutter_has_run_already_is_refused() -> None:
    (line,) = pre_gen.problems(GOOD | {"author": "49"}, GOOD | {"author": "{{ 7 * 7 }}"})
    assert line.startswith("author: '{{ 7 * 7 }}' has {{, which cookiecutter runs")


def test_the_examples_in_the_messages_work() -> None:
    assert problems(**{name: example for name, (_, example) in pre_gen.TEXTS.items()}) == []


# The slug


@pytest.mark.parametrize(
    "slug", ["a", "live-progress", "a1-b2", "x" * 50, "app-3d", "classes", "com10"]
)
def test_a_plain_slug_is_accepted(slug: str) -> None:
    assert problems(project_slug=slug) == []


@pytest.mark.parametrize(
    ("slug", "why", "example"),
    [
        ("", "it is empty, and the name has no letters to make one of", "live-progress"),
        ("../evil", "'../evil' is no plain name", "evil"),
        ("a/b", "'a/b' is no plain name", "a-b"),
        ("..", "'..' is no plain name", "live-progress"),
        (".a", "'.a' is no plain name", "a"),
        ("-a", "'-a' is no plain name", "a"),
        ("a-", "'a-' is no plain name", "a"),
        ("a--b", "'a--b' is no plain name", "a-b"),
        ("a_b", "'a_b' is no plain name", "a-b"),
        ("1up", "'1up' is no plain name", "app-1up"),
        ("My App", "'My App' is no plain name", "my-app"),
        ("a\n", "'a\\n' is no plain name", "a"),
        ("é", "'é' is no plain name", "live-progress"),
        ("Con", "'Con' is no plain name", "con-app"),
        ("x" * 51, f"'{'x' * 51}' has 51 characters. Use at most 50", "x" * 50),
        ("con", "'con' is a device on Windows, not a folder", "con-app"),
        ("lpt9", "'lpt9' is a device on Windows, not a folder", "lpt9-app"),
        ("class", "'class' is a word of Python", "class-app"),
        ("streamlit", "'streamlit' is a package that the project installs", "streamlit-app"),
        ("pandas", "'pandas' is a package that the project installs", "pandas-app"),
    ],
)
def test_a_slug_that_cannot_be_used_gets_a_line_with_one_that_can(
    slug: str, why: str, example: str
) -> None:
    (line,) = problems(project_slug=slug)
    assert line.startswith(f"project_slug: {why}")
    assert line.endswith(f", such as: {example}")
    assert problems(project_slug=example) == []


@given(slug=st.text() | st.text(st.sampled_from("aZ1-_./\\ ~"), max_size=60))
def test_any_slug_gets_at_most_one_line_with_one_that_can_be_used(slug: str) -> None:
    lines = problems(project_slug=slug)
    assert len(lines) <= 1
    for line in lines:
        assert "\n" not in line
        assert problems(project_slug=line.rpartition(" ")[2]) == []


jinja = create_env_with_context({"cookiecutter": CONTEXT})


def folder(slug: str) -> str:
    """Return the folder that cookiecutter makes, before it asks the hook."""
    made = jinja.from_string(CONTEXT["__folder"]).render(cookiecutter={"project_slug": slug})
    assert isinstance(made, str)
    return made


@given(slug=st.from_regex(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", fullmatch=True).map(lambda s: s[:50]))
def test_the_folder_has_the_name_of_a_slug_that_is_accepted(slug: str) -> None:
    if not problems(project_slug=slug):
        assert folder(slug) == slug


@given(slug=st.text() | st.text(st.sampled_from("aZ1-_./\\ ~:"), max_size=60))
def test_the_folder_is_harmless_whatever_the_slug(slug: str) -> None:
    assert folder(slug) == "_refused" or (
        folder(slug) == slug and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) and len(slug) <= 50
    )


@pytest.mark.parametrize("slug", [*sorted(pre_gen.DEVICES), "x" * 51, "x" * 5000, "..", "a/b", ""])
def test_no_folder_is_made_for_what_no_system_could_hold(slug: str) -> None:
    assert folder(slug) == "_refused"


# The packages that the project must not be named like


def required(lines: list[str], seen: set[str]) -> set[str]:
    """Return the names in these requirements, and in theirs as far as they are installed here."""
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        if name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        with contextlib.suppress(metadata.PackageNotFoundError):
            required(metadata.requires(name) or [], seen)
    return seen


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_project_can_be_named_like_a_package_that_it_installs(bake: Bake, backend: str) -> None:
    table: dict[str, Any] = tomllib.loads(bake(progress_backend=backend).read("pyproject.toml"))
    groups = table.get("dependency-groups", {}) | table["project"].get("optional-dependencies", {})
    lists = [table["project"]["dependencies"], *groups.values()]
    packages = required([line for lines in lists for line in lines], set())
    assert packages > {"streamlit", "pytest"}
    assert packages - set(pre_gen.INSTALLED.split()) == set()


# The poll interval


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0.5s", 0.5),
        ("500ms", 0.5),
        ("2", 2),
        ("1.5 s", 1.5),
        ("0.2s", 0.2),
        ("200ms", 0.2),
        ("60s", 60),
    ],
)
def test_a_poll_interval_is_understood(text: str, seconds: float) -> None:
    assert pre_gen.interval_seconds(text) == pytest.approx(seconds)
    assert post_gen.seconds(text) == pytest.approx(seconds)
    assert problems(poll_interval=text) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "nan",
        "inf",
        "-1",
        "1e3",
        "٢",
        "0.5S",
        "1m",
        "1h",
        ".5s",
        "1.s",
        "1,5s",
        "1  s",
        "1s\n",
        " 1",
    ],
)
def test_what_is_no_poll_interval_gets_a_line(text: str) -> None:
    assert problems(poll_interval=text) == [
        f"poll_interval: {text!r} is no time in seconds. Use one, such as: 0.5s"
    ]


@pytest.mark.parametrize("text", ["0", "0.19s", "199ms", "60.1", "61s", "60001ms", "9" * 400])
def test_a_poll_interval_out_of_range_gets_a_line(text: str) -> None:
    (line,) = problems(poll_interval=text)
    assert line.startswith("poll_interval: '")
    assert line.endswith("' is out of range. Use 0.2s to 60s, such as: 0.5s")


numbers = st.from_regex(r"[0-9]{1,5}(\.[0-9]{1,6})?", fullmatch=True)
intervals = st.builds(
    "".join, st.tuples(numbers, st.sampled_from(["", " "]), st.sampled_from(["", "s", "ms"]))
)


@given(text=intervals | st.text())
def test_the_hooks_and_the_project_read_a_poll_interval_alike(text: str) -> None:
    try:
        seconds = pre_gen.interval_seconds(text)
    except ValueError:
        return
    assert 0.2 <= seconds <= 60
    assert settings.parse_duration(text) == seconds
    assert post_gen.seconds(text) == seconds


@pytest.mark.parametrize("text", ["0.5s", "500ms", "2", "10s"])
def test_a_usual_poll_interval_gets_no_remark(text: str) -> None:
    assert list(pre_gen.remarks(text)) == []


def test_a_short_poll_interval_gets_a_remark_on_its_reads() -> None:
    (line,) = pre_gen.remarks("0.2s")
    assert line.startswith("poll_interval: 0.2s makes 18000 reads an hour for each server process")


def test_a_long_poll_interval_gets_a_remark_on_its_delay() -> None:
    (line,) = pre_gen.remarks("30")
    assert line == "poll_interval: with 30 a page shows news up to 30 seconds late."


# Together


def test_all_problems_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    bad = {"project_name": "", "project_slug": "A", "author": "{{\n", "poll_interval": "soon"}
    assert pre_gen.main(GOOD | bad, GOOD) == 1
    told = capsys.readouterr()
    assert told.out == ""
    names = [line.partition(":")[0] for line in told.err.splitlines()]
    assert names == ["project_name", "author", "author", "project_slug", "poll_interval"]


def test_a_remark_does_not_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert pre_gen.main(GOOD | {"poll_interval": "0.2s"}, GOOD) == 0
    told = capsys.readouterr()
    assert "18000 reads" in told.out
    assert told.err == ""


def test_good_answers_get_no_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert pre_gen.main(GOOD, GOOD) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("hook", ["pre_gen_project", "post_gen_project"])
@given(text=st.text() | st.text(st.sampled_from("\"'\\{}%#<>&\n")))
def test_a_hook_gets_every_answer_as_data(hook: str, text: str) -> None:
    source = (ROOT / "hooks" / f"{hook}.py").read_text("utf-8")
    answers = {"project_name": text, text: "a name"}
    rendered = jinja.from_string(source).render(cookiecutter=answers, _cookiecutter=answers)
    literal = re.search(r'json\.loads\(\s*(r""".*""")\s*\)', rendered, re.DOTALL)
    assert literal is not None
    found = json.loads(eval(literal[1]))
    assert answers in (found, found.get("answers"))
    compile(rendered, hook, "exec")


@pytest.mark.parametrize("hook", ["pre_gen_project", "post_gen_project"])
def test_a_hook_has_one_expression_of_jinja(hook: str) -> None:
    source = (ROOT / "hooks" / f"{hook}.py").read_text("utf-8")
    assert re.findall(r"\{[{%#].*", source) == re.findall(r"\{\{.*tojson \}\}.*", source)
    assert len(re.findall(r"\{[{%#]", source)) == 1


# What is laid after the project is made


def tree(folder: Path) -> dict[str, str]:
    """Return the files of a folder with their texts."""
    return {
        p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()
    }


def grow(folder: Path, files: dict[str, str]) -> Path:
    """Write these files into a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


RENDERED = {
    "app.py": "app",
    "LICENSE": "MIT",
    "progress/poller.py": "poller",
    "progress/backend.py": "none",
    "backends/sqlite/progress/backend.py": "sqlite",
    "backends/api+sqlite/progress/backend.py": "shared by two",
    "backends/api+sqlite/jobs/run.py": "shared by two",
    "backends/api+postgres+sqlite/jobs/run.py": "shared by three",
    "backends/api+postgres+sqlite/jobs/all.py": "shared by three",
    "backends/postgres/progress/backend.py": "postgres",
    "backends/postgres/schema.sql": "postgres",
    "backends/sqlite-2/progress/backend.py": "another choice with a similar name",
}
ANSWERS = {
    "project_slug": "x",
    "progress_backend": "sqlite",
    "licence": "MIT",
    "poll_interval": "0.5s",
}


def test_what_is_shared_by_fewer_choices_has_the_last_word(tmp_path: Path) -> None:
    project = grow(tmp_path, RENDERED)
    assert post_gen.main(project, ANSWERS) == 0
    assert tree(project) == {
        "app.py": "app",
        "LICENSE": "MIT",
        "progress/poller.py": "poller",
        "progress/backend.py": "sqlite",
        "jobs/run.py": "shared by two",
        "jobs/all.py": "shared by three",
    }
    assert not (project / "backends").exists()


def test_each_choice_gets_its_own(tmp_path: Path) -> None:
    project = grow(tmp_path, RENDERED)
    assert post_gen.main(project, ANSWERS | {"progress_backend": "postgres"}) == 0
    assert tree(project)["progress/backend.py"] == "postgres"
    assert tree(project)["schema.sql"] == "postgres"
    assert tree(project)["jobs/run.py"] == "shared by three"


def test_a_choice_without_a_folder_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert post_gen.main(grow(tmp_path, RENDERED), ANSWERS | {"progress_backend": "fax"}) == 1
    assert capsys.readouterr() == ("", "backends/ has no folder for fax.\n")


def test_a_program_stays_one(tmp_path: Path) -> None:
    project = grow(tmp_path, RENDERED)
    (project / "backends" / "sqlite" / "start").write_text("#!/bin/sh\n")
    (project / "backends" / "sqlite" / "start").chmod(0o755)
    post_gen.main(project, ANSWERS)
    assert (project / "start").stat().st_mode & 0o111


def test_no_licence_means_no_file(tmp_path: Path) -> None:
    project = grow(tmp_path, RENDERED)
    assert post_gen.main(project, ANSWERS | {"licence": "none"}) == 0
    assert not (project / "LICENSE").exists()


@pytest.mark.parametrize("licence", ["MIT", "none"])
def test_a_second_run_changes_nothing(tmp_path: Path, licence: str) -> None:
    project = grow(tmp_path, RENDERED)
    post_gen.main(project, ANSWERS | {"licence": licence})
    first = tree(project)
    assert post_gen.main(project, ANSWERS | {"licence": licence}) == 0
    assert tree(project) == first


def test_the_last_lines_are_the_next_commands_and_the_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    post_gen.main(grow(tmp_path, RENDERED), ANSWERS)
    assert capsys.readouterr().out.splitlines() == [
        "Next:",
        "  cd x",
        "  make dev",
        "Asking every 0.5s makes 7200 reads an hour for each server process, while somebody",
        "follows operations. The board makes up to four times as many, for each login that looks.",
    ]


def test_every_choice_has_a_folder_and_every_folder_a_choice() -> None:
    folders = [path for path in (PROJECT / "backends").iterdir() if path.is_dir()]
    served = [set(folder.name.split("+")) for folder in folders]
    assert set().union(*served) >= set(BACKENDS)
    assert [choices for choices in served if not choices & set(BACKENDS)] == []
