"""The hooks as functions: what they refuse, what they copy, and what they print."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from conftest import BACKENDS, CONTEXT, PROJECT, ROOT, Bake, load, write_files
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
    "progress_backend": "sqlite",
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
def test_text_is_accepted_as_typed(name: str, text: str) -> None:
    assert problems(**{name: text}) == []


@pytest.mark.parametrize("name", pre_gen.TEXTS)
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' has no readable characters. Enter some text"),
        ("  ", "'  ' has no readable characters. Enter some text"),
        ("\u200d", "'\\u200d' has no readable characters. Enter some text"),
        ("x" * 201, f"'{'x' * 57}...' has 201 characters. Use at most "),
        ("a{{b", "'a{{b' has {{, which cookiecutter would evaluate. Remove it"),
        ("{% if %}", "'{% if %}' has {%, which cookiecutter would evaluate. Remove it"),
        ("{# x", "'{# x' has {#, which cookiecutter would evaluate. Remove it"),
        ("a\nb", "'a\\nb' has invisible characters: U+000A. Use one line of plain text"),
        ("a\u2028b", "'a\\u2028b' has invisible characters: U+2028. Use one line of plain text"),
        ("a\u202eb", "'a\\u202eb' has invisible characters: U+202E. Use one line of plain text"),
        ("a\u2066b", "'a\\u2066b' has invisible characters: U+2066. Use one line of plain text"),
        ("a\ufeffb", "'a\\ufeffb' has invisible characters: U+FEFF. Use one line of plain text"),
        ("a\ufffeb", "'a\\ufffeb' has invisible characters: U+FFFE. Use one line of plain text"),
        ("a\uffffb", "'a\\uffffb' has invisible characters: U+FFFF. Use one line of plain text"),
        ("a\udc80", "'a\\udc80' has invisible characters: U+DC80. Use one line of plain text"),
        (
            "a\x00\x01\x1b\x7f",
            "'a\\x00\\x01\\x1b\\x7f' has invisible characters: U+0000, U+0001, U+001B, ...",
        ),
    ],
)
def test_invalid_text_gets_a_line(name: str, text: str, why: str) -> None:
    (line,) = problems(**{name: text})
    assert line.startswith(f"{name}: {why}")
    assert line.endswith(f", such as: {pre_gen.TEXTS[name][1]}")


@pytest.mark.parametrize(
    ("name", "longest"), [(n, limit) for n, (limit, _) in pre_gen.TEXTS.items()]
)
def test_the_longest_text_is_accepted(name: str, longest: int) -> None:
    assert problems(**{name: "é" * longest}) == []
    assert f"Use at most {longest}" in problems(**{name: "é" * (longest + 1)})[0]


def test_text_that_cookiecutter_has_already_rendered_is_refused() -> None:
    (line,) = pre_gen.problems(GOOD | {"author": "49"}, GOOD | {"author": "{{ 7 * 7 }}"})
    assert line.startswith("author: '{{ 7 * 7 }}' has {{, which cookiecutter would evaluate")


def test_a_name_that_the_snowflake_cli_would_evaluate_is_refused() -> None:
    assert problems(project_name="a <% b %>") == []
    (line,) = problems(project_name="a <% b %>", progress_backend="snowflake")
    assert line == (
        "project_name: 'a <% b %>' has <%, which the Snowflake CLI would evaluate. Remove it"
    )


def test_the_examples_in_the_messages_work() -> None:
    assert problems(**{name: example for name, (_, example) in pre_gen.TEXTS.items()}) == []


# The slug


@pytest.mark.parametrize(
    "slug", ["a", "live-progress", "a1-b2", "x" * 50, "app-3d", "classes", "com10", "streamlit"]
)
def test_a_valid_slug_is_accepted(slug: str) -> None:
    assert problems(project_slug=slug) == []


@pytest.mark.parametrize(
    ("slug", "why", "example"),
    [
        ("", "it is empty, and project_name has no letters to derive it from", "live-progress"),
        ("../evil", "'../evil' is not a valid name", "evil"),
        ("a/b", "'a/b' is not a valid name", "a-b"),
        ("..", "'..' is not a valid name", "live-progress"),
        (".a", "'.a' is not a valid name", "a"),
        ("-a", "'-a' is not a valid name", "a"),
        ("a-", "'a-' is not a valid name", "a"),
        ("a--b", "'a--b' is not a valid name", "a-b"),
        ("a_b", "'a_b' is not a valid name", "a-b"),
        ("1up", "'1up' is not a valid name", "app-1up"),
        ("My App", "'My App' is not a valid name", "my-app"),
        ("a\n", "'a\\n' is not a valid name", "a"),
        ("é", "'é' is not a valid name", "live-progress"),
        ("Con", "'Con' is not a valid name", "con-app"),
        ("x" * 51, f"'{'x' * 51}' has 51 characters. Use at most 50", "x" * 50),
        ("con", "'con' is a reserved name on Windows", "con-app"),
        ("lpt9", "'lpt9' is a reserved name on Windows", "lpt9-app"),
        ("class", "'class' is a Python keyword", "class-app"),
    ],
)
def test_an_invalid_slug_gets_a_line_with_a_valid_one(slug: str, why: str, example: str) -> None:
    (line,) = problems(project_slug=slug)
    assert line.startswith(f"project_slug: {why}")
    assert line.endswith(f", such as: {example}")
    assert problems(project_slug=example) == []


@given(slug=st.text() | st.text(st.sampled_from("aZ1-_./\\ ~"), max_size=60))
def test_any_slug_gets_at_most_one_line_with_a_valid_one(slug: str) -> None:
    lines = problems(project_slug=slug)
    assert len(lines) <= 1
    for line in lines:
        assert "\n" not in line
        assert problems(project_slug=line.rpartition(" ")[2]) == []


jinja = create_env_with_context({"cookiecutter": CONTEXT})


# The name of the package


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_project_is_named_like_a_package_that_it_installs(bake: Bake, backend: str) -> None:
    """A project named like its dependency would replace it, and uv finds no versions that fit."""
    table: dict[str, Any] = tomllib.loads(
        bake(progress_backend=backend, project_slug="streamlit").read("pyproject.toml")
    )
    lists = [table["project"]["dependencies"], *table["dependency-groups"].values()]
    lines = [line for items in lists for line in items if isinstance(line, str)]
    names = {canonicalize_name(Requirement(line).name) for line in lines}
    assert names > {"streamlit", "pytest"}
    assert table["project"]["name"] == "streamlit-app"
    # test_project.py resolves such a project. Others cannot collide: no dependency has the suffix.
    assert [name for name in names if name.endswith("-app")] == []


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
def test_a_poll_interval_is_parsed(text: str, seconds: float) -> None:
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
def test_an_invalid_poll_interval_gets_a_line(text: str) -> None:
    assert problems(poll_interval=text) == [
        f"poll_interval: {text!r} is not a time in seconds. Enter a time, such as: 0.5s"
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
def test_a_usual_poll_interval_gets_no_note(text: str) -> None:
    assert list(pre_gen.notes(text)) == []


def test_a_short_poll_interval_gets_a_note_on_its_reads() -> None:
    (line,) = pre_gen.notes("0.2s")
    assert line.startswith("poll_interval: 0.2s makes 18000 reads an hour for each server process")


def test_a_long_poll_interval_gets_a_note_on_its_delay() -> None:
    (line,) = pre_gen.notes("30")
    assert line == "poll_interval: with 30 a page shows updates up to 30 seconds late."


# Together


def test_all_problems_are_printed_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {"project_name": "", "project_slug": "A", "author": "{{\n", "poll_interval": "soon"}
    assert pre_gen.main(GOOD | bad, GOOD, tmp_path) == 1
    told = capsys.readouterr()
    assert told.out == ""
    names = [line.partition(":")[0] for line in told.err.splitlines()[:-2]]
    assert names == ["project_name", "author", "author", "project_slug", "poll_interval"]


def remedy_of(answers: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the command that the hook prints for answers with a problem."""
    assert pre_gen.main(GOOD | answers, GOOD, tmp_path) == 1
    line: str = capsys.readouterr().err.splitlines()[-2]
    return line.removeprefix("To keep the other answers: ")


def test_the_command_keeps_the_accepted_answers_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"project_slug": "A", "author": "O'Neill $HOME", "live_feed": False, "__x": "hidden"}
    command = remedy_of(answers | {"_template": "gh:org/template"}, tmp_path, capsys)
    assert shlex.split(command) == [
        *("cookiecutter", "gh:org/template", "project_name=Live Progress"),
        *("description=Shows progress.", "author=O'Neill $HOME", "operation=Analyze"),
        *("poll_interval=0.5s", "progress_backend=sqlite", "live_feed=no"),
    ]


def test_the_command_names_a_version_and_another_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"project_slug": "A", "_template": "t", "_output_dir": "/here", "_checkout": None}
    monkeypatch.setenv("PWD", "/here")
    assert remedy_of(here, tmp_path, capsys).startswith("cookiecutter t 'project_name=")
    there = here | {"_output_dir": "/there", "_checkout": "v1"}
    assert remedy_of(there, tmp_path, capsys).startswith(
        "cookiecutter t --checkout v1 --output-dir /there 'project_name="
    )


def test_a_note_is_not_a_refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pre_gen.main(GOOD | {"poll_interval": "0.2s"}, GOOD, tmp_path) == 0
    told = capsys.readouterr()
    assert "18000 reads" in told.out
    assert told.err == ""


def test_valid_answers_print_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pre_gen.main(GOOD, GOOD, tmp_path) == 0
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []  # cookiecutter makes the folders of a new project itself


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


# The overlays


def tree(folder: Path) -> dict[str, str]:
    """Return the files of a folder with their texts."""
    return {
        p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()
    }


def files_of(layer: Path) -> list[str]:
    """Return the paths that git lists in a layer of the template, relative to it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=layer, capture_output=True, encoding="utf-8", check=True
    )
    return [name for name in listed.stdout.split("\0") if name]


RENDERED = {
    "app.py": "app",
    "LICENSE": "Mine",
    "progress/poller.py": "poller",
    "cookiecutter-overlays/existing-files.txt": "replace\n",
    "cookiecutter-overlays/sqlite/progress/backend.py": "sqlite",
    "cookiecutter-overlays/api+sqlite/jobs/run.py": "shared by two",
    "cookiecutter-overlays/api+postgres+sqlite/jobs/all.py": "shared by three",
    "cookiecutter-overlays/postgres/progress/backend.py": "postgres",
    "cookiecutter-overlays/postgres/schema.sql": "postgres",
    "cookiecutter-overlays/sqlite-2/progress/backend.py": "another backend with a similar name",
    "cookiecutter-overlays/live_feed/feeds.py": "live feed",
}
KEEP = {"cookiecutter-overlays/existing-files.txt": "keep\n"}
ANSWERS = {
    "project_slug": "x",
    "progress_backend": "sqlite",
    "live_feed": False,
    "licence": "MIT",
    "poll_interval": "0.5s",
}


def test_the_overlays_of_the_backend_are_copied_and_the_others_are_gone(tmp_path: Path) -> None:
    project = write_files(tmp_path, RENDERED)
    assert post_gen.main(project, ANSWERS) == 0
    assert tree(project) == {
        "app.py": "app",
        "LICENSE": "Mine",
        "progress/poller.py": "poller",
        "progress/backend.py": "sqlite",
        "jobs/run.py": "shared by two",
        "jobs/all.py": "shared by three",
    }
    assert not (project / "cookiecutter-overlays").exists()


@pytest.mark.parametrize(("mode", "kept"), [({}, False), (KEEP, True)])
def test_an_existing_file_is_kept_if_cookiecutter_skips_those(
    tmp_path: Path, mode: dict[str, str], kept: bool
) -> None:
    mine = {"feeds.py": "mine", "progress/backend.py": "mine"}
    project = write_files(tmp_path, RENDERED | mine | mode)
    assert post_gen.main(project, ANSWERS | {"live_feed": True}) == 0
    files = tree(project)
    assert files["jobs/run.py"] == "shared by two"
    assert (files["feeds.py"] == "mine", files["progress/backend.py"] == "mine") == (kept, kept)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_file_of_a_project_comes_from_two_places(backend: str) -> None:
    """Kept files are told by their names: what is there must be the user's, not another layer's."""
    overlays = PROJECT / "cookiecutter-overlays"
    layers = [folder for folder in overlays.iterdir() if backend in folder.name.split("+")]
    names = [name for layer in [*layers, overlays / "live_feed"] for name in files_of(layer)]
    names += [name for name in files_of(PROJECT) if not name.startswith(overlays.name)]
    assert sorted(names) == sorted(set(names))


def test_each_backend_gets_its_own_overlay(tmp_path: Path) -> None:
    project = write_files(tmp_path, RENDERED)
    assert post_gen.main(project, ANSWERS | {"progress_backend": "postgres"}) == 0
    assert tree(project)["progress/backend.py"] == "postgres"
    assert tree(project)["schema.sql"] == "postgres"
    assert tree(project)["jobs/all.py"] == "shared by three"


def test_the_live_feed_is_copied_if_chosen(tmp_path: Path) -> None:
    project = write_files(tmp_path, RENDERED)
    assert post_gen.main(project, ANSWERS | {"live_feed": True}) == 0
    assert tree(project)["feeds.py"] == "live feed"
    assert tree(project)["progress/backend.py"] == "sqlite"


def test_a_backend_without_an_overlay_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        post_gen.main(write_files(tmp_path, RENDERED), ANSWERS | {"progress_backend": "fax"}) == 1
    )
    assert capsys.readouterr() == ("", "cookiecutter-overlays/ has no folder for fax.\n")


def test_an_executable_file_stays_executable(tmp_path: Path) -> None:
    project = write_files(tmp_path, RENDERED)
    (project / "cookiecutter-overlays" / "sqlite" / "start").write_text("#!/bin/sh\n")
    (project / "cookiecutter-overlays" / "sqlite" / "start").chmod(0o755)
    post_gen.main(project, ANSWERS)
    assert (project / "start").stat().st_mode & 0o111


@pytest.mark.parametrize(("text", "stays"), [("\n", False), ("Mine", True)])
def test_no_licence_means_no_file_but_for_the_user_s_own(
    tmp_path: Path, text: str, stays: bool
) -> None:
    """Without a licence, the template's file renders as empty."""
    project = write_files(tmp_path, RENDERED | {"LICENSE": text})
    assert post_gen.main(project, ANSWERS | {"licence": "none"}) == 0
    assert (project / "LICENSE").exists() == stays


@pytest.mark.parametrize("licence", ["MIT", "none"])
def test_a_second_run_changes_nothing(tmp_path: Path, licence: str) -> None:
    project = write_files(tmp_path, RENDERED)
    post_gen.main(project, ANSWERS | {"licence": licence})
    first = tree(project)
    assert post_gen.main(project, ANSWERS | {"licence": licence}) == 0
    assert tree(project) == first


def test_the_last_lines_are_the_choices_the_next_commands_and_the_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    post_gen.main(write_files(tmp_path, RENDERED), ANSWERS)
    assert capsys.readouterr().out.splitlines() == [
        "Made with progress_backend=sqlite, poll_interval=0.5s, live_feed=no, licence=MIT.",
        "Next:",
        "  cd x",
        "  make dev",
        "Then edit jobs.py.",
        "Polling every 0.5s makes 7200 reads an hour for each server process while operations",
        "are tracked. The board makes up to four times as many for each login that opens it.",
    ]


def test_every_backend_has_an_overlay_and_every_overlay_a_choice() -> None:
    overlays = (PROJECT / "cookiecutter-overlays").iterdir()
    folders = {folder.name for folder in overlays if folder.is_dir()} - {"live_feed"}
    served = [set(folder.split("+")) for folder in folders]
    assert set().union(*served) >= set(BACKENDS)
    assert [choices for choices in served if not choices & set(BACKENDS)] == []
