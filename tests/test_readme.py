"""What README.md prints runs, its parts fit together, and the page about the middleware is whole."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from mcpauth import load_settings
from mcpauth.commands import mcpauth
from mcpauth.commands.serve import DEV_RESOURCE
from mcpauth_middleware import McpAuthMiddleware

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def printed(language: str, position: int) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)[position])


def run(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(text, "README.md", "exec"), names)  # noqa: S102  our own text
    return names


def test_the_first_server_fits_what_init_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resource, issuer and scopes: whoever runs both as printed gets in."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(mcpauth, ["init"]).exit_code == 0
    settings = load_settings(tmp_path / "mcpauth.toml", {})
    app = run(printed("python", 0))["app"]
    assert isinstance(app, McpAuthMiddleware)
    document = app.metadata.document()
    (resource,) = settings.resources
    assert document["resource"] == resource.identifier
    assert document["authorization_servers"] == [settings.issuer]
    assert set(document["scopes_supported"]) <= {scope.name for scope in resource.scopes}


def test_dev_has_the_resource_that_init_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server made for the one works with the other."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(mcpauth, ["init"]).exit_code == 0
    (resource,) = load_settings(tmp_path / "mcpauth.toml", {}).resources
    assert (DEV_RESOURCE.identifier, DEV_RESOURCE.scopes) == (resource.identifier, resource.scopes)


def test_the_second_server_runs_with_its_policy_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is the one printed below it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.toml").write_text(printed("toml", 0))
    # Starlette makes its middleware only then.
    assert run(printed("python", 1))["app"].build_middleware_stack() is not None


def test_every_option_of_the_middleware_is_in_its_page() -> None:
    page = (ROOT / "docs" / "middleware.md").read_text()
    options = set(inspect.signature(McpAuthMiddleware.__init__).parameters) - {"self", "app", "now"}
    assert len(options) > 20
    assert {option for option in options if f"`{option}`" not in page} == set()
