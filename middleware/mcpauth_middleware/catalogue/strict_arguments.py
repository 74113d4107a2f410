"""Arguments checked against a tool's `inputSchema` before the tool runs (MCP, Tools; JSON Schema 2020-12).

It needs `jsonschema`, the extra `strict`. A schema that cannot be used, or is not known, lets nothing
through: nobody could say what it would have refused. Nothing is ever fetched: a `$ref` to another document
makes a schema unusable.
"""

from __future__ import annotations

import json
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

import anyio.to_thread

from mcpauth_middleware.catalogue.argument_bounds import ArgumentBounds
from mcpauth_middleware.catalogue.closed_schema import closed
from mcpauth_middleware.catalogue.patterns import longest_text, may_explode
from mcpauth_middleware.errors import InvalidArguments

if TYPE_CHECKING:
    from mcpauth_middleware.catalogue.definition import ToolDefinition

MAX_PROBLEMS: Final = 5
MAX_PROBLEM_LENGTH: Final = 200
MAX_CHECKERS: Final = 1000
# Beyond this size a check could hold up the event loop.
MAX_INLINE_BYTES: Final = 16 * 1024

UNKNOWN: Final = "The arguments of this tool cannot be checked: its input schema is not known"
UNUSABLE: Final = "The arguments of this tool cannot be checked: its input schema cannot be used"

_CLOSING: Final = {"2019-09": "unevaluatedProperties", "2020-12": "unevaluatedProperties"}

logger = logging.getLogger(__name__)

_Check = Callable[[Mapping[str, Any]], list[str]]


class StrictArguments:
    """Checks the arguments of tool calls.

    Raises:
        ValueError: `jsonschema` is not installed.
    """

    def __init__(self) -> None:
        try:
            self._library = _Library()
        except ImportError:
            raise ValueError(
                "strict_arguments: needs jsonschema: pip install 'mcpauth-kit[strict]'"
            ) from None
        # In the order of their last use.
        self._checks: OrderedDict[ToolDefinition, _Check | None] = OrderedDict()

    async def check(
        self, definition: ToolDefinition | None, arguments: Mapping[str, Any], *, size: int
    ) -> None:
        """Check the arguments of one call; `size` is about how many bytes they are.

        Raises:
            InvalidArguments: they are not what the tool takes, or nobody can tell.
        """
        if definition is None or definition.input_schema is None:
            raise InvalidArguments([], UNKNOWN)
        check = self._check_for(definition, definition.input_schema)
        if check is None:
            raise InvalidArguments([], UNUSABLE)
        try:
            if size > MAX_INLINE_BYTES:
                problems = await anyio.to_thread.run_sync(partial(check, arguments))
            else:
                problems = check(arguments)
        except Exception:
            # A reference that leads nowhere, or round in a circle, shows only when it is followed.
            logger.exception("The input schema of a tool cannot be used: %r", definition.name)
            raise InvalidArguments([], UNUSABLE) from None
        if problems:
            raise InvalidArguments(problems)

    def _check_for(self, definition: ToolDefinition, schema: Mapping[str, Any]) -> _Check | None:
        if definition not in self._checks:
            self._checks[definition] = self._new_check(definition.name, schema)
        self._checks.move_to_end(definition)
        if len(self._checks) > MAX_CHECKERS:
            self._checks.popitem(last=False)
        return self._checks[definition]

    def _new_check(self, name: str, schema: Mapping[str, Any]) -> _Check | None:
        try:
            return self._library.check_of(schema)
        except Exception:
            logger.exception("The input schema of a tool cannot be used: %r", name)
            return None


class _Library:
    """What is used of `jsonschema`, which comes without types."""

    def __init__(self) -> None:
        self._validators: Any = import_module("jsonschema.validators")
        self._nothing_else: Any = import_module("referencing.jsonschema").EMPTY_REGISTRY

    def check_of(self, schema: Mapping[str, Any]) -> _Check:
        """A function that gives the problems of some arguments.

        Raises:
            Exception: the schema cannot be used.
        """
        default = self._validators.Draft202012Validator
        dialect = self._validators.validator_for(schema, default=None) if "$schema" in schema else default
        if dialect is None:
            raise ValueError("unknown $schema")
        dialect.check_schema(schema)
        _refuse_patterns(schema)
        edition = str(dialect.META_SCHEMA.get("$id", dialect.META_SCHEMA.get("id", "")))
        keyword = next((_CLOSING[known] for known in _CLOSING if known in edition), "additionalProperties")
        bounded = self._validators.extend(dialect, _KEYWORDS)
        bounds = ArgumentBounds.of(schema)
        validator = bounded(
            closed(schema, keyword=keyword),
            registry=self._nothing_else,
        )

        def check(arguments: Mapping[str, Any]) -> list[str]:
            if (problem := bounds.problem(arguments)) is not None:
                return [problem]
            found = islice(cast("Iterable[Any]", validator.iter_errors(arguments)), MAX_PROBLEMS)
            return [_text(error) for error in found]

        return check


def _validation_error(text: str) -> Exception:
    error: Any = import_module("jsonschema.exceptions").ValidationError
    return cast("Exception", error(text))


def _pattern(_validator: object, pattern: str, instance: object, _schema: object) -> Iterator[Exception]:
    if not isinstance(instance, str):
        return
    if len(instance) > longest_text(pattern) or not re.search(pattern, instance):
        yield _validation_error("does not match")


def _unique_items(
    _validator: object, wanted: object, instance: object, _schema: object
) -> Iterator[Exception]:
    # The library compares each with each where they cannot be sorted.
    if wanted and isinstance(instance, list):
        items = cast("list[object]", instance)
        if len({json.dumps(_plain(item), sort_keys=True) for item in items}) < len(items):
            yield _validation_error("is not unique")


def _any_of(validator: Any, branches: object, instance: object, _schema: object) -> Iterator[Exception]:  # noqa: ANN401 (of a library without types)
    if not any(_fitting(validator, branches, instance)):
        yield _validation_error("fits none")


def _one_of(validator: Any, branches: object, instance: object, _schema: object) -> Iterator[Exception]:  # noqa: ANN401 (of a library without types)
    if sum(_fitting(validator, branches, instance)) != 1:
        yield _validation_error("fits none, or more than one")


def _fitting(validator: Any, branches: object, instance: object) -> Iterator[bool]:  # noqa: ANN401 (of a library without types)
    # The library would keep all errors of all branches: of a list of wrong items one for each.
    for branch in cast("Iterable[object]", branches):
        yield bool(validator.evolve(schema=branch).is_valid(instance))


_KEYWORDS: Final = {"pattern": _pattern, "uniqueItems": _unique_items, "anyOf": _any_of, "oneOf": _one_of}


def _plain(value: object) -> object:
    """The value in a form in which equal values, in the sense of JSON Schema, are written alike."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in cast("dict[str, object]", value).items()}
    return value


def _refuse_patterns(node: object) -> None:
    """Raise for a schema with a pattern that may take for ever; what only looks like one counts as well."""
    if isinstance(node, list):
        for one in cast("list[object]", node):
            _refuse_patterns(one)
    elif isinstance(node, Mapping):
        members = cast("Mapping[str, object]", node)
        patterns: list[object] = [members.get("pattern")]
        by_name = members.get("patternProperties")
        if isinstance(by_name, Mapping):
            patterns += list(cast("Mapping[str, object]", by_name))
        if any(isinstance(pattern, str) and may_explode(pattern) for pattern in patterns):
            raise ValueError("a pattern may take exponential time")
        for inner in members.values():
            _refuse_patterns(inner)


def _text(error: Any) -> str:  # noqa: ANN401 (of a library without types)
    where = ".".join(str(step) for step in error.absolute_path)
    text = f"{where or 'arguments'}: {_problem(error)}"
    return text if len(text) <= MAX_PROBLEM_LENGTH else f"{text[: MAX_PROBLEM_LENGTH - 1]}…"


def _problem(error: Any) -> str:  # noqa: ANN401 (the same)
    keyword, wanted, instance = error.validator, error.validator_value, error.instance
    match keyword:
        case "required":
            return str(error.message)
        case "pattern" if len(instance) > longest_text(wanted):
            return f"is too long: at most {longest_text(wanted)} characters can be held against its pattern"
        case "type":
            return f"must be of type {_json(wanted)}"
        case "enum" | "const":
            return f"must be {'one of ' if keyword == 'enum' else ''}{_json(wanted)}"
        case "additionalProperties" | "unevaluatedProperties":
            known = error.schema.get("properties", {})
            others = [name for name in instance if name not in known]
            return f"has members that the tool does not take: {_json(others[:MAX_PROBLEMS])}"
        case "anyOf" | "oneOf":
            return "fits none of the forms that the tool takes, or more than one"
        case _:
            return f"must meet {keyword}: {_json(wanted)}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
