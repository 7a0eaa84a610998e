"""What goes into the image of a project, and who runs in it."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from conftest import BACKENDS, ROOT, Bake
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_compose_publishes_one_port_and_scales_what_may_be_scaled(bake: Bake, backend: str) -> None:
    project = bake(progress_backend=backend)
    schema = ["--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = project.run(sys.executable, "-m", "check_jsonschema", *schema)
    assert done.returncode == 0, done.stdout + done.stderr
    services = yaml.safe_load(project.read("compose.yaml"))["services"]
    published = [name for name, service in services.items() if "ports" in service]
    assert [services[name]["ports"] for name in published] == [["${PUBLISH:-127.0.0.1}:8501:8501"]]
    # Two containers cannot have one port: where the app has replicas, a proxy has it.
    assert ("proxy" in published) is project.has_file("nginx.conf")
    assert project.has_file("nginx.conf") is (backend != "sqlite")
    if project.has_file("nginx.conf"):
        assert "server web:8501;" in project.read("nginx.conf")
        assert "listen 8501;" in project.read("nginx.conf")
        assert services["proxy"]["volumes"] == ["./nginx.conf:/etc/nginx/conf.d/default.conf:ro"]
    assert all("container_name" not in service for service in services.values())
    assert "./.streamlit:/app/.streamlit:ro" in services["web"]["volumes"]


def test_the_volume_of_the_data_belongs_to_the_user_of_the_image(bake: Bake) -> None:
    """Docker copies the owner of the folder in the image to a new volume."""
    project = bake()
    volumes = yaml.safe_load(project.read("compose.yaml"))["services"]["web"]["volumes"]
    assert "operations:/app/.local" in volumes
    dockerfile = project.read("Dockerfile")
    assert "WORKDIR /app\n" in dockerfile
    assert "mkdir .local && chown app:app /app .local" in dockerfile
    assert dockerfile.index("chown app:app") < dockerfile.index("\nUSER ")


MANIFESTS = ROOT / "docs" / "kubernetes"


def test_the_manifests_run_what_compose_runs(bake: Bake) -> None:
    """`make lint` checks them against the schemas of Kubernetes."""
    project = bake(progress_backend="postgres")
    services = yaml.safe_load(project.read("compose.yaml"))["services"]
    kustomization = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text("utf-8"))
    names = kustomization["resources"]
    assert {"kustomization.yaml", *names} == {path.name for path in MANIFESTS.iterdir()}
    found = [
        manifest
        for name in names
        for manifest in yaml.safe_load_all((MANIFESTS / name).read_text("utf-8"))
    ]
    containers = {
        manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]["containers"][0]
        for manifest in found
        if manifest["kind"] != "Service"
    }
    assert {name: container.get("command") for name, container in containers.items()} == {
        name: services[name].get("command") for name in ("schema", "web", "worker")
    }
    # kustomize ignores the name of an image that no container has.
    images = {image["name"] for image in kustomization["images"]}
    assert images == {container["image"] for container in containers.values()}
    known = {"apiVersion", "kind", "namespace", "images", "resources", "labels"}
    assert kustomization.keys() == known, "kustomize refuses others"
    (port,) = containers["web"]["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in project.read("Dockerfile")
    # Where the app and the workers also look for secrets: the home of the user of the image.
    for name in ("web", "worker"):
        assert containers[name]["volumeMounts"][0]["mountPath"] == "/home/app/.streamlit"
    assert "--create-home app" in project.read("Dockerfile")
