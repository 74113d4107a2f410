"""Public network addresses, RFC 6890: which ones a URL of a stranger may lead to.

An address that holds another one is judged by what it holds. Those that only carry IPv4 over old tunnels are
refused whatever they hold: no public server needs them.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_INTERNAL = (
    IPv4Network("10.0.0.0/8"),  # RFC 1918
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("127.0.0.0/8"),  # RFC 1122 §3.2.1.3
    IPv6Network("fc00::/7"),  # RFC 4193
    IPv6Network("::1/128"),
)
_REFUSED_V4 = (
    IPv4Network("192.0.0.0/24"),  # RFC 6890 §2.2.2, protocol assignments
    IPv4Network("192.88.99.0/24"),  # RFC 7526, former 6to4 relays
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # RFC 4291 §2.4
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1; the local-use prefix 64:ff9b:1::/48 is not in it
_REFUSED_V6 = (
    IPv6Network("2001::/23"),  # RFC 2928, Teredo (2001::/32, RFC 4380) among them
    IPv6Network("2001:db8::/32"),  # RFC 3849
    IPv6Network("2002::/16"),  # RFC 3056, 6to4
    IPv6Network("3fff::/20"),  # RFC 9637
)
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # RFC 5214 §6.1, the upper half of the interface identifier


def is_public(address: Address) -> bool:
    """Whether the address belongs to a host on the public internet."""
    if isinstance(address, IPv4Address):
        reserved = any(address in network for network in _REFUSED_V4)
        return address.is_global and not address.is_multicast and not reserved
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return (
        # v4-mapped and v4-compatible addresses, loopback, link-local and unique local ones are outside.
        address in _GLOBAL_UNICAST
        and address.is_global
        and not any(address in network for network in _REFUSED_V6)
        and (int(address) >> 32) & 0xFFFFFFFF not in _ISATAP
    )


def is_public_or_internal(address: Address) -> bool:
    """Whether it may belong to a host of the operator's own, too: on this machine or its private network.

    Link-local addresses stay refused: the metadata services of clouds are there, which hand out credentials.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    return is_public(address) or any(address in network for network in _INTERNAL)
