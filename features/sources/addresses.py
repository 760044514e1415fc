"""The guard against URLs that lead into a private network: each address is looked at before it is connected to."""

from __future__ import annotations

import os
import socket
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

import urllib3.connection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.poolmanager import PoolManager
from urllib3.util import Retry, Timeout

from features.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_REDIRECTS = 5
_CONNECT_SECONDS = 10.0
_STALL_SECONDS = 60.0


class PrivateAddressError(FetchError):
    """A URL, or what it redirects to, is at an address that is not public."""


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet; of one that carries an IPv4 address, whether that is."""
    ip: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip.packed[:12] == bytes.fromhex("0064ff9b0000000000000000"):  # NAT64, RFC 6052
            inner = IPv4Address(ip.packed[12:])
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Addresses of a host.

    Raises:
        OSError: The name is not known.
        PrivateAddressError: One of them is not public.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    private = [address for address in addresses if not is_public(address)]
    if private and not allow_private:
        message = (
            f"the host {host!r} is at {private[0]}, which is no public address; leave the URL out, or, if it is meant, "
            "ingest with --allow-private-addresses"
        )
        raise PrivateAddressError(message)
    return addresses


@cache
def pool_manager(*, allow_private: bool) -> PoolManager:
    """Connections that look at each address before they connect to it: that very address, whatever the name says later.

    A few redirects are followed, each looked at the same way; proxies of the environment are not used.
    """

    def connect(connection: urllib3.connection.HTTPConnection) -> socket.socket:
        try:
            addresses = resolve(connection._dns_host, connection.port, allow_private=allow_private)
        except socket.gaierror as error:
            raise NameResolutionError(connection.host, connection, error) from error
        return _connected(connection, addresses)

    class Plain(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class Secure(urllib3.connection.HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    retries = Retry(total=None, connect=0, read=0, status=0, other=0, redirect=_MOST_REDIRECTS)
    pools = PoolManager(num_pools=16, retries=retries, timeout=Timeout(connect=_CONNECT_SECONDS, read=_STALL_SECONDS))
    pools.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return pools


os.register_at_fork(after_in_child=pool_manager.cache_clear)  # connections are the parent's


def _connected(connection: urllib3.connection.HTTPConnection, addresses: Sequence[str]) -> socket.socket:
    failed: OSError | None = None
    for address in addresses:
        try:
            timeout = connection.timeout if isinstance(connection.timeout, int | float) else None
            return socket.create_connection((address, connection.port), timeout)
        except OSError as error:
            failed = error
    raise NewConnectionError(connection, str(failed)) from failed
