"""The domain: the rules and the data of OAuth 2.1 for MCP, without a web framework, database or network."""
