"""The page's own head: on the page wherever it is mounted, on nothing else, and in the visitor's language."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from ui.page_head import OwnHead, with_own_head

PAGE = '<html><head><meta property="og:title" content="Gradio" />\n<title>x</title></head><body>é</body></html>'


def show_page(request: Request) -> Response:
    return HTMLResponse(PAGE)


def show_numbers(request: Request) -> Response:
    return JSONResponse({"page": PAGE})


def stream_text(request: Request) -> Response:
    def pieces() -> Iterator[str]:
        yield "data: <head>"
        yield "data: more"

    return StreamingResponse(pieces(), media_type="text/event-stream")


ROUTES = [Route("/", show_page), Route("/config", show_numbers), Route("/heartbeat", stream_text)]


def client_of(*routes: Route | Mount) -> TestClient:
    app = Starlette(routes=list(routes))
    app.add_middleware(OwnHead)
    return TestClient(app)


def test_the_page_has_our_head_and_preview_instead_of_gradios() -> None:
    answer = client_of(*ROUTES).get("/")
    assert answer.headers["content-length"] == str(len(answer.content))
    head = answer.text[: answer.text.index("<title>")]
    assert "window.eccolens_start" in head
    assert 'content="Gradio"' not in head
    assert "<body>é</body>" in answer.text


def test_the_page_behind_a_path_has_it_too() -> None:
    assert "window.eccolens_start" in client_of(Mount("/tool", routes=ROUTES)).get("/tool/").text


def test_nothing_else_is_touched() -> None:
    client = client_of(*ROUTES)
    assert client.get("/config").json() == {"page": PAGE}
    assert client.get("/heartbeat").text == "data: <head>data: more"
    assert client.get("/nowhere").status_code == 404


def test_a_stream_passes_as_it_comes() -> None:
    order: list[str] = []

    async def stream(scope: object, receive: object, send: Callable[[dict[str, object]], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for piece in (b"one", b"two"):
            order.append(f"sent {piece.decode()}")
            await send({"type": "http.response.body", "body": piece, "more_body": piece == b"one"})

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def heard(message: dict[str, object]) -> None:
        if message["type"] == "http.response.body":
            order.append(f"heard {message['body']!r}")

    asked = OwnHead(stream)({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, heard)
    with ThreadPoolExecutor(1) as own_loop:  # this thread may be running the browser's
        own_loop.submit(asyncio.run, asked).result()
    assert order == ["sent one", "heard b'one'", "sent two", "heard b'two'"]


def test_the_preview_is_in_the_browsers_language() -> None:
    japanese = client_of(*ROUTES).get("/", headers={"accept-language": "ja,en;q=0.5"}).text
    assert 'property="og:title"' in japanese
    assert japanese != client_of(*ROUTES).get("/").text
    assert with_own_head(PAGE, "ja") == japanese
