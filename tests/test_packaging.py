"""What `pip install .` gives: the middleware, its light dependencies, and nothing of the server's."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVER_ONLY = {
    "starlette",
    "authlib",
    "joserfc",
    "itsdangerous",
    "jinja2",
    "argon2",
    "click",
    "uvicorn",
    "redis",
    "mcp",
    "fastmcp",
}

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import mcpauth_middleware
for module in pkgutil.walk_packages(mcpauth_middleware.__path__, "mcpauth_middleware."):
    if not module.name.startswith("mcpauth_middleware.integrations.fastmcp."):  # which FastMCP brings along
        importlib.import_module(module.name)
        print(module.name)
print("loaded:", *sorted(name for name in sys.modules if "." not in name))
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the bare distribution, installed as a wheel."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    command: list[str | Path] = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    return folder / "bin"


def test_every_module_of_the_middleware_imports_without_the_servers_packages(bare: Path) -> None:
    ran = subprocess.run(
        [bare / "python", "-c", IMPORT_EVERYTHING], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "mcpauth_middleware.middleware\n" in ran.stdout
    loaded = set(ran.stdout.rpartition("loaded:")[2].split())
    assert not loaded & SERVER_ONLY


def test_the_command_says_which_extra_is_missing(bare: Path) -> None:
    ran = subprocess.run([bare / "mcpauth", "serve"], capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "mcpauth-kit[server]" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_installed_packages_say_that_they_are_typed(bare: Path) -> None:
    """PEP 561."""
    find = "import mcpauth, mcpauth_middleware as m; print(mcpauth.__path__[0], m.__path__[0], sep='\\n')"
    ran = subprocess.run([bare / "python", "-c", find], capture_output=True, text=True, check=True)
    assert all((Path(folder) / "py.typed").is_file() for folder in ran.stdout.split())


def test_the_version_is_the_same_everywhere() -> None:
    from importlib.metadata import version

    import mcpauth
    import mcpauth_middleware

    assert mcpauth.__version__ == mcpauth_middleware.__version__ == version("mcpauth-kit")
    assert sys.version_info >= (3, 11)


def test_the_package_imports_without_the_extra_and_says_what_its_names_need(bare: Path) -> None:
    imports = "import mcpauth; print(mcpauth.__version__)\nfrom mcpauth import authorization_server"
    ran = subprocess.run([bare / "python", "-c", imports], capture_output=True, text=True, check=False)
    assert ran.stdout.strip()
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: authorization_server: ")
    assert "pip install 'mcpauth-kit[server]'" in last
