"""A missing program is never a silent success."""

from __future__ import annotations

import pytest

from tests.requires import program


def test_a_missing_program_is_skipped_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("MCPAUTH_TEST_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install -y chromium"):
        program("chromium")


def test_a_missing_program_that_is_required_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("MCPAUTH_TEST_REQUIRE", "redis,chromium")
    with pytest.raises(pytest.fail.Exception, match="chromium is not installed"):
        program("chromium")
