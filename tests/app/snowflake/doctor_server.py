"""The fake Snowflake server with a warehouse and a procedure that a test may put wrong.

Run as a module, it takes the same arguments.
"""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dev import snowflake_server
from dev.snowflake_server import Server, body_of, with_body

WAREHOUSE = {"name": "A_WH", "size": "X-Small", "is_current": "Y", "auto_resume": "true"}


class DoctorServer(Server):
    """Answers SHOW WAREHOUSES and SHOW PROCEDURES, of what ALTER and DROP have changed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._warehouse = WAREHOUSE | {"auto_suspend": "60"}
        self._procedure: dict[str, str] = {"name": "RUN_OPERATION"}

    async def query(self, request: Request) -> Response:
        """Run a statement."""
        body = await body_of(request)
        sql = body["sqlText"]
        if match := re.fullmatch(r"ALTER WAREHOUSE A_WH SET (\w+) = (\w+)", sql):
            self._warehouse |= {match[1].lower(): match[2]}
            sql = "SELECT 1"
        elif sql == "DROP PROCEDURE RUN_OPERATION(VARCHAR, VARCHAR, VARCHAR)":
            self._procedure = {}
            sql = "SELECT 1"
        elif sql == "SHOW WAREHOUSES":
            sql = rows(self._warehouse)
        elif sql == "SHOW PROCEDURES LIKE 'RUN_OPERATION'":
            sql = rows(self._procedure)
        return await super().query(with_body(request, body | {"sqlText": sql}))


def rows(row: dict[str, str]) -> str:
    """Return a SELECT of one row with constants of this file, or of none."""
    columns = [f"'{value}' AS {name}" for name, value in row.items()]
    return "SELECT " + (", ".join(columns) or "1 WHERE FALSE")


if __name__ == "__main__":
    snowflake_server.Server = DoctorServer  # type: ignore[assignment,misc]
    snowflake_server.main()
