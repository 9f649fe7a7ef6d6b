"""Taking a mistake back: versions that are replaced while nothing rests on them, or deleted; plans."""

from __future__ import annotations

import dataclasses
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from fs_core import SQL, Entity, FeatureService, FeatureStore, FeatureView, Field, Source
from fs_core.errors import DefinitionError, UnknownReferenceError, VersionConflictError
from fs_core.registry import ApplyResult

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
SPENDING = FeatureView("spending", USER, [Field("amount", "float64", "EUR.")], ttl="30d", description="Orders.")
MODEL = FeatureService("model", ["spending.amount"])
FIXED = dataclasses.replace(SPENDING, ttl="31d")
ROW = {"user_id": [1], "event_timestamp": [datetime.now(UTC) - timedelta(days=1)], "amount": [1.5]}


def actions(result: ApplyResult) -> dict[str, str]:
    """Return what was done with each definition, by name."""
    return {change.name: change.action for change in result}


class TestReplacing:
    def test_a_typo_costs_no_version(self, store: FeatureStore) -> None:
        """What nothing was made with yet gets the corrected content under the same version; services go on."""
        store.apply(USER, SPENDING, MODEL)
        result = store.apply(FIXED)
        assert actions(result) == {"user": "unchanged", "spending": "replaced"}
        assert result[-1].differs == ("ttl: '30d' -> '31d'",)
        assert str(result).endswith("replaced    view     spending:v1.0.0\n    ttl: '30d' -> '31d'")
        assert store.view("spending") == FIXED
        assert actions(store.apply(FIXED)) == {"user": "unchanged", "spending": "unchanged"}
        store.push("spending", ROW)
        assert store.get_online_features("model", {"user_id": [1]}).to_dicts()[0]["amount"] == 1.5

    def test_a_version_with_rows_never_changes(self, store: FeatureStore) -> None:
        """One row is enough; the error is the one it always was."""
        store.apply(SPENDING)
        store.write("spending", ROW)
        with pytest.raises(VersionConflictError, match=r"ttl: '30d' -> '31d'\n.*give it version '2\.0\.0'"):
            store.apply(FIXED)
        assert store.view("spending") == SPENDING

    def test_a_version_that_something_rests_on_never_changes(self, store: FeatureStore) -> None:
        """An alias, a recorded training set, or a model keeps it as it is, also without rows."""
        store.apply(USER, SPENDING, MODEL)
        store.alias("spending", "production")
        with pytest.raises(VersionConflictError):
            store.apply(FIXED)
        store.alias("spending", "production", remove=True)
        store.lineage.record_model("churn", version=1, features=["spending.amount:v1.0.0"])
        with pytest.raises(VersionConflictError):
            store.apply(FIXED)
        with pytest.raises(VersionConflictError):
            store.apply(dataclasses.replace(SPENDING, owner="growth"))

    def test_a_feature_that_a_service_takes_stays(self, store: FeatureStore) -> None:
        """A replaced view must still have what services take of it, or nothing changes."""
        store.apply(USER, SPENDING, MODEL)
        other = dataclasses.replace(SPENDING, fields=[Field("total", "float64", "EUR.")])
        with pytest.raises(UnknownReferenceError, match=r"service 'model': view 'spending:v1\.0\.0' has no feature"):
            store.apply(other)
        assert store.view("spending") == SPENDING
        renamed = FeatureService("model", ["spending.total"])
        assert actions(store.apply(other, renamed))["model"] == "replaced"

    def test_an_entity_changes_with_its_views(self, store: FeatureStore) -> None:
        """A wrong key is mended where every view of the entity is mended with it, and none has rows."""
        store.apply(SPENDING)
        text = Entity("user", keys={"user_id": "string"}, description="A customer.")
        with pytest.raises(VersionConflictError, match=r"entity 'user:v1\.0\.0'"):
            store.apply(text)
        result = store.apply(text, dataclasses.replace(SPENDING, entity=text))
        assert actions(result) == {"user": "replaced", "spending": "replaced"}
        assert store.view("spending").entities == (text,)

    def test_a_source_that_lies_elsewhere(self, store: FeatureStore, tmp_path: Path) -> None:
        """A wrong path is mended while no view that reads it has rows; lineage follows the new SQL."""
        (tmp_path / "orders.csv").write_text("user_id,event_timestamp,amount,net\n1,2024-01-01,2.5,2.0\n")
        query = "SELECT user_id, event_timestamp, amount FROM orders"
        view = dataclasses.replace(SPENDING, source=SQL(query))
        store.apply(Source("orders", path=str(tmp_path / "order.csv")), view)
        orders = Source("orders", path=str(tmp_path / "orders.csv"))
        assert actions(store.apply(orders))["orders"] == "replaced"
        store.apply(dataclasses.replace(view, source=SQL(query.replace("amount", "net AS amount"))))
        found = store.lineage.upstream("spending.amount").columns
        assert "orders.net" in found
        assert "orders.amount" not in found
        assert store.backfill("spending") == 1
        with pytest.raises(VersionConflictError):
            store.apply(Source("orders", path="elsewhere.csv"))


class TestPlan:
    def test_a_plan_changes_nothing(self, tmp_path: Path) -> None:
        """It says what `apply` would do, or refuses as it would; no store is made, nothing is registered."""
        with FeatureStore(tmp_path / "store") as store:
            assert actions(store.plan(USER, SPENDING)) == {"user": "registered", "spending": "registered"}
            assert not (tmp_path / "store").exists()
            store.apply(SPENDING)
            before = store.registry.generation()
            planned = store.plan([FIXED, MODEL])
            assert actions(planned) == {"user": "unchanged", "spending": "replaced", "model": "registered"}
            assert (store.registry.generation(), store.view("spending")) == (before, SPENDING)
            assert store.apply([FIXED, MODEL]) == planned
            store.write("spending", ROW)
            with pytest.raises(VersionConflictError):
                store.plan(SPENDING)


class TestDeleting:
    def test_what_nothing_uses_is_deleted(self, store: FeatureStore) -> None:
        """The version before is current again; the name is free for something else; lineage knows no more of it."""
        store.apply(SPENDING)
        store.write("spending", ROW)
        wrong = dataclasses.replace(SPENDING, version="2.0.0", ttl="1d")
        store.apply(wrong)
        assert store.view("spending") == wrong
        assert store.delete("spending:v2.0.0") == wrong
        assert store.view("spending") == SPENDING
        assert store.lineage.downstream("spending").views == []
        extra = FeatureService("extra", ["spending.*"])
        store.apply(extra)
        assert store.delete("extra") == extra
        with pytest.raises(UnknownReferenceError, match="extra"):
            store.delete("extra")
        store.apply(dataclasses.replace(SPENDING, name="extra"))

    def test_what_is_used_stays(self, store: FeatureStore) -> None:
        """Rows, services, models, aliases, views: the error names them, and the way out."""
        store.apply(USER, SPENDING, MODEL)
        store.lineage.record_model("churn", version=1, features=["spending.amount:v1.0.0"])
        store.alias("model", "production")
        store.write("spending", ROW)
        for ref, uses in {
            "spending": r"view 'spending:v1\.0\.0' is used: rows in its history, service model:v1\.0\.0, model "
            r"churn/1\. Nothing was deleted\. Retire it instead: store\.retire\('spending:v1\.0\.0'\)",
            "model": r"service 'model:v1\.0\.0' is used: alias model@production",
            "user": r"entity 'user:v1\.0\.0' is used: view spending:v1\.0\.0\. Nothing was deleted\.$",
        }.items():
            with pytest.raises(DefinitionError, match=uses):
                store.delete(ref)
        assert len(store.registry.listing()) == 3

    def test_a_saved_training_set_keeps_its_view(self, store: FeatureStore) -> None:
        """Also where no row was ever written, and the lineage knows nothing of it."""
        store.apply(SPENDING)
        spine = {"user_id": [1], "event_timestamp": [datetime(2024, 1, 1, tzinfo=UTC)]}
        store.save_training_set(store.get_historical_features(spine, "spending"), "empty")
        with pytest.raises(DefinitionError, match="saved training set empty"):
            store.delete("spending")
        store.drop_training_set("empty")
        with pytest.raises(DefinitionError, match="training set"):
            store.delete("spending")

    def test_a_version_that_shares_its_rows_may_go(self, store: FeatureStore) -> None:
        """Where only documentation differs, the rows are the other version's too."""
        store.apply(SPENDING)
        store.write("spending", ROW)
        store.apply(dataclasses.replace(SPENDING, version="1.0.1", owner="growth"))
        store.delete("spending:v1.0.1")
        assert store.history("spending").num_rows == 1

    def test_sources_and_entities(self, store: FeatureStore, tmp_path: Path) -> None:
        """They go once no view needs them."""
        (tmp_path / "orders.csv").write_text("user_id,event_timestamp,amount\n1,2024-01-01,2.5\n")
        orders = Source("orders", path=str(tmp_path / "orders.csv"))
        view = dataclasses.replace(SPENDING, source=orders)
        store.apply(orders, view)
        with pytest.raises(DefinitionError, match=r"source 'orders:v1\.0\.0' is used: view spending:v1\.0\.0"):
            store.delete("orders")
        store.delete("spending")
        store.delete("orders")
        store.delete("user")
        assert store.registry.listing() == []


class TestWhatApplyTakes:
    def test_a_module(self, store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
        """All that its global names hold is applied, alone or in lists."""
        module = ModuleType("my_features")
        vars(module).update(user=USER, views=[SPENDING], number=3)
        monkeypatch.setitem(sys.modules, "my_features", module)
        assert actions(store.apply(module)) == {"user": "registered", "spending": "registered"}
        with pytest.raises(DefinitionError, match="module nothing defines nothing"):
            store.apply(ModuleType("nothing"))

    def test_a_service_of_views(self, store: FeatureStore) -> None:
        """A view in a service's features stands for its version, as it does in a request."""
        service = FeatureService("model", features=[SPENDING, "spending.amount"])
        assert service.features == ("spending:v1.0.0", "spending.amount")
        store.apply(SPENDING, service)
        assert store.registry.service("model") == service
