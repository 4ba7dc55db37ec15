"""Who may ask: the person who was given the link, from the page that this server serves, with requests of a bounded size."""

from __future__ import annotations

import hmac
import ipaddress
import json
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

#: Largest bodies, in bytes: of JSON, and of an uploaded picture.
JSON_BYTES = 16 * 2**20
UPLOAD_BYTES = 64 * 2**20

#: The page loads nothing from elsewhere and is shown in no other page. Formulas are laid out by style attributes.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]


class Safety:
    """ASGI middleware that lets through what the page asks, and refuses all else.

    - The header Host names this server: a name that a foreign page lets point here (DNS rebinding) does not.
    - The header Origin, where a browser sends one, is this server.
    - What is under /api, and the schema, needs the token: ``Authorization: Bearer TOKEN``, or the cookie that
      ``/?token=TOKEN`` sets, which browsers send from this server's own pages only (SameSite=Strict).
    - Bodies are limited in size.

    Args:
        application: ASGI application.
        token: secret text of ASCII.
        host: that the server listens at.
        port: likewise.
    """

    def __init__(self, application, token: str, host: str, port: int):
        self._application, self._token = application, token.encode()
        self._cookie = f"tf_lrp_studio_{port}"
        self._any_address = host in ("0.0.0.0", "::")
        self._hosts = {"127.0.0.1", "localhost", "::1", host.lower()}
        if self._any_address:
            self._hosts.add(socket.gethostname().lower())
        self._port = port

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self._application(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        headers = {}
        for name, value in scope["headers"]:
            if name in (b"host", b"origin") and name in headers:
                return await _refuse(send, 403, "A request names one host and one origin.")
            headers[name] = value.decode("latin-1")
        if not self._knows(headers.get(b"host", "")):
            return await _refuse(send, 403, "This server is not called so: open the link that the command printed.")
        if not self._own(headers):
            return await _refuse(send, 403, "This request comes from a page of another origin, and is refused.")
        path, cookie = scope["path"], None
        if path == "/":
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if self._is_token(given):
                cookie = f"{self._cookie}={given}; Path=/; HttpOnly; SameSite=Strict".encode()
        elif (path == "/openapi.json" or path.startswith("/api")) and not self._authorized(headers):
            return await _refuse(send, 401, "The token is missing or wrong: open the link that the command printed.")
        limit = UPLOAD_BYTES if path == "/api/pictures" else JSON_BYTES
        length = headers.get(b"content-length", "")
        too_large = length.isdecimal() and (len(length) > 15 or int(length) > limit)
        if not too_large and b"transfer-encoding" in headers:
            receive, too_large = await _bounded(receive, limit)
        if too_large:
            return await _refuse(send, 413, f"The request has more than {limit // 2**20} MiB, the most that is read.")
        await self._application(scope, receive, _with_headers(send, path, cookie))

    def _knows(self, host):
        try:
            parts = urlsplit(f"//{host}")
            name, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return False
        if parts.netloc != host or "@" in host or (port or 80) != self._port:
            return False
        return name in self._hosts or (self._any_address and _is_address(name))

    def _own(self, headers):
        origin = headers.get(b"origin")
        if origin is not None and origin != f"http://{headers[b'host']}":
            return False
        return headers.get(b"sec-fetch-site", "none") in ("none", "same-origin") or (
            # Following a link to the page itself, from a mail or a notebook, is no request of another page.
            headers.get(b"sec-fetch-mode") == "navigate" and headers.get(b"sec-fetch-dest") == "document" and origin is None
        )

    def _authorized(self, headers):
        scheme, _, given = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given.strip()):
            return True
        try:
            cookies = SimpleCookie(headers.get(b"cookie", ""))
        except CookieError:
            return False
        return self._cookie in cookies and self._is_token(cookies[self._cookie].value)

    def _is_token(self, given):
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token)


def _with_headers(send, path, cookie):
    """Sends an answer with the headers of safety."""
    headers = [*_HEADERS]
    if path.startswith("/api") or cookie is not None:
        headers.append((b"cache-control", b"no-store"))
    if cookie is not None:
        headers.append((b"set-cookie", cookie))

    async def sending(message):
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return sending


async def _bounded(receive, limit):
    """Reads a body whose length no header tells: (a function that gives it again, whether it has too many bytes)."""
    parts, received, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        received, more = received + len(parts[-1]), message.get("more_body", False)
        if received > limit:
            return receive, True
    whole = iter([{"type": "http.request", "body": b"".join(parts), "more_body": False}])

    async def again():
        return next(whole, None) or await receive()

    return again, False


def _is_address(name):
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _refuse(send, status, detail):
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
