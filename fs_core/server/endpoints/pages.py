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

from fs_core.catalogue.html import code, e, section, table
from fs_core.server.answer import json_response
from fs_core.server.openapi import document
from fs_core.server.problems import RefusedError
from fs_core.server.request import Call

_FRESH = 60.0  # seconds that a catalogue is shown before it is built anew
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


async def openapi(call: Call) -> Response:  # noqa: ARG001  # every endpoint takes the call
    """Answer the OpenAPI document."""
    return json_response(document())


async def docs(call: Call) -> Response:
    """Answer the OpenAPI document as a page."""
    token = " -H 'authorization: Bearer TOKEN'" if call.state.tokens else ""
    curl = f"curl {call.request.url.netloc}{{path}}{token}"
    return _page(_docs(document(), curl), "text/html; charset=utf-8")


def _page(content: str | bytes, kind: str) -> Response:
    return Response(content, media_type=kind, headers={"content-security-policy": _POLICY})


def _docs(api: Mapping[str, Any], curl: str) -> str:
    parts = [
        section(f"{method.upper()} {path}", *_operation(method, curl.format(path=_of_example(path)), operation))
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


def _of_example(path: str) -> str:
    return path.replace("{view}", "spending").replace("{path}", "index.html")


def _operation(method: str, curl: str, operation: Mapping[str, Any]) -> list[str]:
    """Return the parts of a section: what is asked, with which members, for example how, and what is answered."""
    scope = operation["x-scope"]
    who = "Everybody may ask." if scope is None else f"Where there are tokens, it needs one for {scope}."
    found = [f"<p>{e(operation['summary'])} {e(who)}</p>"]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = content.get("schema", {})
    needed = schema.get("required", ())
    rows = [
        (name, "yes" if name in needed else "", member.get("description", ""))
        for name, member in schema.get("properties", {}).items()
    ]
    found.append(table(("Member", "Needed", "Meaning"), rows, "What is sent"))
    for example in content.get("examples", {}).values():
        command = f"{curl} -H 'content-type: application/json' -d '{_by_member(example['value'])}'"
        found.append(f"<h3>{e(example['summary'])}</h3>{code(command)}")
    if method == "get":
        found.append(code(curl))
    for status, answer in operation["responses"].items():
        found += [
            f"<p>{e(status)}, {e(kind)}:</p>{code(_by_member(body['example']))}"
            for kind, body in answer.get("content", {}).items()
            if "example" in body
        ]
    return found


def _by_member(value: Any) -> str:
    """Return JSON with a line for each member of the object."""
    if not isinstance(value, dict):
        return json.dumps(value)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in value.items())
    return f"{{\n{lines}\n}}"


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
