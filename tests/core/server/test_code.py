"""Code that isn't what was registered: nothing is served."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fs_core import FeatureService, FeatureStore, OnDemandView
from fs_core.cli.group import cli
from fs_core.code import Code
from fs_core.errors import TransformCodeError
from fs_core.server.settings import Settings
from fs_core.server.state import State, refuse_other_code
from fs_core.server.tokens import Tokens
from fs_core.transforms import bind
from tests.core.transforms import receipts, shop

READER = Tokens({b"a": frozenset({"read"})})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with the shop."""
    with FeatureStore(tmp_path / "store") as made:
        made.apply(shop.USER, shop.SPENDING, shop.spend_ratio, shop.gap)
        yield made


def changed(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Let the code of a function be another, as in a process that has other files."""
    honest = bind.code_of

    def code_of(function: object, *more: object) -> Code:
        found = honest(function, *more)  # type: ignore[arg-type]
        return dataclasses.replace(
            found, functions={n: "f" * 64 if n == path else d for n, d in found.functions.items()}
        )

    monkeypatch.setattr(bind, "_known", {})
    monkeypatch.setattr(bind, "code_of", code_of)


def test_fs_serve_refuses_to_start(store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It exits with 1, and names view, function and both digests; what is here and as registered isn't named."""
    changed(monkeypatch, "tests.core.transforms.shop:spend_ratio")
    done = CliRunner().invoke(cli, ["--store", str(tmp_path / "store"), "serve", "--port", "0"])
    assert done.exit_code == 1
    path = "tests.core.transforms.shop:spend_ratio"
    digest = shop.spend_ratio.identity.functions[path]  # type: ignore[union-attr]
    assert "this can't be served with the code that is here" in done.output
    assert "on-demand view 'spend_ratio:v1.0.0': its code isn't what is registered" in done.output
    assert f"function {path}: registered {digest[:12]}, here ffffffffffff" in done.output
    assert "gap" not in done.output


def test_a_worker_serves_the_rest(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that serves compares again, and logs; that it doesn't start would end the others."""
    changed(monkeypatch, "tests.core.transforms.shop:gap")

    async def start_and_read() -> None:
        state = State(Settings(str(store.directory)))
        await state.open()
        found = await state.store.get_online_features_async(["spending.mean"], {"user_id": [1]})
        assert found.status == {"spending": ["missing"]}
        with pytest.raises(TransformCodeError, match=r"'gap:v1\.0\.0'"):
            await state.store.get_online_features_async(["gap.gap"], {"buyer_id": [1], "seller_id": [1]})
        await state.close()

    asyncio.run(start_and_read())
    (said,) = [record for record in caplog.records if "'gap:v1.0.0'" in record.getMessage()]
    assert said.levelname == "ERROR"


def test_what_pushes_compute_counts_where_somebody_may_push(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that only reads needs no code for writing."""
    store.apply(receipts.SALES)
    changed(monkeypatch, "tests.core.transforms.receipts:paid")
    refuse_other_code(store, READER)
    for tokens in (Tokens(), Tokens({b"a": frozenset({"read", "write"})})):
        with pytest.raises(TransformCodeError, match=r"'paid:v1\.0\.0'.*\n.*registered"):
            refuse_other_code(store, tokens)


def test_what_a_service_pins_counts_and_what_is_retired_doesnt(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier version that a current service reads is served, so it is compared; a retired view is not."""
    newer = dataclasses.replace(shop.gap, version="2.0.0", fields=shop.gap.fields, function=other_gap)
    store.apply(newer)
    changed(monkeypatch, "tests.core.transforms.shop:gap")
    refuse_other_code(store, READER)
    store.apply(FeatureService("pinned", features=["gap.gap:v1.0.0"]))
    with pytest.raises(TransformCodeError, match=r"'gap:v1\.0\.0'"):
        refuse_other_code(store, READER)
    store.retire("pinned")
    refuse_other_code(store, READER)


def other_gap(seller_mean: float, buyer_mean: float) -> float:
    """Compare the other way round."""
    return buyer_mean - seller_mean


def test_a_service_that_means_nothing_any_more_stops_nobody(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Reads of it say what is wrong; the others are served."""
    asked = OnDemandView(
        "odd", ["spending.mean"], [shop.SPENDING.fields[0]], expressions={"mean": "mean"}, description="d"
    )
    store.apply(asked)
    fields = [dataclasses.replace(shop.SPENDING.fields[0], dtype="float32"), shop.SPENDING.fields[1]]
    store.apply(dataclasses.replace(shop.SPENDING, version="2.0.0", fields=fields))
    refuse_other_code(store, READER)
    assert "odd:v1.0.0 can't be read" in caplog.text
