"""Which names the server answers to, and which pages may use it.

A page of another site must reach nothing, even where its name is made to lead here (DNS rebinding). So `Host`
must be a name that the operator knows, and what changes something must come from a page of that very name.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.datastructures import Headers

from facemend.server.settings import ServerSettings

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+?)\.?(?::([0-9]{1,5}))?")
_PORTS = {"http": 80, "https": 443}
_READS = ("GET", "HEAD", "OPTIONS")


class Sites:
    """The allow list of one server.

    Args:
        settings: its host and further names.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._names = {"localhost", _bare(settings.host.lower()), *map(_bare, settings.name_list)}
        address = _address(settings.host)
        # Rebinding needs a name. Where all networks are listened to, any address may be this machine's.
        self._any_address = address is not None and address.is_unspecified

    def refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        """Status and message for a request that must not go on; None: it may."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_known(hosts[0]):
            return 421, "this server has another name: open it by that, or start it with --name NAME as well"
        if method not in _READS and _is_foreign(hosts[0], headers):
            return 403, "another site may not use this server"
        return None

    def _is_known(self, host: str) -> bool:
        parts = _parts(host, 0)
        if parts is None:
            return False
        name = parts[0]
        address = _address(name)
        if address is not None and (address.is_loopback or self._any_address):
            return True
        return name in self._names


def _is_foreign(host: str, headers: Headers) -> bool:
    """Whether a page of another origin sent this; programs send neither header."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    for origin in headers.getlist("origin"):
        scheme, _, authority = origin.partition("://")  # "null", of sandboxed pages, has none
        port = _PORTS.get(scheme.lower(), 0)
        if not port or _parts(authority, port) != _parts(host, port):
            return True
    return False


def _parts(authority: str, port: int) -> tuple[str, int] | None:
    """Name and port of `name:port`; `port` where it says none."""
    found = _AUTHORITY.fullmatch(authority)
    return found and (_bare(found[1].lower()), int(found[2] or port))


def _bare(name: str) -> str:
    return name.removeprefix("[").removesuffix("]")


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(_bare(name))
    except ValueError:
        return None
