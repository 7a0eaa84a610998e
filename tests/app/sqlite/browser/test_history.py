"""A history of 500 operations: the board shows it in pages."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from playwright.sync_api import expect

from progress.backend.store import OperationStore
from tests.browser.conftest import Server, Viewer, free_port

OPERATIONS = 500
PAGE = 50


def test_five_hundred_operations(
    visit: Callable[..., Viewer], environment: dict[str, str], tmp_path: Path
) -> None:
    database = tmp_path / "progress.db"
    with closing(OperationStore(database)) as store:
        for number in range(OPERATIONS):
            store.insert(f"{number:032}", "succeed", f"subject {number}", "")
        store.execute("UPDATE operations SET status = 'completed', finished_at = utc_now()", ())
    app = Server(environment | {"PROGRESS_DATABASE": str(database)}, free_port())
    app.start()
    try:
        board = visit("/board", at=app)
        board.see("1 to 50, as of")
        expect(board.page.locator("dl > div").filter(has_text="Completed")).to_contain_text(
            f"{OPERATIONS}"
        )
        for first in range(PAGE + 1, OPERATIONS, PAGE):
            board.page.click(".st-key-older button")
            board.see(f"{first} to {first + PAGE - 1}, as of")
            board.frames_in(0.7)  # longer than a double click
        expect(board.page.locator(".st-key-older button")).to_be_disabled()
        board.frames_in(1)
        assert board.frames_in(5) == 0
    finally:
        app.stop()
