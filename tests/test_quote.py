"""Any answer that the hook accepts is in TOML, YAML and Markdown as typed."""

import tomllib

import pytest
import yaml
from conftest import CONTEXT, ROOT, load
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from markdown_it.token import Token

pre_gen = load(ROOT / "hooks" / "pre_gen_project.py")
# The environment that cookiecutter makes, and CommonMark with the extensions of GitHub.
macros = Environment(
    loader=FileSystemLoader(ROOT / "templates"),
    keep_trailing_newline=True,
    **CONTEXT["_jinja2_env_vars"],
).get_template("quote.jinja")
github = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def toml(text: str) -> str:
    """Return what the template writes into TOML and YAML."""
    return str(macros.make_module().toml(text))  # type: ignore[attr-defined]


def markdown(text: str) -> str:
    """Return what the template writes into Markdown."""
    return str(macros.make_module().markdown(text))  # type: ignore[attr-defined]


accepted = st.characters().filter(lambda character: not pre_gen.is_refused(character))
punctuation = st.sampled_from("\\\"'`*_[](){}<>&|~#$-+=.!:;/ 1aé日")
texts = st.text(accepted, min_size=1) | st.text(punctuation, min_size=1)
hostile = pytest.mark.parametrize(
    "text",
    [
        'It\'s "ours"',
        "C:\\new\\table\\",
        '"""',
        "\\\"\\'",
        "👩‍👩‍👧 & <b>日本語</b>",
        "a: b # c, [d] {e} - ? ! %f @g `h`",
    ],
)


@hostile
@given(more=texts)
def test_a_quoted_string_is_the_text_in_toml_and_yaml(text: str, more: str) -> None:
    for line in (text, more, text + more):
        assert tomllib.loads(f"x = {toml(line)}  # a comment")["x"] == line
        assert yaml.safe_load(f"x: {toml(line)}  # a comment")["x"] == line


def test_plain_text_only_gets_quotes() -> None:
    assert toml("Live Progress 🚀") == '"Live Progress 🚀"'


def assert_shown_as_typed(text: str) -> None:
    """Check that Markdown renders the text as typed, as a heading and as a paragraph."""
    assert shown(github.parse(f"# {markdown(text)}\n"), "heading_open") == text.strip()
    assert shown(github.parse(f"{markdown(text)}\n"), "paragraph_open") == text.strip()


@given(text=texts.filter(str.strip))
def test_escaped_markdown_shows_any_text(text: str) -> None:
    assert_shown_as_typed(text)


MARKS = ["_a_", "*a*", "`a`", "~~a~~", "[a](b)", "![a](b)", "<a>", "&amp;", "\\*", "a\\", "a #"]
LINE_MARKS = ["# a", "- a", "+ a", "> a", "1. a", "12) a", "---", "===", "| a | b |"]


@pytest.mark.parametrize("text", MARKS + LINE_MARKS)
def test_escaped_markdown_shows_its_own_marks(text: str) -> None:
    assert_shown_as_typed(text)


def test_escaped_markdown_is_no_formula_and_no_table_cell() -> None:
    assert markdown("$a$ | b") == r"\$a\$ \| b"


def test_escaped_markdown_does_not_change_plain_text() -> None:
    plain = "Shows the progress of long-running calls (live), at 2.5 s; isn't it nice?"
    assert markdown(plain) == plain


def shown(tokens: list[Token], kind: str) -> str:
    """Return the text of the only block in the tokens, which must be of this kind."""
    opening, inline, _closing = tokens
    assert opening.type == kind
    assert {child.type for child in inline.children or []} <= {"text", "text_special"}
    return "".join(child.content for child in inline.children or [])


def test_the_defaults_of_free_text_are_plain() -> None:
    for name in pre_gen.TEXTS:
        assert not list(pre_gen.text_problems(CONTEXT[name], CONTEXT[name], 80))
