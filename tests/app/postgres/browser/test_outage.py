"""Postgres stops and starts again while a page polls."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from dev.local_server import postgres, workers
from progress.backend.schema import apply_schema
from tests.browser.conftest import Server, Viewer, free_port
from tests.browser.test_live import steps_shown


def test_a_page_reports_an_outage_and_recovers(
    visit: Callable[..., Viewer], data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres(data_folder / "outage") as database:
        environment = {"DATABASE_URL": database.get_uri(), "JOBS_MODULE": "tests.jobs"}
        apply_schema(database.get_uri())
        app = Server(environment, free_port())
        with workers(environment, 1):
            app.start()
            try:
                viewer = visit(at=app)
                viewer.start("endless", "slow")
                viewer.see("steps so far")
                viewer.wait_for(lambda: steps_shown(viewer) >= 3)
                database.stop()
                viewer.see("The progress cannot be read now.")
                known = viewer.page.get_by_text("steps so far").inner_text()  # it stays
                database.start()
                expect(viewer.page.get_by_text("steps so far")).not_to_have_text(
                    known,
                    timeout=120_000,  # it may read again 30 s later
                )
                expect(viewer.page.get_by_text("The progress cannot be read")).to_have_count(0)
                assert not viewer.page.get_by_text("attempt").count(), "the job went on"
                viewer.page.click(".st-key-cancel button")
                viewer.see("Cancelled after")
                viewer.expect_no_polling()
            finally:
                app.stop()
