"""Pages for people: the API with its examples, and the catalogue. Both fetch nothing from elsewhere."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.responses import RedirectResponse, Response

from fs_core.catalogue.html import code, e, section
from fs_core.server.answer import json_response
from fs_core.server.endpoint import Call
from fs_core.server.openapi import document
from fs_core.server.problems import RefusedError

_FRESH = 60.0  # seconds that a catalogue is shown before it is built anew
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


async def openapi(call: Call) -> Response:  # noqa: ARG001  # every endpoint takes the call
    """Answer the OpenAPI document."""
    return json_response(document())


async def docs(call: Call) -> Response:  # noqa: ARG001  # every endpoint takes the call
    """Answer the OpenAPI document as a page."""
    return _page(_docs(document()), "text/html; charset=utf-8")


def _page(content: str | bytes, kind: str) -> Response:
    return Response(content, media_type=kind, headers={"content-security-policy": _POLICY})


def _docs(api: Mapping[str, Any]) -> str:
    parts = [
        section(f"{method.upper()} {path}", *_operation(method, path, operation))
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    ]
    style = (files("fs_core.catalogue") / "style.css").read_text(encoding="utf-8")
    info = api["info"]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{e(info["title"])}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{style}</style></head><body><main><h1>{e(info['title'])}</h1>"
        f'<p class="lead">{e(info["description"])}</p>'
        '<p>The same for programs: <a href="openapi.json">openapi.json</a>. '
        'What is defined: <a href="catalogue/">the catalogue</a>.</p>'
        f"{''.join(parts)}</main></body></html>"
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> list[str]:
    scope = operation["x-scope"]
    who = "Everybody may ask." if scope is None else f"Needs a token with the scope {scope}."
    found = [f"<p>{e(operation['summary'])} {e(operation.get('description', ''))} {e(who)}</p>"]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    for name, example in content.get("examples", {}).items():
        url = path.replace("{view}", "spending")
        text = json.dumps(example["value"], indent=1, ensure_ascii=False)
        command = f"curl localhost:8000{url} -H 'content-type: application/json' -d '{text}'"
        found.append(f"<h3>{e(example.get('summary', name))}</h3>{code(command)}")
    if method == "get":
        found.append(code(f"curl localhost:8000{path}"))
    for status, answer in operation["responses"].items():
        for kind, body in answer.get("content", {}).items():
            if "example" in body:
                shown = body["example"] if isinstance(body["example"], str) else json.dumps(body["example"], indent=1)
                found.append(f"<p>{e(status)}, {e(kind)}:</p>{code(shown)}")
    return found


class Catalogue:
    """The catalogue's files, built when somebody looks at them and the registry, or a minute, has changed."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._built: tuple[int, float] = (-1, 0.0)
        self._lock = asyncio.Lock()

    async def __call__(self, call: Call) -> Response:
        """Answer one of its files."""
        path = call.request.path_params["path"] or "index.html"
        async with self._lock:
            await asyncio.to_thread(self._refresh, call)
        found = self._files.get(path)
        if found is None:
            raise RefusedError(404, f"The catalogue has no page {path[:80]!r}. Begin at /catalogue/.")
        return _page(found, mimetypes.guess_type(path)[0] or "application/octet-stream")

    def _refresh(self, call: Call) -> None:
        generation, built = call.state.store.registry.generation(), self._built
        if built[0] == generation and time.monotonic() - built[1] < _FRESH:
            return
        with TemporaryDirectory() as folder:
            call.state.store.build_docs(Path(folder) / "site")
            site = Path(folder) / "site"
            self._files = {
                file.relative_to(site).as_posix(): file.read_bytes() for file in site.rglob("*") if file.is_file()
            }
        self._built = generation, time.monotonic()


async def to_catalogue(call: Call) -> Response:  # noqa: ARG001  # every endpoint takes the call
    """Lead to the catalogue's first page, whose links begin there."""
    return RedirectResponse("/catalogue/")
