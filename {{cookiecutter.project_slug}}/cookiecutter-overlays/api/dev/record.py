"""Keep what your service answers about a run in tests/recorded/, for tests/test_service_mapping.py.

    make record ID=...

ID is the id of an operation, which the page of the app has in its URL. What looks like a secret is
left out. Check the file before you commit it: is `operation` what the app must show of `body`?
"""

import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dev.local_server import configured
from progress.backend.connection import ProgressConnection
from progress.backend.mapping import Service, load_service
from progress.contract import BackendError, BackendRejected
from progress.rows import operation_from_row
from progress.settings import ROOT

RECORDED = ROOT / "tests" / "recorded"
LEFT_OUT = "(left out)"
_SECRET_NAMES = re.compile(r"token|secret|passw|auth|credential|cookie|signature|api_?key", re.I)
_SECRETS_IN_URLS = re.compile(r"([?&][^=&\s]*(?:token|secret|passw|sig|key)[^=&\s]*=)[^&\s]+", re.I)


def record(operation_id: str, folder: Path = RECORDED) -> Path:
    """Read an operation from the configured service and return the file with the answer.

    There is one file for each status.

    Raises:
        BackendError: It cannot be read, or there is none.
    """
    service = load_service()
    bodies: list[Any] = []
    # A field may be a function of the body, so this one sees every body.
    fields = {**service.fields, "last_steps": bodies.append}
    connection = ProgressConnection(
        "progress", service=replace(service, fields=fields), **configured()
    )
    try:
        for _ in range(2):  # the first may find it in a list, whose bodies may be shorter
            if operation_id not in connection.read([operation_id]):
                raise BackendRejected(f"The service has no operation {operation_id}.")
    finally:
        connection.reset()
    body = without_secrets(bodies[-1])
    operation = read(service, body)
    folder.mkdir(exist_ok=True)
    path = folder / f"{operation['status']}.json"
    text = json.dumps({"body": body, "operation": operation}, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", "utf-8")
    return path


def read(service: Service, body: Any) -> dict[str, Any]:
    """Return what a mapping reads from a body, by the columns of an operation, as JSON has it."""
    row = {name: value for name, value in service.row(body).items() if value is not None}
    operation = asdict(operation_from_row({"operation_id": ""} | row))
    names = row.keys() - {"read_at"} | {"status", "problem"}
    values = {name: value for name, value in operation.items() if name in names}
    return dict(json.loads(json.dumps(values, default=str)))


def without_secrets(value: Any) -> Any:
    """Return a body without the values whose names are those of secrets, in URLs too."""
    if isinstance(value, dict):
        left_out = {name for name in value if _SECRET_NAMES.search(name)}
        # A pair, as in [{"name": "api_token", "value": "..."}].
        if _SECRET_NAMES.search(str(value.get("name") or value.get("key"))):
            left_out |= {"value", "default"}
        return {
            name: LEFT_OUT if name in left_out else without_secrets(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return _SECRETS_IN_URLS.sub(rf"\1{LEFT_OUT}", value) if isinstance(value, str) else value


def main() -> int:
    """Record the operation of the command line; return the exit code."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        print(
            "Name an operation: make record ID=... (the page has it in its URL).", file=sys.stderr
        )
        return 2
    try:
        path = record(sys.argv[1])
    except BackendError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Recorded in {path.relative_to(ROOT)}. Check it before you commit it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
