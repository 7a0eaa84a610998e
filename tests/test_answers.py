"""Hostile answers: refused with our lines, or in the project as typed.

What a user sees on the terminal is tested with the real command.
"""

import os
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from conftest import BACKENDS, CONTEXT, LICENCES, Bake, Completed, Cookiecutter
from markdown_it import MarkdownIt


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder for the projects of one test, in an otherwise empty folder."""
    output = tmp_path / "around" / "projects"
    output.mkdir(parents=True)
    return output


def left(output: Path) -> list[Path]:
    """Return what was made in the output folder, and next to it."""
    return [path for path in output.parents[1].rglob("*") if path not in (output, output.parent)]


def our_lines(result: Completed) -> list[str]:
    """Return the problems that the hook printed, without the remedy below them."""
    assert result.returncode != 0, result.stdout + result.stderr
    *problems, remedy, explanation = result.stderr.splitlines()
    assert remedy.startswith("To keep the other answers: cookiecutter ")
    assert explanation == (
        "Below is a traceback of cookiecutter, which it prints whenever a hook refuses."
    )
    return problems


# Refused


@pytest.mark.parametrize(
    ("answers", "lines"),
    [
        ({"project_slug": slug}, [f"project_slug: {slug!r} is not a valid name."])
        for slug in [
            "../evil",
            "~",
            "-rf",
            "a\\b",
            "C:x",
            "A",
            "a_b",
            "ab\n",
            "$(id)",
        ]
    ]
    + [
        ({"project_slug": "x" * 51}, [f"project_slug: '{'x' * 51}' has 51 characters."]),
        ({"project_slug": "x" * 255}, [f"project_slug: '{'x' * 57}...' has 255 characters."]),
        ({"project_slug": "nul"}, ["project_slug: 'nul' is a reserved name on Windows"]),
        ({"project_slug": "import"}, ["project_slug: 'import' is a Python keyword."]),
        (
            {"project_name": "x{{ 7 * 7 }}"},
            ["project_name: 'x{{ 7 * 7 }}' has {{, which cookiecutter"],
        ),
        ({"description": "a {# hidden #} b"}, ["description: 'a {# hidden #} b' has {#, which"]),
        ({"operation": "{% raw %}{{{% endraw %}"}, ["operation: '{{' has {{, which cookiecutter"]),
        ({"author": "Ada\x1b[31m"}, ["author: 'Ada\\x1b[31m' has invisible characters: U+001B."]),
        (
            {"author": "Ada\u202eecila"},
            ["author: 'Ada\\u202eecila' has invisible characters: U+202E."],
        ),
        ({"author": "Ada\udcff"}, ["author: 'Ada\\udcff' has invisible characters: U+DCFF."]),
        (
            {"operation": "a\nb: [evil]"},
            ["operation: 'a\\nb: [evil]' has invisible characters: U+000A."],
        ),
        ({"poll_interval": "soon"}, ["poll_interval: 'soon' is not a time in seconds."]),
        ({"poll_interval": "0.1s"}, ["poll_interval: '0.1s' is out of range. Use 0.2s to 60s"]),
        (
            {
                "project_name": " ",
                "project_slug": "../../evil",
                "description": "x" * 201,
                "author": "a\tb",
                "poll_interval": "nan",
                "operation": "",
            },
            [
                "project_name: ' ' has no readable characters.",
                f"description: '{'x' * 57}...' has 201 characters. Use at most 200",
                "author: 'a\\tb' has invisible characters: U+0009.",
                "operation: '' has no readable characters.",
                "project_slug: '../../evil' is not a valid name.",
                "poll_interval: 'nan' is not a time in seconds.",
            ],
        ),
    ],
)
def test_bad_answers_are_refused_together_and_nothing_is_left(
    cookiecutter: Cookiecutter, output: Path, answers: dict[str, str], lines: list[str]
) -> None:
    told = our_lines(cookiecutter(output, answers))
    assert len(told) == len(lines), told
    for line, start in zip(told, lines, strict=True):
        assert line.startswith(start)
        assert ", such as: " in line
    assert left(output) == []


def test_an_absolute_path_is_refused(cookiecutter: Cookiecutter, output: Path) -> None:
    (line,) = our_lines(cookiecutter(output, {"project_slug": str(output.parent / "evil")}))
    assert line.startswith("project_slug: '/")
    assert left(output) == []


def test_a_refused_path_may_leave_its_empty_parent(
    cookiecutter: Cookiecutter, output: Path
) -> None:
    """Cookiecutter makes the folder before it runs the hook, and removes only the innermost."""
    (line,) = our_lines(cookiecutter(output, {"project_slug": "a/b"}))
    assert line.startswith("project_slug: 'a/b' is not a valid name.")
    assert left(output) == [output / "a"]


@pytest.mark.parametrize("slug", ["..", ".", "/", "../evil", "🚀"])
def test_an_existing_folder_is_not_changed(
    cookiecutter: Cookiecutter, output: Path, slug: str
) -> None:
    """Cookiecutter's own check comes before the hook. A slug of an emoji is empty: the output."""
    (output.parent / "evil").mkdir()
    (output.parent / "evil" / "work").write_text("a year's work")
    answers = {"project_name": slug} if slug == "🚀" else {"project_slug": slug}
    result = cookiecutter(output, answers)
    assert result.returncode != 0
    (line,) = result.stdout.splitlines()
    assert line.startswith('Error: "')
    assert line.endswith('" directory already exists')
    assert left(output) == [output.parent / "evil", output.parent / "evil" / "work"]


def test_a_name_that_is_too_long_for_a_folder_leaves_nothing(
    cookiecutter: Cookiecutter, output: Path
) -> None:
    result = cookiecutter(output, {"project_slug": "x" * 5000})
    assert result.returncode != 0
    assert "File name too long" in result.stderr
    assert left(output) == []


def test_a_failed_bake_of_the_tests_shows_why(bake: Bake) -> None:
    with pytest.raises(AssertionError, match="poll_interval: 'soon' is not a time in seconds"):
        bake(poll_interval="soon")


@pytest.mark.parametrize(
    ("name", "choices"), [("progress_backend", BACKENDS), ("licence", LICENCES)]
)
def test_an_unknown_choice_ends_with_a_line_that_names_the_choices(
    cookiecutter: Cookiecutter, output: Path, name: str, choices: list[str]
) -> None:
    result = cookiecutter(output, {name: "fax"})
    assert result.returncode != 0
    assert result.stderr.splitlines()[-1] == (
        f"ValueError: fax provided for choice variable {name}, but the choices are {choices}."
    )
    assert left(output) == []


def test_an_answer_that_is_not_yes_or_no_ends_with_a_line(
    cookiecutter: Cookiecutter, output: Path
) -> None:
    result = cookiecutter(output, {"live_feed": "maybe"})
    assert result.returncode != 0
    assert result.stderr.splitlines()[-1] == (
        "ValueError: maybe provided for variable live_feed could not be converted to a boolean."
    )
    assert left(output) == []


def test_code_that_is_typed_at_a_prompt_is_refused(
    cookiecutter: Cookiecutter, output: Path
) -> None:
    result = cookiecutter(output, typed="Mine {{ 7 * 7 }}\nmine\n" + "\n" * 7)
    (line,) = our_lines(result)
    assert line.startswith(
        "project_name: 'Mine {{ 7 * 7 }}' has {{, which cookiecutter would evaluate."
    )
    assert left(output) == []


# Accepted

TYPED = [
    'It\'s "ours" & <b>theirs</b>',
    "C:\\new\\table\\",
    "Family 👩‍👩‍👧 🚀 日本語 עברית",
    "50% of {a} }} %} # [link](x) *not bold* `code` $x$ | ~~y~~",
    "1. '''triple''' and \"\"\"triple\"\"\" $(id) `id` ; rm -rf",
    "key: value # no comment, !tag &anchor *alias",
]


@pytest.mark.parametrize("text", TYPED)
def test_text_is_in_the_project_as_typed(bake: Bake, text: str) -> None:
    project = bake(
        project_name=text, project_slug="mine", description=text, author=text, operation=text
    )
    app = tomllib.loads(project.read("settings.toml"))["app"]
    assert [app[name] for name in ("title", "description", "operation")] == [text] * 3

    package = tomllib.loads(project.read("pyproject.toml"))["project"]
    assert (package["name"], package["description"]) == ("mine-app", text)
    assert package["authors"] == [{"name": text}]

    assert f"Copyright (c) {text}\n" in project.read("LICENSE")

    blocks = MarkdownIt().parse(project.read("README.md"))
    heading, description = [block for block in blocks if block.children is not None][:2]
    assert [block.tag for block in blocks if block.nesting == 1][:2] == ["h1", "p"]
    for block in (heading, description):
        assert "".join(child.content for child in block.children or []) == text


@pytest.mark.parametrize(
    ("slug", "schema"),
    [
        ("live-progress", "live_progress"),
        ("pg-monitor", "app_pg_monitor"),
        ("public", "app_public"),
        ("information-schema", "app_information_schema"),
    ],
)
def test_the_schema_in_postgres_is_named_after_the_project(
    bake: Bake, slug: str, schema: str
) -> None:
    """Postgres has schemas of its own, and refuses names that begin with pg_."""
    project = bake(project_slug=slug, progress_backend="postgres")
    settings = tomllib.loads(project.read("settings.toml"))
    assert settings["postgres"] == {"schema": schema}


@pytest.mark.parametrize(
    ("typed", "slug"),
    [
        ("Café Müller", "cafe-muller"),
        ("日本語", "ri-ben-yu"),
        ("A & B", "a-b"),
        ("x " * 40, "x-" * 24 + "x"),
    ],
)
def test_the_folder_is_named_after_the_project(bake: Bake, typed: str, slug: str) -> None:
    project = bake(project_name=typed)
    assert project.path.name == slug
    assert tomllib.loads(project.read("pyproject.toml"))["project"]["name"] == f"{slug}-app"


@pytest.mark.parametrize("interval", ["500ms", "1.5 s", "60"])
def test_the_poll_interval_is_in_the_project_as_typed(bake: Bake, interval: str) -> None:
    settings = tomllib.loads(bake(poll_interval=interval).read("settings.toml"))
    assert settings["progress"]["poll_interval"] == interval


# What the user sees


def test_a_bake_prints_the_next_steps_and_nothing_else(
    cookiecutter: Cookiecutter, output: Path
) -> None:
    result = cookiecutter(output, {"project_slug": "mine"})
    assert result.stdout.splitlines() == [
        "Made with progress_backend=sqlite, poll_interval=0.5s, live_feed=yes, licence=MIT.",
        "Next:",
        "  cd mine",
        "  make dev",
        "Then edit jobs.py.",
        "Polling every 0.5s makes 7200 reads an hour for each server process while operations",
        "are tracked. The board makes up to four times as many for each login that opens it.",
    ]
    assert (result.returncode, result.stderr) == (0, "")


def test_a_misspelt_choice_in_the_configuration_of_a_user_can_be_seen(
    cookiecutter: Cookiecutter, output: Path
) -> None:
    """cookiecutter warns, and takes the default."""
    config = output / "config.yaml"
    config.write_text("default_context: {progress_backend: postgress}\n", "utf-8")
    result = cookiecutter(output, {}, options=["--config-file", str(config)])
    assert result.returncode == 0
    assert "Made with progress_backend=sqlite," in result.stdout


def test_the_printed_command_keeps_the_other_answers(
    cookiecutter: Cookiecutter, output: Path
) -> None:
    typed = 'It\'s ${HOME}\nMy App\n\nAda "C"\n2\nsoon\n\nno\n\n'
    refused = cookiecutter(output, typed=typed)
    assert len(our_lines(refused)) == 2  # the slug and the interval
    command = shlex.split(refused.stderr.splitlines()[-2].partition(": ")[2])
    assert command[:4] == ["cookiecutter", str(cookiecutter.template), "--output-dir", str(output)]
    answers = dict(answer.split("=", 1) for answer in command[4:])
    assert "project_slug" not in answers
    # The user accepts the answers at the prompts, and enters the two that were refused.
    again = cookiecutter(output, answers, typed="\nmy-app\n\n\n\n2s\n\n\n\n", prompt=True)
    assert again.returncode == 0, again.stderr
    assert "Made with progress_backend=postgres, poll_interval=2s, live_feed=no" in again.stdout
    settings = tomllib.loads((output / "my-app" / "settings.toml").read_text("utf-8"))
    assert settings["app"]["title"] == "It's ${HOME}"
    assert 'Copyright (c) Ada "C"\n' in (output / "my-app" / "LICENSE").read_text("utf-8")


def test_a_note_comes_before_the_next_steps(cookiecutter: Cookiecutter, output: Path) -> None:
    result = cookiecutter(output, {"poll_interval": "200ms"})
    note, *steps = result.stdout.splitlines()
    assert note.startswith("poll_interval: 200ms makes 18000 reads an hour")
    assert steps[1] == "Next:"
    assert result.returncode == 0


@pytest.mark.parametrize("interval", ["0.5s", "200ms"])  # the second makes both hooks print
def test_a_closed_pipe_does_not_undo_the_project(
    cookiecutter: Cookiecutter, output: Path, interval: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = cookiecutter(output, {"poll_interval": interval}, stdout=writer)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")
    assert (output / "live-progress" / "progress" / "backend" / "connection.py").is_file()
    assert not (output / "live-progress" / "cookiecutter-overlays").exists()


@pytest.mark.parametrize("command", [["true"], ["head", "-1"]])
@pytest.mark.parametrize("interval", ["0.5s", "0.2s"])
def test_a_reader_that_leaves_does_not_undo_the_project(
    cookiecutter: Cookiecutter, output: Path, command: list[str], interval: str
) -> None:
    """`cookiecutter ... | true`, and `| head -1`, which leaves before the last line."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
        assert reader.stdin is not None
        answers = {"poll_interval": interval}
        result = cookiecutter(output, answers, stdout=reader.stdin.fileno())
        reader.stdin.close()
    assert (result.returncode, result.stderr) == (0, "")
    assert (output / "live-progress" / "progress" / "backend" / "connection.py").is_file()


def test_every_prompt_is_shown_as_written(cookiecutter: Cookiecutter, output: Path) -> None:
    result = cookiecutter(output, typed="\n" * 9)
    shown = " ".join(result.stdout.split())
    assert result.returncode == 0, result.stderr
    asked = [name for name in CONTEXT if not name.startswith("_")]
    assert list(CONTEXT["__prompts__"]) == asked
    for name in asked:
        prompt = CONTEXT["__prompts__"][name]
        if isinstance(prompt, dict):
            assert list(prompt) == ["__prompt__", *CONTEXT[name]]
        for text in prompt.values() if isinstance(prompt, dict) else [prompt]:
            assert text in shown
