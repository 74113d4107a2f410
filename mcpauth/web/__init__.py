"""Starlette-side tools that endpoints share: reading requests, making answers, cookies, CORS."""
