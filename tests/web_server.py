"""A web server on 127.0.0.1 that misbehaves on request, for tests of downloads."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What the server does for one path.

    `cuts`: bytes after which the connection is closed, one for each of the first answers. `status`: answers to give
    first. `length`: a lie about Content-Length. `ranges`: honour Range. `redirect`: where to go instead.
    """

    body: bytes = b""
    etag: str = '"1"'
    modified: str = ""
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    length: int | None = None
    chunked: bool = False
    redirect: str = ""
    wrong_range: bool = False
    requests: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0


class Server:
    """Serves `pages` (path -> Page) until closed."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                _answer(self, pages.get(self.path.partition("?")[0]))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _answer(request: BaseHTTPRequestHandler, page: Page | None) -> None:
    if page is None:
        request.send_error(404)
        return
    page.requests.append(dict(request.headers.items()))
    if page.status:
        request.send_error(page.status.pop(0))
        return
    if page.redirect:
        request.send_response(302)
        request.send_header("Location", page.redirect)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    start = _start(request, page)
    if start is not None and start >= len(page.body):
        request.send_response(416)
        request.send_header("Content-Range", f"bytes */{page.length or len(page.body)}")
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    body = page.body[start or 0 :]
    request.send_response(200 if start is None else 206)
    if start is not None:
        first = start + page.wrong_range
        request.send_header("Content-Range", f"bytes {first}-{len(page.body) - 1}/{page.length or len(page.body)}")
    if page.etag:
        request.send_header("ETag", page.etag)
    if page.modified:
        request.send_header("Last-Modified", page.modified)
    if page.chunked:
        request.send_header("Transfer-Encoding", "chunked")
        body = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    else:
        request.send_header("Content-Length", str(len(body) if page.length is None else page.length - (start or 0)))
    request.end_headers()
    cut = page.cuts.pop(0) if page.cuts else len(body)
    request.wfile.write(body[:cut])
    page.sent += len(body[:cut])
    request.close_connection = True


def _start(request: BaseHTTPRequestHandler, page: Page) -> int | None:
    """First byte that is asked for, where the condition holds."""
    asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    condition = request.headers.get("If-Range")
    if asked is None or not page.ranges or condition not in (None, page.etag or page.modified):
        return None
    return int(asked[1])
