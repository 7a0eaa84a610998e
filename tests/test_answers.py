"""Hostile answers, through the real command: refused with our lines, or arriving as typed."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import BACKENDS, CONTEXT, LICENCES, Bake, Completed, Cookiecutter
from markdown_it import MarkdownIt


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder for the projects of one test, in a folder where nothing else is."""
    output = tmp_path / "around" / "projects"
    output.mkdir(parents=True)
    return output


def left(output: Path) -> list[Path]:
    """Return what was made in the output folder, and beside it."""
    return [path for path in output.parents[1].rglob("*") if path not in (output, output.parent)]


def our_lines(result: Completed) -> list[str]:
    """Return what the hook says, which must come before all that cookiecutter adds."""
    ours, _, _ = result.stderr.partition("Traceback")
    assert result.returncode != 0, result.stdout + result.stderr
    return ours.splitlines()


# Refused


@pytest.mark.parametrize(
    ("answers", "lines"),
    [
        ({"project_slug": slug}, [f"project_slug: {slug!r} is no plain name."])
        for slug in [
            "../evil",
            "a/b",
            "..",
            ".",
            "/",
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
        ({"project_slug": "x" * 5000}, [f"project_slug: '{'x' * 57}...' has 5000 characters."]),
        ({"project_slug": "nul"}, ["project_slug: 'nul' is a device on Windows"]),
        ({"project_slug": "import"}, ["project_slug: 'import' is a word of Python."]),
        ({"project_name": "Streamlit"}, ["project_slug: 'streamlit' is a package that"]),
        ({"project_name": "🚀"}, ["project_slug: it is empty, and the name has no letters"]),
        ({"project_name": "x{{ 7 * 7 }}"}, ["project_name: 'x{{ 7 * 7 }}' has {{, which"]),
        ({"description": "a {# hidden #} b"}, ["description: 'a {# hidden #} b' has {#, which"]),
        ({"operation": "{% raw %}{{{% endraw %}"}, ["operation: '{{' has {{, which cookiecutter"]),
        ({"author": "Ada\x1b[31m"}, ["author: 'Ada\\x1b[31m' has U+001B, which cannot be seen."]),
        ({"author": "Ada\u202eecila"}, ["author: 'Ada\\u202eecila' has U+202E, which"]),
        ({"author": "Ada\udcff"}, ["author: 'Ada\\udcff' has U+DCFF, which"]),
        ({"operation": "a\nb: [evil]"}, ["operation: 'a\\nb: [evil]' has U+000A, which"]),
        ({"poll_interval": "soon"}, ["poll_interval: 'soon' is no time in seconds."]),
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
                "project_name: ' ' has nothing that can be read.",
                f"description: '{'x' * 57}...' has 201 characters. Use at most 200",
                "author: 'a\\tb' has U+0009, which cannot be seen.",
                "operation: '' has nothing that can be read.",
                "project_slug: '../../evil' is no plain name.",
                "poll_interval: 'nan' is no time in seconds.",
            ],
        ),
    ],
)
def test_bad_answers_are_refused_all_at_once_and_nothing_is_left(
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


def test_what_stands_beside_the_output_is_left_alone(
    cookiecutter: Cookiecutter, output: Path
) -> None:
    (output.parent / "evil").mkdir()
    (output.parent / "evil" / "work").write_text("a year's work")
    our_lines(cookiecutter(output, {"project_slug": "../evil"}))
    assert left(output) == [output.parent / "evil", output.parent / "evil" / "work"]


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


def test_code_that_is_typed_at_a_prompt_is_refused(
    cookiecutter: Cookiecutter, output: Path
) -> None:
    result = cookiecutter(output, typed="Mine {{ 7 * 7 }}\nmine\n" + "\n" * 6)
    (line,) = our_lines(result)
    assert line.startswith("project_name: 'Mine {{ 7 * 7 }}' has {{, which cookiecutter runs.")
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
def test_text_arrives_as_typed(bake: Bake, text: str) -> None:
    project = bake(
        project_name=text, project_slug="mine", description=text, author=text, operation=text
    )
    app = tomllib.loads(project.read("settings.toml"))["app"]
    assert app == {"title": text, "description": text, "operation": text}

    package = tomllib.loads(project.read("pyproject.toml"))["project"]
    assert (package["name"], package["description"]) == ("mine", text)
    assert package["authors"] == [{"name": text}]

    assert f"Copyright (c) {text}\n" in project.read("LICENSE")

    blocks = MarkdownIt().parse(project.read("README.md"))
    heading, description = [block for block in blocks if block.children is not None][:2]
    assert [block.tag for block in blocks if block.nesting == 1][:2] == ["h1", "p"]
    for block in (heading, description):
        assert "".join(child.content for child in block.children or []) == text


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
    assert tomllib.loads(project.read("pyproject.toml"))["project"]["name"] == slug


@pytest.mark.parametrize("interval", ["500ms", "1.5 s", "60"])
def test_the_poll_interval_arrives_as_typed(bake: Bake, interval: str) -> None:
    settings = tomllib.loads(bake(poll_interval=interval).read("settings.toml"))
    assert settings["progress"]["poll_interval"] == interval


# What the user sees


def test_a_good_run_says_what_to_do_next_and_no_more(
    cookiecutter: Cookiecutter, output: Path
) -> None:
    result = cookiecutter(output, {"project_slug": "mine"})
    assert result.stdout.splitlines() == [
        "Next:",
        "  cd mine",
        "  make dev",
        "Asking every 0.5s makes 7200 reads an hour for each server process, while somebody",
        "follows operations. The board makes up to four times as many, for each login that looks.",
    ]
    assert (result.returncode, result.stderr) == (0, "")


def test_a_remark_comes_before_the_next_steps(cookiecutter: Cookiecutter, output: Path) -> None:
    result = cookiecutter(output, {"poll_interval": "200ms"})
    remark, *steps = result.stdout.splitlines()
    assert remark.startswith("poll_interval: 200ms makes 18000 reads an hour")
    assert steps[0] == "Next:"
    assert result.returncode == 0


def test_every_prompt_is_shown_as_written(cookiecutter: Cookiecutter, output: Path) -> None:
    result = cookiecutter(output, typed="\n" * 8)
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


# cruft saves the answers, and renders them again for every update


def test_answers_arrive_as_typed_through_cruft(
    cookiecutter: Cookiecutter, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(cookiecutter.home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ada@example.com")

    def run(*args: str | Path, cwd: Path) -> None:
        result = subprocess.run(args, cwd=cwd, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr

    def commit(folder: Path) -> None:
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "as it is"]):
            run("git", *command, cwd=folder)

    cruft = [sys.executable, "-m", "cruft"]
    template = shutil.copytree(cookiecutter.template, tmp_path / "template")
    commit(template)
    answers = {"project_name": TYPED[0], "author": TYPED[2], "description": TYPED[1]}
    context = ["--extra-context", json.dumps(answers | {"project_slug": "mine"})]
    run(*cruft, "create", template, "--no-input", "--default-config", *context, cwd=output)
    project = output / "mine"
    before = tomllib.loads((project / "settings.toml").read_text("utf-8"))
    assert before["app"]["title"] == TYPED[0]
    commit(project)

    settings = template / "{{cookiecutter.project_slug}}" / "settings.toml"
    settings.write_text(settings.read_text("utf-8").replace('"15s"', '"120s"'), "utf-8")
    commit(template)
    run(*cruft, "update", "--skip-apply-ask", cwd=project)
    after = tomllib.loads((project / "settings.toml").read_text("utf-8"))
    assert after["progress"].pop("stale_after") == "120s"
    assert before["progress"].pop("stale_after") == "15s"
    assert after == before
    run(*cruft, "check", cwd=project)
