"""Stores: where the records of `mcpauth.oauth.store` live."""
