"""A server for one reader on this machine: a secret in the address, and nothing for pages of other origins."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from .._errors import InputError

__all__ = ["bind", "serve"]

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def bind(port: int) -> list[socket.socket]:
    """Listen on this machine alone.

    Raises
    ------
    InputError
        If the port cannot be used.
    """
    try:
        return bind_sockets(port, "127.0.0.1")
    except OSError as error:
        raise InputError(f"port {port} cannot be used: {error.strerror}; port=0 takes one that is free") from error


def serve(
    sockets: list[socket.socket],
    page: str,
    answer: Callable[[str], dict[str, Any]],
    say: Callable[[str], None],
) -> None:
    """Serve `page`, and what `answer` says of a phrase, until interrupted; `say` is told the address."""
    host, token = f"127.0.0.1:{sockets[0].getsockname()[1]}", secrets.token_urlsafe(24)
    given = {"host": host, "token": token, "page": page, "answer": answer}
    routes = [(r"/([^/]*)/", _Page, given), (r"/([^/]*)/score", _Score, given), (r"/(.*)", _Nothing, given)]
    # Requests are not logged: their addresses hold the secret, and phrases are the reader's own.
    application = Application(routes, log_function=lambda handler: None)

    async def run() -> None:
        server = HTTPServer(application)
        server.add_sockets(sockets)
        say(f"http://{host}/{token}/")
        try:
            await asyncio.Event().wait()
        finally:
            server.stop()

    asyncio.run(run())


class _Guarded(RequestHandler):
    """Answers only who knows the secret, under this host's own name, from this page or from no page."""

    def initialize(self, host: str, token: str, page: str, answer: Callable[[str], dict[str, Any]]) -> None:
        self.host, self.token, self.page, self.answer = host, token, page, answer

    def set_default_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        # The host keeps out sites whose name was made to lead to this machine, the origin the scripts of others.
        is_own = self.request.headers.get("Origin", f"http://{self.host}") == f"http://{self.host}"
        given = str(self.path_args[0]).encode()
        if self.request.host != self.host or not is_own or not hmac.compare_digest(given, self.token.encode()):
            raise HTTPError(403)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not isinstance(value, HTTPError):
            super().log_exception(typ, value, tb)


class _Page(_Guarded):
    def get(self, token: str) -> None:
        self.write(self.page)


class _Score(_Guarded):
    def get(self, token: str) -> None:
        try:
            told = self.answer(self.get_query_argument("phrase", ""))
        except InputError as error:
            self.set_status(400)
            told = {"error": str(error)}
        self.write(told)


class _Nothing(_Guarded):
    def get(self, token: str) -> None:
        raise HTTPError(404)
