"""PgBouncer in transaction mode, with no other setting, between the project and Postgres."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from dev.local_server import workers
from progress.backend import database as database_module
from progress.backend.connection import ProgressConnection
from progress.backend.database import execute
from progress.backend.schema import apply_schema
from progress.contract import BackendUnavailable
from progress.operation import Status
from tests.conftest import wait_for_end
from tests.test_postgres import start, wait_for_step


@pytest.fixture
def app(pooled: str) -> Iterator[ProgressConnection]:
    opened = ProgressConnection("progress", dsn=pooled)
    yield opened
    opened.reset()


def test_jobs_run_and_are_cancelled_through_a_pooler(pooled: str, app: ProgressConnection) -> None:
    with workers({"DATABASE_URL": pooled, "JOBS_MODULE": "tests.jobs"}, 1):
        completed = start(app, "succeed", "fast")
        assert wait_for_end(app, completed).status == Status.COMPLETED
        cancelled = start(app, "endless")
        wait_for_step(app, cancelled, 2)
        app.cancel(cancelled)
        assert wait_for_end(app, cancelled).status == Status.CANCELLED


def test_a_statement_may_be_repeated_on_any_connection_of_a_pooler(
    pooled: str, app: ProgressConnection
) -> None:
    operation_id = start(app, "succeed")

    def read(number: int) -> int:
        return len(app.read([operation_id]))

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(read, range(100))) == 100


def test_a_slow_statement_is_cancelled_behind_a_pooler(
    pooled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "STATEMENT_TIMEOUT", 1)
    app = ProgressConnection("progress", dsn=pooled)
    began = time.monotonic()
    with pytest.raises(BackendUnavailable, match="statement timeout"):
        execute(app._instance, "SELECT pg_sleep(20)", {})
    assert time.monotonic() - began < 15
    app.reset()


def test_other_clients_of_a_pooler_keep_their_settings(
    pooled: str, app: ProgressConnection
) -> None:
    apply_schema(pooled)
    for _ in range(4):
        app.read(["a"])
    with psycopg.connect(pooled) as one, psycopg.connect(pooled) as two:
        for other in (one, two):  # in transactions, so on both connections of the pooler
            settings = "SELECT current_setting('search_path'), current_setting('statement_timeout')"
            assert other.execute(settings).fetchone() == ('"$user", public', "0")
