"""What `make doctor` says of an account, with each fault made in the fake server."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dev.doctor import Check, checks
from dev.local_server import FakeSnowflake
from progress.backend.account import Account
from progress.settings import load_settings

SECRET = "hush-4711"


@pytest.fixture(scope="module")
def account(data_folder: Path) -> Iterator[FakeSnowflake]:
    with FakeSnowflake(data_folder / "doctor", "tests.app.doctor_server") as running:
        yield running


@pytest.fixture
def patch(account: FakeSnowflake, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The app is configured with the account."""
    monkeypatch.setenv("PROGRESS_CONNECTION", json.dumps(account.options))
    # The fake server translates each statement, which takes long on a busy machine.
    monkeypatch.setattr("dev.doctor.poll_latency", lambda poll: Check("poll latency", True, ""))
    return monkeypatch


def run(account: FakeSnowflake, statement: str) -> None:
    administrator = Account(account.options)
    administrator.execute(statement)
    administrator.close()


def found() -> dict[str, Check]:
    """Return all lines, by name; none of them has the password."""
    lines = {check.name: check for check in checks()}
    assert not any(SECRET in check.message for check in lines.values())
    return lines


def failed() -> dict[str, str]:
    return {check.name: check.message for check in found().values() if not check.ok}


@pytest.mark.usefixtures("patch")
def test_an_account_is_ok_and_what_keeps_the_warehouse_awake_is_said() -> None:
    lines = found()
    assert all(check.ok for check in lines.values())
    assert lines["warehouse"].message == (
        f"A_WH (X-Small) is awake while a page polls every {load_settings().poll_interval:g} s,"
        " or a job runs,"
        " and 60 s after the last statement"
    )


@pytest.mark.usefixtures("patch")
@pytest.mark.parametrize(
    ("wrong", "message", "remedy"),
    [
        (
            "ALTER WAREHOUSE A_WH SET AUTO_SUSPEND = 0",
            "A_WH never suspends, and costs all the time: ",
            "ALTER WAREHOUSE A_WH SET AUTO_SUSPEND = 60",
        ),
        (
            "ALTER WAREHOUSE A_WH SET AUTO_RESUME = FALSE",
            "A_WH does not resume for a poll or a job: ",
            "ALTER WAREHOUSE A_WH SET AUTO_RESUME = TRUE",
        ),
    ],
)
def test_a_warehouse_that_is_set_wrong_is_named_with_the_statement_that_mends_it(
    account: FakeSnowflake, wrong: str, message: str, remedy: str
) -> None:
    run(account, wrong)
    assert failed() == {"warehouse": message + remedy}
    run(account, remedy)
    assert failed() == {}


def test_a_connection_without_a_warehouse_is_named(
    account: FakeSnowflake, patch: pytest.MonkeyPatch
) -> None:
    run(account, "ALTER WAREHOUSE A_WH SET IS_CURRENT = N")
    assert failed()["warehouse"].startswith("None is in use: set `warehouse` of the connection")
    run(account, "ALTER WAREHOUSE A_WH SET IS_CURRENT = Y")


@pytest.mark.usefixtures("patch")
def test_a_role_that_may_not_insert_is_named(account: FakeSnowflake) -> None:
    run(account, "ALTER TABLE OPERATION_EVENTS RENAME TO EVENTS")
    run(account, "CREATE VIEW OPERATION_EVENTS AS SELECT * FROM EVENTS")  # it can only be read
    lines = failed()
    assert lines.keys() == {"rights"}
    assert lines["rights"].startswith("Snowflake: ")
    run(account, "DROP VIEW OPERATION_EVENTS")
    lines = failed()
    assert lines["connection"].endswith("and the role granted?")
    run(account, "ALTER TABLE EVENTS RENAME TO OPERATION_EVENTS")
    assert failed() == {}


def test_an_account_that_cannot_be_used_is_named_without_its_password(
    account: FakeSnowflake, patch: pytest.MonkeyPatch
) -> None:
    patch.setenv("PROGRESS_CONNECTION", json.dumps(account.options | {"password": SECRET}))
    assert "Snowflake refused the login: " in failed()["connection"]
    patch.setenv("PROGRESS_CONNECTION", SECRET)
    assert "is not a JSON object of connection options." in failed()["connection"]


@pytest.mark.usefixtures("patch")
def test_a_procedure_that_is_missing_is_named(account: FakeSnowflake) -> None:
    run(account, "DROP PROCEDURE RUN_OPERATION(VARCHAR, VARCHAR, VARCHAR)")
    assert failed()["procedure"].startswith("The role sees no procedure RUN_OPERATION: run `snow")


def test_what_has_no_effect_is_named(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("JOBS_MODULE", "tests.jobs")
    names = {"keep", "notifications", "max_running"}
    assert names & found().keys() == {"max_running"}, "a job of the tests has one"
    used = replace(load_settings(), keep=3600.0)
    patch.setattr("dev.doctor.load_settings", lambda: used)
    patch.setattr("dev.doctor.read_secrets", lambda: {"notifications": {"urls": [SECRET]}})
    patch.setenv("JOBS_MODULE", "no_such_module")
    lines = found()
    assert names & lines.keys() == {"keep", "notifications"}
    assert lines["notifications"].message == "no effect with this backend: no messages are sent"
