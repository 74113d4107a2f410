"""`python -m mcpauth` is the command `mcpauth`."""

from __future__ import annotations

from mcpauth.cli import main

if __name__ == "__main__":
    main()
