"""The health check of the Dockerfile, against the server that it is for."""

import json
import os
import socket
import subprocess
import sys
import time

from progress.settings import ROOT


def is_healthy(**options: str) -> bool:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("HEALTHCHECK"))
    command = json.loads(line.partition(" CMD ")[2])
    command[0] = sys.executable
    environment = os.environ | options
    return (
        subprocess.run(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL).returncode
        == 0
    )


def test_the_health_check_follows_the_port_and_the_base_path() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]
    command += ["--server.headless", "true", "--server.address", "127.0.0.1"]
    options = {"STREAMLIT_SERVER_PORT": port, "STREAMLIT_SERVER_BASE_URL_PATH": "/team/app/"}
    server = subprocess.Popen(command, cwd=ROOT, env=os.environ | options)
    try:
        deadline = time.monotonic() + 60
        while not is_healthy(**options):
            assert time.monotonic() < deadline, "it is never healthy"
            time.sleep(0.2)
        assert not is_healthy(STREAMLIT_SERVER_PORT=port), "there is nothing at this path"
    finally:
        server.terminate()
        server.wait(20)
    assert not is_healthy(**options)
