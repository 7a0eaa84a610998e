"""The docs name what there is: links, files, make targets and prompts."""

import json
import re
from pathlib import Path

import pytest
from conftest import Cookiecutter

TEMPLATE = Path(__file__).resolve().parents[1]
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
PAGES = [
    # CHANGELOG.md names what is gone.
    *(page for page in TEMPLATE.glob("*.md") if page.name != "CHANGELOG.md"),
    *TEMPLATE.glob("docs/**/*.md"),
    *TEMPLATE.glob("templates/*/readme.md"),
    *PROJECT.glob("*.md"),
]
OVERLAYS = PROJECT / "cookiecutter-overlays"
ROOTS = [TEMPLATE, PROJECT, *OVERLAYS.glob("*"), *OVERLAYS.glob("*/progress")]
FILE = re.compile(r"[\w./-]+\.(?:py|md|toml|sql|yml|yaml|txt|json|png|svg)")
MADE_LATER = {".streamlit/secrets.toml"}


def name(page: Path) -> str:
    """Return the path of a page, for the name of a test."""
    return page.relative_to(TEMPLATE).as_posix()


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    spans = re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))
    named = {span for span in spans if FILE.fullmatch(span) and "/" in span} - MADE_LATER
    # Two backends share a folder whose name depends on the backend.
    local_jobs = OVERLAYS / "api+sqlite" / "{{cookiecutter.__local_jobs}}"
    missing = {
        file
        for file in named
        if not any((root / file).exists() for root in ROOTS)
        and not (local_jobs / Path(file).name).exists()
        and not any("NAME" in part for part in Path(file).parts)
    }
    assert not missing


@pytest.mark.parametrize("page", [TEMPLATE / "SECURITY.md", PROJECT / "SECURITY.md"], ids=name)
def test_every_promise_has_its_test(page: Path) -> None:
    folders = [TEMPLATE / "tests", PROJECT]
    tests = [path for folder in folders for path in folder.rglob("test_*.py")]
    sources = {path.name: path.read_text(encoding="utf-8") for path in tests}
    named = re.findall(
        r"`(?:[\w/]+/)?(test_\w+\.py)(?:::(\w+))?`", page.read_text(encoding="utf-8")
    )
    assert named
    for file, test in named:
        assert f"def {test}" in sources[file]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    makefiles = [TEMPLATE / "Makefile", PROJECT / "Makefile"]
    makefiles += TEMPLATE.glob("templates/*/targets.mk")
    text = "\n".join(makefile.read_text(encoding="utf-8") for makefile in makefiles)
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= targets


def test_every_prompt_is_described() -> None:
    answers = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
    page = (TEMPLATE / "docs" / "prompts.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert described == [answer for answer in answers if not answer.startswith("_")]


def code_blocks(page: str, language: str) -> list[str]:
    """Return the blocks of code in a page of docs/, those of lists too."""
    text = (TEMPLATE / "docs" / page).read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def test_the_lines_for_an_app_that_exists_are_those_that_are_tested() -> None:
    lines, _ = code_blocks("adopting.md", "python")
    test = TEMPLATE / "tests" / "app" / "sqlite" / "test_adoption.py"
    assert f'APP = """\\\n{lines}"""' in test.read_text(encoding="utf-8")
    assert lines.count("# new") == 3


def test_the_location_for_nginx_is_the_one_that_is_tested() -> None:
    (lines,) = code_blocks("deployment.md", "nginx")
    test = TEMPLATE / "tests" / "app" / "postgres" / "browser" / "test_proxy.py"
    assert f'LOCATION = """\\\n{lines}"""' in test.read_text(encoding="utf-8")


def test_the_defaults_of_an_organization_are_used(
    cookiecutter: Cookiecutter, tmp_path: Path
) -> None:
    (defaults,) = code_blocks("adopting.md", "yaml")
    config = tmp_path / "organization.yaml"
    config.write_text(defaults, encoding="utf-8")
    done = cookiecutter(tmp_path, {}, options=["--config-file", str(config)])
    assert done.returncode == 0, done.stderr
    project = tmp_path / "live-progress"
    assert (project / "progress" / "backend" / "schema.sql").is_file()
    assert 'name = "Example Inc."' in (project / "pyproject.toml").read_text(encoding="utf-8")
    assert not (project / "LICENSE").exists()
