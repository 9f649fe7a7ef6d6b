"""What `/metrics` says of a store whose parts don't answer."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from fs_core import FeatureStore
from fs_core.definitions import FeatureView
from fs_core.server.app import application
from fs_core.server.endpoints import gauges
from fs_core.server.settings import Settings
from fs_core.server.state import State
from tests.core.transforms import shop

NEWEST = 'fs_view_newest_event_timestamp_seconds{view="spending"}'


def test_a_history_that_hangs_holds_up_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More scrapes than there are threads get what was counted, and reads are answered; later scrapes have it all."""
    with FeatureStore(tmp_path / "store") as store:
        store.apply(shop.USER, shop.SPENDING)
    state, answers = State(Settings(str(tmp_path / "store"))), threading.Event()

    def newest_event(_: object, view: FeatureView) -> int:  # it stands for history
        answers.wait()
        return 1_000_000

    async def scrape_and_read() -> None:
        transport = httpx.ASGITransport(application(state))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            try:
                async with asyncio.timeout(20):
                    scraped = await asyncio.gather(*(client.get("/metrics") for _ in range(50)))
                    assert {found.status_code for found in scraped} == {200}
                    assert not any(NEWEST in found.text for found in scraped)
                    body = {"features": ["spending.mean"], "entities": {"user_id": [1]}}
                    assert (await client.post("/v1/features", json=body)).status_code == 200
            finally:
                answers.set()
            assert f"{NEWEST} 1.0" in state.gauges.text().decode()
            assert f"{NEWEST} 1.0" in (await client.get("/metrics")).text
        await state.close()

    monkeypatch.setattr(type(state.store.offline), "newest_event", newest_event)
    monkeypatch.setattr(gauges, "_SOON", 0.1)
    asyncio.run(scrape_and_read())


def test_the_last_views_wait_for_another_scrape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the others took too long, a view isn't asked; the log names it."""
    with FeatureStore(tmp_path / "store") as store:
        store.apply(shop.USER, shop.SPENDING)
        monkeypatch.setattr(gauges, "_WHOLE", -1.0)
        assert 'view="spending"' not in gauges.Gauges(store).text().decode()
    assert "metrics of view spending:v1.0.0 and those after it aren't known" in caplog.text


def test_what_is_damaged_hides_nothing_else(tmp_path: Path) -> None:
    """Of a view whose quarantine and history can't be read, the online rows' moment is still said."""
    with FeatureStore(tmp_path / "store") as store:
        store.apply(shop.USER, shop.SPENDING)
        store.write("spending", shop.ROWS | {"event_timestamp": [datetime(2024, 1, 1, tzinfo=UTC)] * 4})
        store.materialize()
    (history,) = (tmp_path / "store").rglob("spending-*/_delta_log")
    name = history.parent.name
    broken = tmp_path / "store" / "quarantine" / name / "_delta_log" / f"{0:020}.json"
    broken.parent.mkdir(parents=True)
    for log in (broken, *history.glob("*.json")):
        log.write_text("{")
    with FeatureStore(tmp_path / "store") as store:
        text = gauges.Gauges(store).text().decode()
    assert 'fs_view_online_until_timestamp_seconds{view="spending"}' in text
    assert "fs_rows_quarantined{" not in text
    assert NEWEST not in text
