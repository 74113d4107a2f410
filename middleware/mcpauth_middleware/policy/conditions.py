"""Conditions of rules (`when`): a restricted Python expression, compiled once to functions.

```
path_under(args.path, "/srv/share") and principal.tenant == args.tenant
```

Only the kinds of syntax in `SYNTAX` exist. `.` looks a name up in an object and never touches an
attribute of Python's. Nothing is ever given to `eval`. What has no answer of strict type raises
`Unevaluable` (see `values`); the facts are those of `vocabulary`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from mcpauth_middleware.message.resource_uri import decodings, trimmings
from mcpauth_middleware.policy.errors import PolicyError, Unevaluable
from mcpauth_middleware.policy.expression import Compiler
from mcpauth_middleware.policy.meaning import refuse_meaningless
from mcpauth_middleware.policy.places import column, source_of
from mcpauth_middleware.policy.syntax import refuse_unlisted
from mcpauth_middleware.policy.values import boolean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mcpauth_middleware.policy.facts import Facts
    from mcpauth_middleware.policy.vocabulary import Evaluate

MAX_LENGTH: Final = 100_000
MAX_PART_LENGTH: Final = 2_000
"""Of what `and` joins at the top: `from_server` joins as many as there are resources to leave out."""

_ONE_READING: Final = re.compile(r"[^%?#]*")
_ESCAPE: Final = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPES: Final = frozenset("\\'\"nrtxuU")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One of the parts that `and` joins at the top of a condition."""

    text: str
    evaluate: Evaluate
    reads: Mapping[str, Evaluate]
    """The facts it looks at, each with its text."""

    def holds(self, facts: Facts) -> bool:
        """Whether it is true.

        Raises:
            Unevaluable: it has no answer.
        """
        return boolean(self.evaluate(facts))

    def observed(self, facts: Facts) -> dict[str, object]:
        """Every fact it looks at; `Unevaluable` objects stand for those that are not known."""
        return {name: _found(fact, facts) for name, fact in self.reads.items()}


@dataclass(frozen=True, slots=True, eq=False)
class When:
    """A compiled condition: all of its parts must hold, asked from left to right."""

    text: str
    parts: tuple[Part, ...]
    texts: str
    """All texts that are written in it."""

    name = "when"

    @property
    def wanted(self) -> str:
        """What the rule asks for."""
        return self.text

    def holds(self, facts: Facts) -> bool:
        """Whether the condition is true.

        Raises:
            Unevaluable: it has no answer, or not the same one for each way to read the resource's URI.
        """
        return self._answer(self._holds, facts)

    def part_holds(self, part: Part, facts: Facts) -> bool:
        """Whether one of its parts is true, asked as the whole is.

        Raises:
            Unevaluable: as `holds`.
        """
        return self._answer(part.holds, facts)

    def observed(self, facts: Facts) -> dict[str, object]:
        """Every fact it looks at; `Unevaluable` objects stand for those that are not known."""
        return {name: found for part in self.parts for name, found in part.observed(facts).items()}

    def _answer(self, ask: Callable[[Facts], bool], facts: Facts) -> bool:
        if facts.target.kind != "resource" or _ONE_READING.fullmatch(facts.target.name):
            return ask(facts)
        answers = {ask(facts.with_uri(uri)) for uri in self._readings(facts.target.name)}
        if len(answers) != 1:
            raise Unevaluable("the resource can be read as different ones")
        return answers.pop()

    def _readings(self, uri: str) -> Iterable[str]:
        """The URI in its decodings; and what is before the query or the fragment, of which the text says
        nothing, since some servers read no more than that.
        """
        whole, plain, bare = trimmings(uri)
        forms = [whole]
        if "#" not in self.texts:
            forms.append(plain)
        if "?" not in self.texts and bare != plain:
            forms.append(bare)
        return dict.fromkeys(reading for form in forms for reading in decodings(form))

    def _holds(self, facts: Facts) -> bool:
        return all(part.holds(facts) for part in self.parts)


def compile_condition(text: str) -> When:
    """Compile the condition of a rule.

    Raises:
        PolicyError: it is not one, or cannot mean what it says; the message names the column and what to
            write instead.
    """
    tree = _listed(text)
    condition = _compiled(tree, text)
    refuse_meaningless(tree, text)
    return condition


def compile_expression(text: str) -> When:
    """Compile what can be evaluated, whether it can mean anything or not.

    Raises:
        PolicyError: it is no expression; the message is as that of `compile_condition`.
    """
    return _compiled(_listed(text), text)


def _listed(text: str) -> ast.expr:
    tree = _parse(text)
    refuse_unlisted(tree, text)
    return tree


def _compiled(tree: ast.expr, text: str) -> When:
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = "".join(value for value in constants if isinstance(value, str))
    return When(text, tuple(_part(part, text) for part in parts), texts)


def _part(node: ast.expr, text: str) -> Part:
    source = source_of(text, node)
    if len(source) > MAX_PART_LENGTH:
        _refuse_long(MAX_PART_LENGTH)
    compiler = Compiler(text)
    evaluate = compiler.condition(node)
    return Part(source, evaluate, compiler.reads)


def _parse(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        _refuse_long(MAX_LENGTH)
    _refuse_unknown_escapes(text)
    if text != text.lstrip():
        raise PolicyError("column 1: begins with a space; remove it")
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        where = f"column {error.offset}: " if error.offset else ""
        raise PolicyError(f"{where}not an expression: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError):
        _refuse("not an expression")


def _refuse_unknown_escapes(text: str) -> None:
    # Python only warns of them, and reads them differently from one release to the next.
    for match in _ESCAPE.finditer(text):
        if match[1] not in _ESCAPES:
            _refuse(f"{column(text, match.start())}: write \\\\ for a backslash")


def _found(fact: Evaluate, facts: Facts) -> object:
    try:
        return fact(facts)
    except Unevaluable as problem:
        return problem


def _refuse_long(limit: int) -> NoReturn:
    _refuse(f"is longer than {limit} characters; make two rules of it")


def _refuse(problem: str) -> NoReturn:
    raise PolicyError(problem)
