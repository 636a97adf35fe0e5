"""Who is asking: one name for all connections of a client."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

UNKNOWN = "unknown"


def client_name(address: tuple[str, int] | None) -> str:
    """The client behind an address: IPv4 addresses one by one, IPv6 by the /64 that one household has."""
    try:
        found = ip_address(address[0].partition("%")[0] if address else "")
    except ValueError:  # a proxy may say anything
        return UNKNOWN
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None:
            return str(ip_network((found, 64), strict=False))
        found = found.ipv4_mapped
    return str(found)
