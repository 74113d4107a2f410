"""Servers to read and run: each is an ordinary MCP server with the middleware added."""
