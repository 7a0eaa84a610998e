"""settings.toml: good values, and one clear line for each bad one."""

from pathlib import Path

import pytest

from progress.settings import (
    ROOT,
    Page,
    SettingsError,
    have_settings_changed,
    load_settings,
    parse_duration,
    read_backend_setting,
    read_secrets,
    read_settings,
)

GOOD = (ROOT / "settings.toml").read_text(encoding="utf-8")


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_settings_of_this_project_are_good() -> None:
    settings = load_settings()
    assert settings.title
    assert settings.operation
    assert 0.2 <= settings.poll_interval <= 60
    assert not settings.shared
    assert "run" in [page.name for page in settings.pages]
    for page in settings.pages:
        assert (ROOT / "app_pages" / f"{page.name}.py").is_file()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0.5s", 0.5), ("500ms", 0.5), ("2", 2), ("1.5 s", 1.5), ("30m", 1800), ("1h", 3600)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1", "1e3", "nan", "inf", "1 day", "1,5s", "٢", "2s\n"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration\. Write it like"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("poll_interval", '"0.1s"', "poll_interval = '0.1s' is out of range"),
        ("poll_interval", '"2 hours"', "poll_interval: '2 hours' is not a duration"),
        ("poll_interval", "true", "poll_interval: 'True' is not a duration"),
        ("idle_budget", '"0"', "idle_budget = '0' is out of range"),
        ("stale_after", "[]", "stale_after: '[]' is not a duration"),
        ("title", "7", "title = 7 is not text"),
        ("shared", '"yes"', "shared = 'yes' is neither true nor false"),
        ("login", '"yes"', 'login = \'yes\' is invalid. Write "none" or "required".'),
        ("login", "false", "login = False is invalid"),
        ("max_active", "0", "max_active = 0 must be a whole number, 1 or more."),
        ("max_active", '"3"', "max_active = '3' must be a whole number, 1 or more."),
        ("max_active", "true", "max_active = True must be a whole number, 1 or more."),
        ("shared", "1", "shared = 1 is neither true nor false"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, name: str, value: str, said: str) -> None:
    lines = [
        f"{name} = {value}" if line.startswith(f"{name} =") else line for line in GOOD.splitlines()
    ]
    with pytest.raises(SettingsError) as caught:
        read_settings(write(tmp_path, "\n".join(lines)))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["poll_interval", "title", "login", "max_active", "shared"])
def test_a_missing_value_is_named(tmp_path: Path, name: str) -> None:
    lines = [line for line in GOOD.splitlines() if not line.startswith(name)]
    with pytest.raises(SettingsError, match=f"has no {name} under"):
        read_settings(write(tmp_path, "\n".join(lines)))


def test_a_setting_of_the_backend_is_read_and_missed_in_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, '[postgres]\nschema = "mine"')
    assert read_backend_setting("postgres", "schema", path) == "mine"
    with pytest.raises(SettingsError, match=r"^settings\.toml has no queue under \[postgres\]"):
        read_backend_setting("postgres", "queue", path)


def test_secrets_are_read_if_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("progress.settings.ROOT", tmp_path)
    home = tmp_path / "home"
    for name in ("HOME", "USERPROFILE"):  # the latter on Windows
        monkeypatch.setenv(name, str(home))
    assert read_secrets() == {}
    path = tmp_path / ".streamlit" / "secrets.toml"
    path.parent.mkdir()
    path.write_text('[connections.progress]\npath = "x"', "utf-8")
    assert read_secrets() == {"connections": {"progress": {"path": "x"}}}
    (home / ".streamlit").mkdir(parents=True)
    other = '[connections.progress]\npath = "y"\n[auth]\ncookie_secret = "z"'
    (home / ".streamlit" / "secrets.toml").write_text(other, "utf-8")
    assert read_secrets() == {
        "connections": {"progress": {"path": "x"}},
        "auth": {"cookie_secret": "z"},
    }
    path.write_text("[connections", "utf-8")
    with pytest.raises(SettingsError, match=r"^secrets\.toml cannot be read as TOML: .+\.$"):
        read_secrets()


def with_pages(folder: Path, pages: str) -> Path:
    """Write the settings of this project with another [pages] table."""
    before, _, after = GOOD.partition("[pages]")
    return write(folder, f"{before}{pages}\n[progress]{after.partition('[progress]')[2]}")


RUN = 'run = { title = "Run", icon = "play_circle" }'
RUN_PAGE = Page("run", "Run", "play_circle")


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        (f"[pages]\n{RUN}", (RUN_PAGE,)),
        (
            f'[pages]\nzoo-page_2 = {{ icon = "bolt", title = "Zwei" }}\n{RUN}',
            (Page("zoo-page_2", "Zwei", "bolt"), RUN_PAGE),
        ),
        ('[pages.run]\ntitle = "Run"\nicon = "play_circle"', (RUN_PAGE,)),
    ],
)
def test_pages_are_in_the_order_of_the_file(
    tmp_path: Path, pages: str, expected: tuple[Page, ...]
) -> None:
    assert read_settings(with_pages(tmp_path, pages)).pages == expected


@pytest.mark.parametrize(
    "pages", ["", "[pages]", '[pages]\nboard = { title = "Board", icon = "view_list" }']
)
def test_the_run_page_is_required(tmp_path: Path, pages: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(with_pages(tmp_path, pages))
    assert str(caught.value) == f"settings.toml has no run under [pages]: add {RUN}."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("board", '"Board"'),
        ("board", "{}"),
        ("board", '{ title = "Board" }'),
        ("board", '{ icon = "view_list" }'),
        ("board", '{ title = 7, icon = "view_list" }'),
        ("board", '{ title = " ", icon = "view_list" }'),
        ("board", '{ title = "Board", icon = "" }'),
        ("board", '[{ title = "Board", icon = "view_list" }]'),
        ('"../board"', '{ title = "Board", icon = "view_list" }'),
        ('""', '{ title = "Board", icon = "view_list" }'),
        ('"a\\nb"', '{ title = "Board", icon = "view_list" }'),
    ],
)
def test_a_bad_page_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(with_pages(tmp_path, f"[pages]\n{RUN}\n{name} = {value}"))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"settings.toml: the page '{name.strip(chr(34))}' = ")
    assert line.endswith(f" is invalid. Write it like {RUN}.")


def test_a_number_without_a_unit_is_seconds(tmp_path: Path) -> None:
    lines = [
        "poll_interval = 3" if line.startswith("poll_interval") else line
        for line in GOOD.splitlines()
    ]
    assert read_settings(write(tmp_path, "\n".join(lines))).poll_interval == 3


def test_a_file_that_is_not_toml_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read as TOML"):
        read_settings(write(tmp_path, "[app\n"))


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"settings\.toml is missing"):
        read_settings(tmp_path / "settings.toml")


def test_a_change_of_the_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not have_settings_changed()
    for text, has_changed in [
        (GOOD, False),
        (f"# a comment\n{GOOD}", False),
        (GOOD.replace("title = ", 'title = "Another" # ', 1), True),
        ("[app", True),
    ]:
        path = write(tmp_path, text)
        monkeypatch.setattr(read_settings, "__defaults__", (path,))
        assert have_settings_changed() is has_changed
