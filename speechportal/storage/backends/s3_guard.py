"""boto3's connections, made to addresses that were judged and to no others.

An endpoint is judged before a store is opened; but boto3 would ask the name service again for each of its
connections, and a name may answer otherwise then (DNS rebinding), or a bucket's own name lead elsewhere. So
here the name is asked once, at the connection, and what was judged is what is connected to.
"""

from __future__ import annotations

import socket
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.httpsession import URLLib3Session
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

from speechportal.storage.endpoints import judged_addresses


class _Judged:
    """Of a connection of urllib3: how its socket is made. Errors are those that urllib3 itself has."""

    host: str
    port: int
    timeout: Any
    source_address: Any
    socket_options: Any

    def _new_conn(self) -> socket.socket:
        try:
            addresses = judged_addresses(self.host, self.port)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type] # it is one, by its other base
        for address in addresses[:-1]:
            try:
                return self._connect(address)
            except OSError:
                continue  # The next one may be there.
        try:
            return self._connect(addresses[-1])
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"{self.host} did not answer in time") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error  # type: ignore[arg-type] # likewise

    def _connect(self, address: str) -> socket.socket:
        return create_connection((address, self.port), self.timeout, self.source_address, self.socket_options)


class _JudgedHttp(_Judged, AWSHTTPConnection):  # type: ignore[misc] # so is botocore's own class
    pass


class _JudgedHttps(_Judged, AWSHTTPSConnection):  # type: ignore[misc] # likewise
    pass


class _HttpPool(AWSHTTPConnectionPool):
    ConnectionCls = _JudgedHttp


class _HttpsPool(AWSHTTPSConnectionPool):
    ConnectionCls = _JudgedHttps


class JudgedSession:
    """botocore's way to send a request, over connections of ours; without any proxy. For all threads."""

    def __init__(self, *, connect_timeout: float, read_timeout: float) -> None:
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        make: Any = URLLib3Session  # Its stubs know neither these arguments nor its manager.
        self._session = make(proxies={}, timeout=(connect_timeout, read_timeout), socket_options=options)
        self._session._manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}  # noqa: SLF001 - it has no argument for this; a test sees that it counts

    def answer(self, *, request: Any, **_kwargs: Any) -> Any:
        """For botocore's ``before-send`` event: what is answered there is not sent by botocore itself."""
        return self._session.send(request)
