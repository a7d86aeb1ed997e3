"""A server that speaks as an OpenAI-compatible endpoint does, with answers from a function."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Response(NamedTuple):
    code: int
    body: bytes
    headers: Mapping[str, str] = {}


def as_json(code: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(code, json.dumps(body).encode(), headers or {})


@contextlib.contextmanager
def stub_server(respond: Callable[[dict[str, Any], str | None], Response], models: Sequence[str]) -> Iterator[str]:
    """Serve on a free port; gives the base URL. `respond` gets a request's body and authorization, in any thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(as_json(200, {"object": "list", "data": [{"id": name} for name in models]}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(respond(body, self.headers.get("Authorization")))

        def _send(self, response: Response) -> None:
            with contextlib.suppress(OSError):  # a client that gave up
                self.send_response(response.code)
                for name, value in {**response.headers, "Content-Length": str(len(response.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(response.body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
