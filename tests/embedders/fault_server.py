"""A server of OpenAI's protocol on loopback that answers rightly, or wrongly in every way the tests ask for.

It keeps count of what it was sent and what it answered, so that tests can tell what was paid for twice.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np


def vector(text: str, dim: int) -> np.ndarray:
    """The vector this server gives a text: numbers from a hash, of unit length, float32."""
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
    row = np.random.default_rng(seed).normal(size=dim)
    return (row / np.linalg.norm(row)).astype(np.float32)


class FaultServer(ThreadingHTTPServer):
    """Answers ``/v1/embeddings`` (and Azure's path of it).

    `faults` holds what the next requests meet, one each, None for a right answer; `always` is met by every request
    once `faults` are used up.
    """

    daemon_threads = True
    # The kernel drops what waits behind a short queue, and the client would see time-outs nobody asked for.
    request_queue_size = 64

    def __init__(self, dim: int = 8, *, latency: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.dim, self.latency = dim, latency
        self.faults: list[Any] = []
        self.always: Any = None
        self.requests: list[dict[str, Any]] = []  # bodies, in the order they came
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.answered: list[list[str]] = []  # inputs of the answers that were sent whole
        self.answer_times: list[float] = []
        self.on_answer: Callable[[], None] | None = None
        self.together = self.most_together = 0  # requests at once
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def sent_texts(self) -> list[str]:
        return [text for body in self.requests for text in body["input"]]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed break connections; that is no news."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def answer(self, texts: Iterable[str], *, dimensions: int | None, encoding: str) -> dict[str, Any]:
        data = []
        for i, text in enumerate(texts):
            row = vector(text, dimensions or self.dim)
            code = base64.b64encode(row.tobytes()).decode() if encoding == "base64" else row.tolist()
            data.append({"object": "embedding", "index": i, "embedding": code})
        return {"object": "list", "data": data, "model": "toy", "usage": {"prompt_tokens": 1, "total_tokens": 1}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultServer

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        path = self.path.partition("?")[0]
        if path.endswith("/embeddings"):
            self._embeddings(json.loads(raw))
        else:
            self._error(404, {"message": f"no such path {self.path}"})

    # Embeddings -----------------------------------------------------------------------------------------------------

    def _embeddings(self, body: dict[str, Any]) -> None:
        server = self.server
        with server.lock:
            server.requests.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.paths.append(self.path)
            server.times.append(time.monotonic())
            fault = server.faults.pop(0) if server.faults else server.always
            server.together += 1
            server.most_together = max(server.most_together, server.together)
        try:
            if server.latency:
                time.sleep(server.latency)
            if callable(fault):
                fault = fault(body)
            self._meet(fault, body)
        finally:
            with server.lock:
                server.together -= 1

    def _meet(self, fault: Any, body: dict[str, Any]) -> None:
        server = self.server
        answer = server.answer(body["input"], dimensions=body.get("dimensions"), encoding=body["encoding_format"])
        data = answer["data"]
        kind, *details = fault if isinstance(fault, tuple) else (fault,)
        if kind == "status":  # status, headers, error
            status, headers, error = details
            return self._error(status, error, headers)
        if kind == "hang":
            time.sleep(details[0])
            return self._drop()
        raw = json.dumps(answer).encode()
        if kind == "drop":
            self._head(200, len(raw))
            self.wfile.write(raw[: len(raw) // 2])
            return self._drop()
        if kind == "truncated":
            return self._send(200, raw[: len(raw) // 2])
        if kind == "html":
            return self._send(200, b"<html>502 Bad Gateway</html>")
        if kind == "drip":
            self._head(200, len(raw))
            for i in range(0, len(raw), 16):
                self.wfile.write(raw[i : i + 16])
                time.sleep(details[0])
            return None
        if kind == "ignores dimensions":
            answer = server.answer(body["input"], dimensions=None, encoding=body["encoding_format"])
        elif kind == "count":
            data.pop()
        elif kind == "shuffled":
            data.reverse()
        elif kind == "no index":
            for item in data:
                item.pop("index")
        elif kind == "index twice":
            data[-1]["index"] = 0
        elif kind == "value":  # the first number of the first vector
            row = vector(body["input"][0], body.get("dimensions") or server.dim)
            row[0] = details[0]
            data[0]["embedding"] = base64.b64encode(row.tobytes()).decode()
        elif kind == "garbage":
            data[0]["embedding"] = details[0]
        elif kind is not None:
            raise AssertionError(f"no such fault: {fault}")
        self._send(200, json.dumps(answer).encode())
        with server.lock:
            server.answered.append(list(body["input"]))
            server.answer_times.append(time.monotonic())
        if server.on_answer is not None:
            server.on_answer()
        return None

    # Sending --------------------------------------------------------------------------------------------------------

    def _head(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, status: int, raw: bytes, headers: dict[str, str] | None = None) -> None:
        self._head(status, len(raw), headers)
        self.wfile.write(raw)
        self.wfile.flush()

    def _json(self, status: int, body: Any) -> None:
        self._send(status, json.dumps(body).encode())

    def _error(self, status: int, error: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps({"error": error}).encode(), headers)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.close()
