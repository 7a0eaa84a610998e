"""Ask the server of the app whether it is healthy; the health check of the Dockerfile."""

import os
import sys
import tomllib
from http.client import HTTPConnection

from progress.settings import ROOT


def address() -> tuple[int, str]:
    """Return the port and the path of Streamlit's own health check, as its options set them."""
    server = tomllib.loads((ROOT / ".streamlit/config.toml").read_text("utf-8")).get("server", {})
    port = os.environ.get("STREAMLIT_SERVER_PORT") or server.get("port", 8501)
    base = os.environ.get("STREAMLIT_SERVER_BASE_URL_PATH") or server.get("baseUrlPath", "")
    return int(port), f"/{base.strip('/')}/_stcore/health".replace("//", "/")


if __name__ == "__main__":
    port, path = address()
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    connection.request("GET", path)
    sys.exit(connection.getresponse().status != 200)
