"""The head of the page: its own title and preview, its language, and the script that runs before Gradio's."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analyzers.common.languages import DEFAULT, LANGUAGES, Language
from analyzers.serving.analyses import analyses_with_tab
from ui.errors import language_among
from ui.texts import say, text_keys
from ui.theme import SKIP_LINK

GRADIO_PREVIEW = re.compile(r"<meta\s+(?:property|name)=\"(?:og|twitter):[^>]*>\s*", re.DOTALL)
Scope = dict[str, Any]


class OwnHead:
    """ASGI middleware: the page's HTML, at whatever address it is mounted, with its own head instead of Gradio's.
    Everything else passes through as it comes."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        language = language_among(headers.get(b"accept-language", b"").decode("latin-1"))
        page: Scope = {}
        parts: list[bytes] = []

        async def rewrite(message: Scope) -> None:
            if message["type"] == "http.response.start" and _is_html(message):
                page.update(message)
            elif not page:
                await send(message)
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    body = with_own_head(b"".join(parts).decode("utf-8"), language).encode("utf-8")
                    kept = [(name, value) for name, value in page["headers"] if name != b"content-length"]
                    await send({**page, "headers": [*kept, (b"content-length", str(len(body)).encode())]})
                    await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, rewrite)


def _is_html(start: Scope) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in start["headers"])


def with_own_head(page: str, language: Language = DEFAULT) -> str:
    """Gradio's page with our preview and our script first in its head."""
    return GRADIO_PREVIEW.sub("", page).replace("<head>", f"<head>{_own_head(language)}", 1)


def _own_head(language: Language) -> str:
    space = os.environ.get("SPACE_ID")
    about = {"title": say("preview_title", language), "description": say("tagline", language)}
    metas = [f'<meta property="og:{name}" content="{html.escape(text)}" />' for name, text in about.items()]
    metas += [f'<meta name="twitter:{name}" content="{html.escape(text)}" />' for name, text in about.items()]
    metas += ['<meta property="og:type" content="website" />', '<meta property="og:site_name" content="Eccolens" />']
    metas += ['<meta name="twitter:card" content="summary" />']
    metas.append(f'<meta name="description" content="{html.escape(about["description"])}" />')
    if space is not None:
        metas.append(f'<meta property="og:url" content="https://huggingface.co/spaces/{html.escape(space)}" />')
    start = json.dumps(
        {
            "languages": LANGUAGES,
            "space": space,
            "skip": {code: say("skip_link", code) for code in LANGUAGES},
            "questions": {code: _questions(code) for code in LANGUAGES},
        }
    ).replace("<", "\\u003c")
    script = (Path(__file__).parent / "head.js").read_text(encoding="utf-8")
    return "".join(metas) + f"<style>{SKIP_LINK}</style><script>window.eccolens_start = {start};\n{script}</script>"


def _questions(language: Language) -> dict[str, str]:
    """What each tab answers, in a few words that stand under its name."""
    keys = {row.name: f"question_{row.name}" for row in analyses_with_tab()}
    return {name: say(key, language) for name, key in keys.items() if key in text_keys()}
