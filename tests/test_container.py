"""What goes into the image of a project, and who runs in it."""

import re
from pathlib import Path

import pytest
from conftest import BACKENDS, Bake
from docker.utils import exclude_paths  # type: ignore[import-untyped]

SECRETS = [
    *(".env", ".env.production", "deploy/.env", ".envrc"),
    *(".streamlit/secrets.toml", ".streamlit/secrets.production.toml", "secrets.dev.toml"),
    *("server.pem", "certificates/server.pem", "certificates/server.key", ".streamlit/user.p8"),
    *("client.p12", "client.pfx"),
]
NOT_NEEDED = [".git/config", ".local/progress.db", ".venv/bin/python", ".tools/bin/uv"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_secret_goes_into_the_image(bake: Bake, tmp_path: Path, backend: str) -> None:
    project = bake(progress_backend=backend).copy(tmp_path)
    expected = project.files() - {".dockerignore"}
    for name in (*SECRETS, *NOT_NEEDED, "progress/__pycache__/x.pyc", ".mypy_cache/x"):
        path = project.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    patterns = [
        line for line in project.read(".dockerignore").splitlines() if not line.startswith("#")
    ]
    # The SDK of Docker for Python decides here.
    included = exclude_paths(str(project.path), patterns)
    files = {name for name in included if (project.path / name).is_file()}
    assert files - {".dockerignore", "Dockerfile"} == expected - {"Dockerfile"}


def test_git_ignores_the_same_secrets(bake: Bake, tmp_path: Path) -> None:
    project = bake().copy(tmp_path)
    assert project.run("git", "init", "--quiet").returncode == 0
    ignored = project.run("git", "check-ignore", *SECRETS).stdout.splitlines()
    assert ignored == SECRETS
    kept = [".env.example", ".streamlit/secrets.toml.example", "settings.toml"]
    assert project.run("git", "check-ignore", *kept).stdout == ""


def test_the_user_of_the_image_has_a_number(bake: Bake) -> None:
    """Kubernetes refuses to check a name with runAsNonRoot."""
    dockerfile = bake().read("Dockerfile")
    (number,) = re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE)
    assert int(number) > 0
    assert f"useradd --uid {number} " in dockerfile
