"""What the page asks for, and what it is told. It names frames and objects by number, and never a file."""

import asyncio
import json
import secrets
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from stesa_cli.errors import StesaError
from stesa_cli.masks import PALETTE, write_mask
from stesa_cli.studio.export import export
from stesa_cli.studio.marks import Asked
from stesa_cli.studio.propagation import Propagation
from stesa_cli.studio.session import Session
from stesa_cli.studio.snapping import Snapper
from stesa_cli.video.outputs import FORMATS

JPEG_QUALITY = 92
WAYS = {"forwards": (False,), "back": (True,), "both": (True, False)}


class Studio:
    """The application of one session. With ``mask_of``, a frame, the page only makes the mask of that frame:
    it is written to ``mask_path``, and ``leave`` called. Requests that change anything come from the tab that holds
    the seat; others are told that it is taken."""

    def __init__(
        self,
        session: Session,
        mask_of: int | None = None,
        mask_path: Path | None = None,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self.session, self.mask_of, self.mask_path, self.leave = session, mask_of, mask_path, leave
        self.propagation = Propagation(session, self._tell)
        self.snapper = Snapper(session.job.weights, session.job.config, session.job.device)
        self.seat, self.tab = "", None  # type: tuple[str, WebSocket | None]
        self.exporting = False
        self.loop: asyncio.AbstractEventLoop | None = None
        page = Path(str(files("stesa_cli.studio") / "page"))
        self.app = Starlette(
            routes=[
                WebSocketRoute("/events", self.events),
                Route("/state", self.state),
                Route("/frames/{frame:int}", self.frame),
                Route("/masks/{frame:int}", self.mask),
                Route("/masks/{frame:int}", self.give, methods=["PUT"]),
                Route("/snap/{frame:int}", self.snap, methods=["POST"]),
                Route("/names/{id:int}", self.name, methods=["PUT"]),
                Route("/propagate/{way:str}", self.propagate, methods=["POST"]),
                Route("/stop", self.stop, methods=["POST"]),
                Route("/command", self.command),
                Route("/export", self.export, methods=["POST"]),
                Route("/finish", self.finish, methods=["POST"]),
                Mount("/", StaticFiles(directory=page, html=True)),
            ],
            exception_handlers={StesaError: _refuse, IndexError: _no_frame},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.loop = asyncio.get_running_loop()
        warming = Thread(target=self._warm_up)
        warming.start()
        yield
        self.loop = None
        await run_in_threadpool(self.propagation.stop)
        await run_in_threadpool(warming.join)

    def _warm_up(self) -> None:
        """Load the network while the user looks at the first frame, so that the first click is as fast as others."""
        with suppress(StesaError):  # told when it is clicked
            self.snapper.prepare(self.session.video.frame(self.mask_of or 0))

    def _tell(self, event: dict[str, Any]) -> None:
        """Send an event to the tab, from any thread; nobody waits for it."""
        if self.loop and self.tab:
            asyncio.run_coroutine_threadsafe(self._send(event), self.loop)

    async def _send(self, event: dict[str, Any]) -> None:
        if self.tab:
            try:
                await self.tab.send_text(json.dumps(event))
            except RuntimeError:
                """It has just been closed."""

    async def events(self, socket: WebSocket) -> None:
        await socket.accept()
        if self.tab:
            await socket.close(4409, "open in another tab")
            return
        self.seat, self.tab = secrets.token_urlsafe(12), socket
        try:
            await socket.send_text(json.dumps({"kind": "seat", "seat": self.seat}))
            async for _ in socket.iter_text():
                """The page has nothing to say here."""
        finally:
            self.seat, self.tab = "", None

    def _check_seat(self, request: Request) -> None:
        if not self.seat or not secrets.compare_digest(request.headers.get("x-seat", ""), self.seat):
            raise HTTPException(409, "the studio is open in another tab")

    def _check_idle(self) -> None:
        if self.propagation.is_running or self.exporting:
            raise HTTPException(409, "wait for the end of the run, or stop it")

    def state(self, _: Request) -> Response:
        session, video = self.session, self.session.video
        fresh = session.fresh_until()
        return JSONResponse(
            {
                "name": session.job.name,
                "described": video.reader.describe(),
                "width": video.reader.width,
                "height": video.reader.height,
                "times": [round(float(time), 4) for time in video.times],
                "objects": {i: session.names.get(i, "") for i in session.ids()},
                "prompts": sorted(session.prompts),
                "seen": session.seen,
                "fresh": fresh,
                "running": self.propagation.is_running,
                "formats": list(FORMATS),
                "save": session.job.save,
                "output": str(session.job.output),
                "palette": PALETTE.tolist(),
                "mask_of": self.mask_of,
                "mask_path": str(self.mask_path),
            }
        )

    def frame(self, request: Request) -> Response:
        image = self.session.video.frame(request.path_params["frame"]).image
        jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        return Response(jpeg.tobytes(), media_type="image/jpeg")

    def mask(self, request: Request) -> Response:
        return _packed(self.session.labels(self._number(request)))

    async def give(self, request: Request) -> Response:
        """The body is the label map, row by row, a byte a pixel."""
        self._check_seat(request)
        self._check_idle()
        frame, session, body = self._number(request), self.session, await request.body()
        if len(body) != session.size[0] * session.size[1]:
            raise HTTPException(400, "a mask has a byte for each pixel")
        labels = np.frombuffer(body, np.uint8).reshape(session.size)
        await run_in_threadpool(session.give, frame, labels)
        return JSONResponse({"prompts": sorted(session.prompts), "fresh": session.fresh_until()})

    async def snap(self, request: Request) -> Response:
        """A mask of 0 and 1 of what the marks of an ``Asked`` mean."""
        self._check_seat(request)
        try:
            asked = Asked.parse(await request.json(), self.session.size)
        except ValueError as error:
            raise HTTPException(400, "give marks and a box as numbers") from error
        frame = await run_in_threadpool(self.session.video.frame, self._number(request))
        found = await run_in_threadpool(self.snapper.snap, frame, asked)
        return _packed(found.view(np.uint8))

    async def name(self, request: Request) -> Response:
        self._check_seat(request)
        self.session.names[request.path_params["id"]] = (await request.body()).decode()[:80]
        self.session.save()
        return Response(status_code=204)

    def propagate(self, request: Request) -> Response:
        self._check_seat(request)
        self._check_idle()
        if (way := request.path_params["way"]) not in WAYS:
            raise HTTPException(404)
        if self.session.first is None:
            raise HTTPException(400, "mark an object first")
        self.propagation.start(WAYS[way])
        return Response(status_code=204)

    def stop(self, request: Request) -> Response:
        self._check_seat(request)
        self.propagation.stop()
        return Response(status_code=204)

    def command(self, request: Request) -> Response:
        return JSONResponse({"command": self.session.command(_formats(request.query_params.get("save", "")))})

    def export(self, request: Request) -> Response:
        self._check_seat(request)
        self._check_idle()
        self.exporting = True
        try:
            report = export(
                self.session,
                _formats(request.query_params.get("save", "")),
                lambda done, of: self._tell({"kind": "exported", "done": done, "of": of}),
            )
        finally:
            self.exporting = False
        return JSONResponse({"output": str(report.job.output), "frames": report.frames, "warnings": report.warnings})

    def finish(self, request: Request) -> Response:
        """Write the one mask that was asked for, and leave."""
        self._check_seat(request)
        if self.mask_of is None or self.mask_path is None:
            raise HTTPException(404)
        if self.mask_of not in self.session.prompts:
            raise HTTPException(400, "mark an object first")
        write_mask(self.mask_path, self.session.labels(self.mask_of))
        self.leave()
        return Response(status_code=204)

    def _number(self, request: Request) -> int:
        """The number of an existing frame."""
        frame = int(request.path_params["frame"])
        if frame >= len(self.session.video):
            raise HTTPException(404, "no such frame")
        return frame


def _formats(text: str) -> tuple[str, ...]:
    kinds = tuple(kind for kind in text.split(",") if kind)
    if not kinds or not set(kinds) <= FORMATS.keys():
        raise HTTPException(400, f"choose among {', '.join(FORMATS)}")
    return kinds


def _packed(labels: np.ndarray) -> Response:
    packed = zlib.compress(np.ascontiguousarray(labels).tobytes(), 1)
    return Response(packed, media_type="application/octet-stream", headers={"content-encoding": "deflate"})


def _refuse(_: Request, error: Exception) -> Response:
    return Response(str(error), 400, media_type="text/plain")


def _no_frame(_: Request, error: Exception) -> Response:
    return Response("no such frame", 404, media_type="text/plain")
