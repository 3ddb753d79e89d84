"""Who may talk to the studio: pages of its own address that know its token, and nobody else."""

import secrets
from collections.abc import Collection

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Refuses what does not name one of ``hosts`` (against DNS rebinding), comes from a page of another origin, or does
    not begin its path with the token; the rest of the path is what the application sees."""

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str]) -> None:
        self.app, self.token, self.hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if refusal := self._refusal(HTTPConnection(scope)):
            if scope["type"] == "websocket":
                return await send({"type": "websocket.close", "code": 4403, "reason": refusal})
            return await PlainTextResponse(refusal, 403, HEADERS)(scope, receive, send)
        prefix = f"/{self.token}"

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in own]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        scope = {**scope, "path": scope["path"].removeprefix(prefix)}
        return await self.app(scope, receive, with_headers)

    def _refusal(self, request: HTTPConnection) -> str:
        headers, writes = request.headers, request.scope.get("method", "GET") not in ("GET", "HEAD")
        if headers.get("host") not in self.hosts:
            return "another host"
        origin = headers.get("origin")
        if origin not in {f"http://{host}" for host in self.hosts} and (
            origin or writes or request.scope["type"] == "websocket"
        ):
            return "another origin"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "another site"
        given = request.scope["path"].split("/")[1]
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return "open the address that stesa studio has printed: its token is missing or wrong"
        return ""
