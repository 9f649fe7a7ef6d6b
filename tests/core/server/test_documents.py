"""What the server says of itself: OpenAPI, the pages, metrics; and that no request at all makes it fail."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from fs_core import FeatureStore, OnDemandView, Request
from fs_core.definitions import Field
from fs_core.server import app
from fs_core.server.openapi import document
from fs_core.server.settings import Settings
from fs_core.server.state import State
from tests.core.server.served import Served

schema = schemathesis.openapi.from_dict(document())


@schema.parametrize()
@settings(max_examples=8, suppress_health_check=list(HealthCheck))
def test_no_request_makes_the_server_fail(case: Any, server: Served) -> None:
    """Requests that fit the document, and such that don't: never a failure of the server, always the declared type."""
    case.headers = {"content-type": "application/json"} if case.method == "POST" else {}
    answer = case.call(base_url=server.url)
    assert answer.status_code < 500, answer.text
    if answer.status_code == 200 and answer.headers["content-type"] == ["application/json"]:
        documented = case.operation.definition.raw["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema_rs.validate(documented, answer.json())
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == ["application/problem+json"]
        assert answer.json()["detail"]


def test_every_path_is_documented(tmp_path: Any) -> None:
    """The document has each path with its method, and no other; each says which scope it needs."""
    state = State(Settings(str(tmp_path)))
    paths = {
        (endpoint.route.replace(":path", ""), method.lower(), endpoint.scope)
        for endpoint in app.endpoints(state)
        for method in endpoint.methods
    }
    found = {
        (path, method, operation["x-scope"])
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }
    assert paths - found == {("/catalogue", "get", None)}  # it leads to the other
    assert found <= paths


def test_the_docs_page_needs_nothing_else(server: Served) -> None:
    """One page with every path and example, that fetches nothing from elsewhere."""
    answer = server.get("/docs")
    for path in document()["paths"]:
        assert path in answer.text
    assert f"curl {server.url.removeprefix('http://')}/v1/features" in answer.text
    assert not re.search(r"""(src|href)=["'](https?:)?//""", answer.text)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert server.get("/openapi.json").json() == json.loads(json.dumps(document()))


def test_the_catalogue_is_fresh(server: Served) -> None:
    """A definition that was applied a moment ago has a page; there is no way out of the folder."""
    assert server.get("/catalogue/views/things-v1.0.0.html").status_code == 200
    view = OnDemandView(
        "fresh",
        [Request("x", "float64", "A number.")],
        [Field("y", "float64", "It.")],
        expressions={"y": "x"},
        description="d",
    )
    with FeatureStore(server.directory) as store:
        store.apply(view)
    assert server.get("/catalogue/views/fresh-v1.0.0.html").headers["content-type"].startswith("text/html")
    assert server.get("/catalogue/style.css").headers["content-type"].startswith("text/css")
    assert server.get("/catalogue").headers["location"] == "/catalogue/"
    for path in ("../feature_store.toml", "%2e%2e/registry.db", "/etc/passwd"):
        assert httpx.get(f"{server.url}/catalogue/{path}").status_code == 404


def test_metrics_count_requests_and_rows(server: Served) -> None:
    """Requests by route and status, rows by view and status, rows pushed."""
    server.post("/v1/features", {"features": ["spending"], "entities": {"user_id": [1, 404]}})
    text = server.get("/metrics").text
    assert re.search(r'fs_requests_total{method="POST",route="/v1/features",status="200"} [1-9]', text)
    assert re.search(r'fs_rows_served_total{status="missing",view="spending"} [1-9]', text)
    assert 'fs_request_seconds_bucket{le="0.001",route="/v1/features"}' in text


@pytest.mark.parametrize("path", [path for path, methods in document()["paths"].items() if "post" in methods])
def test_examples_fit_their_schemas(path: str) -> None:
    """Every example of the document is valid by the document."""
    operation = document()["paths"][path]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        jsonschema_rs.validate(content["schema"], example["value"])
    answer = operation["responses"]["200"]["content"]["application/json"]
    jsonschema_rs.validate(answer["schema"], answer["example"])
