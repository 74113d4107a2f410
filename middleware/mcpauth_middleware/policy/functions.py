"""The functions of conditions: `has` and these, and no others.

Addresses are read as RFC 4632 and RFC 4291 write them, paths as POSIX does.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import unquote

from mcpauth_middleware.policy.errors import PolicyError, Unevaluable
from mcpauth_middleware.policy.json_text import plain, refuse_written, written
from mcpauth_middleware.policy.lookalike_text import judged, skeleton, visible_length
from mcpauth_middleware.policy.patterns import NameMatcher, pattern_problem
from mcpauth_middleware.policy.values import MAX_TEXT, Lengths, a, kind_of, text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_WITH_LENGTH: Final = frozenset({"text", "list"})
_AMBIGUOUS_PATH: Final = re.compile(r"[\x00-\x1f\x7f\\]|^//|[. ](?:/|$)")


def length(value: object) -> int | Lengths:
    """`len(x)`: the characters of a text, the items of a list.

    Some values have several lengths: a text that looks shorter or longer than it is, or is a list or object
    written out, and a list with one item, which may have been wrapped around it to look short.
    """
    found = set(_lengths(value))
    return found.pop() if len(found) == 1 else Lengths(found)


def members(value: object) -> int:
    """`len(x)` of what is known to be an object."""
    return len(cast("Mapping[str, object]", value))


def _lengths(value: object) -> Iterator[int]:
    kind = kind_of(value)
    if kind not in _WITH_LENGTH:
        raise Unevaluable(f"{a(kind)} has no length")
    inside = cast("Sequence[object]", value)
    yield len(inside)
    if isinstance(value, str):
        yield visible_length(value)
        yield from _written_lengths(value)
    if kind == "list" and len(set(map(kind_of, inside))) > 1:
        raise Unevaluable("the items of a list are of several kinds")
    if kind == "list" and len(inside) == 1 and kind_of(inside[0]) in _WITH_LENGTH:
        yield from _lengths(inside[0])


def _written_lengths(value: str) -> Iterator[int]:
    if len(value) > MAX_TEXT or (found := written(value)) is None:
        return
    match found[0]:
        case dict() as members:
            yield len(members)
        case other:
            yield from _lengths(other)


def lower(value: object) -> str:
    """`lower(x)`: the text in lower case; one that is JSON without the escapes in it."""
    found = text(value)
    other = written(found)
    return (found if other is None else plain(other[0])).lower()


def starts_with(value: object, prefix: object) -> bool:
    """`startswith(x, prefix)`."""
    refuse_written(text(value))
    return judged(str.startswith, text(value), text(prefix))


def ends_with(value: object, suffix: object) -> bool:
    """`endswith(x, suffix)`."""
    refuse_written(text(value))
    return judged(str.endswith, text(value), text(suffix))


def glob(pattern: str) -> Callable[[object], bool]:
    """`glob(x, pattern)`: the pattern, in which `*` stands for any characters, covers the whole text.

    Raises:
        PolicyError: it is no pattern.
    """
    problem = pattern_problem("tool", pattern)
    if problem is not None:
        raise PolicyError(f"{pattern!r}: {problem}")
    exact, seen = NameMatcher.of(pattern), NameMatcher.of(skeleton(pattern))

    def matches(value: object) -> bool:
        found = text(value)
        refuse_written(found)
        answer = exact.matches(found)
        if seen.matches(skeleton(found)) is not answer:
            raise Unevaluable("a text holds characters that can be taken for others")
        return answer

    return matches


def cidr(networks: Collection[str]) -> Callable[[object], bool]:
    """`cidr(x, network)`: the address lies in one of the networks.

    Raises:
        PolicyError: one is no network.
    """
    parsed = tuple(map(network, networks))

    def within(value: object) -> bool:
        found = address(text(value))
        return any(found in one for one in parsed)

    return within


def path_under(path: object, root: object) -> bool:
    """`path_under(path, root)`: whether the path is the folder, or inside of it.

    Raises:
        Unevaluable: the path is not absolute, or servers could read it as different ones: `..`, percent
            escapes, other case than the folder, a backslash.
    """
    readings = set(_readings(text(path)))
    answers = {judged(_is_under, reading, text(root)) for reading in readings}
    answers |= {judged(_is_under, reading.casefold(), text(root).casefold()) for reading in readings}
    if len(answers) != 1:
        raise Unevaluable("a path can be read as different ones")
    return answers.pop()


def network(text_: str) -> Network:
    """One network in CIDR notation.

    Raises:
        PolicyError: it is none; the message says what to write.
    """
    try:
        found = ipaddress.ip_network(text_)
    except ValueError:
        pass
    else:
        if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
            # As `address` reads an address, none lies in there.
            raise PolicyError(f"{text_!r}: write the IPv4 network, as in 10.0.0.0/8")
        return found
    try:
        mend = f"write {ipaddress.ip_network(text_, strict=False)}"
    except ValueError:
        mend = "write one such as 10.0.0.0/8 or 2001:db8::/32"
    raise PolicyError(f"{text_!r} is no network; {mend}")


def address(text_: str) -> Address:
    """One IP address; an IPv4 address that is mapped into IPv6 is the IPv4 address.

    Raises:
        Unevaluable: it is none.
    """
    try:
        found = ipaddress.ip_address(text_)
    except ValueError:
        raise Unevaluable("a text is no IP address") from None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return found if mapped is None else mapped


def folder_problem(path: str) -> str | None:
    """Say why `path` is no folder that paths can be under, or return None."""
    if "*" in path:
        return "* stands for nothing here; write the folder that all of them are in"
    try:
        _is_under("/", path)
    except Unevaluable as problem:
        return f"{problem}; write the folder as /srv/share"
    return None


def _readings(path: str) -> tuple[str, str, str]:
    once = unquote(path, errors="replace")
    twice = unquote(once, errors="replace")
    if unquote(twice, errors="replace") != twice:
        raise Unevaluable("a path is percent-encoded more than twice")
    return (path, once, twice)


def _is_under(path: str, root: str) -> bool:
    segments, wanted = _segments(path), _segments(root)
    return segments[: len(wanted)] == wanted


def _segments(path: str) -> list[str]:
    if not path.startswith("/"):
        raise Unevaluable("a path is not absolute")
    # `.` as a segment is nothing; `..` may lead through a link, so that no one can tell from the text.
    plain = re.sub(r"/\.(?=/|$)", "", path)
    if _AMBIGUOUS_PATH.search(plain):
        raise Unevaluable("a path can be read as different ones")
    return [segment for segment in plain.split("/") if segment]
