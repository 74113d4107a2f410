"""What an access log may hold: the path of a request, and not its query."""

from __future__ import annotations

import logging


class WithoutQuery(logging.Filter):
    """Takes the query out of uvicorn's access log records: it may hold what nobody should read later, such as
    a `state`.

        logging.getLogger("uvicorn.access").addFilter(WithoutQuery())
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, without its query."""
        if isinstance(record.args, tuple) and len(record.args) > 2:
            client, method, path, *rest = record.args
            record.args = (client, method, str(path).partition("?")[0], *rest)
        return True
