"""The address the dashboard listens on, and what a person types to reach it."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import quote


class AddressError(ValueError):
    """An address that cannot be listened on; the message is one sentence."""


def numeric_address(address: str) -> IPv4Address | IPv6Address:
    """The one IP address a name or number stands for, IPv4 first.

    What is judged here is then what is listened on: no name is looked up a second time.

    Raises:
        AddressError: there is no such address.
    """
    try:
        # Without a name the system would take all addresses, which nobody asked for.
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM) if address else []
    except (OSError, UnicodeError):
        found = []
    # Sorted, as a name may stand for both; IPv6 parts like %eth0 belong to the address.
    numbers = sorted((ip_address(str(entry[4][0])) for entry in found), key=lambda ip: ip.version)
    if not numbers:
        raise AddressError(
            f"the dashboard cannot listen on '{address}', which is no address of this machine: "
            "give another --address, as 127.0.0.1 or 0.0.0.0"
        )
    return numbers[0]


def web_addresses(listening: IPv4Address | IPv6Address, port: int) -> list[str]:
    """`http://HOST:PORT` for a person, nearest first: all addresses (0.0.0.0) are none to type."""
    if not listening.is_unspecified:
        return [_web_address(listening, port)]
    here: list[IPv4Address | IPv6Address] = [
        IPv4Address("127.0.0.1") if listening.version == 4 else IPv6Address("::1")
    ]
    outward = _outward_address(listening.version)
    if outward is not None and not outward.is_loopback:
        here.append(outward)
    return [_web_address(address, port) for address in here]


def with_token(address: str, token: str) -> str:
    """An address that lets its visitor in."""
    return f"{address}/?token={quote(token, safe='')}"


def _web_address(address: IPv4Address | IPv6Address, port: int) -> str:
    host = f"[{str(address).replace('%', '%25')}]" if address.version == 6 else str(address)
    return f"http://{host}:{port}"


def _outward_address(version: int) -> IPv4Address | IPv6Address | None:
    """This machine's address towards other machines; no packet is sent to find it."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    beyond = "192.0.2.1" if version == 4 else "2001:db8::1"  # kept for documentation: nobody's
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((beyond, 9))
            return ip_address(str(probe.getsockname()[0]))
    except OSError:
        return None
