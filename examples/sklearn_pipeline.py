"""One scikit-learn pipeline learns from history and predicts by keys alone: `python -m examples.sklearn_pipeline`."""

import tempfile
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_sklearn import FeatureStoreTransformer, PointInTimeSplit

PUMPS, DAYS, WEEK = 50, 120, timedelta(days=7)

# 1. Define: what is known about whom, and for how long a measurement counts.
pump = Entity("pump", keys={"pump_id": "string"}, description="A water pump.")
fields = [Field("vibration", "float32", "Vibration, mm/s."), Field("heat", "float32", "Bearing temperature, °C.")]
condition = FeatureView("condition", entity=pump, fields=fields, ttl="2d", description="A pump's last measurement.")


def simulate() -> pd.DataFrame:
    """Return a daily measurement of each pump until an hour ago; worn pumps shake and heat up until they fail."""
    rng = np.random.default_rng(7)
    life = rng.normal(60, 6, (PUMPS, 1))  # days
    age = (rng.uniform(0, 60, (PUMPS, 1)) + np.arange(DAYS)) % life
    first = datetime.now(UTC) - timedelta(days=DAYS - 1, hours=1)
    columns = {
        "pump_id": np.repeat([f"pump-{n:02}" for n in range(PUMPS)], DAYS),
        "event_timestamp": [first + timedelta(days=day) for day in range(DAYS)] * PUMPS,
        "vibration": (1 + age / 20 + rng.normal(0, 0.3, age.shape)).ravel(),
        "heat": (40 + age / 4 + rng.normal(0, 4, age.shape)).ravel(),
        "failed_within_a_week": (life - age <= 7).ravel(),
    }
    return pd.DataFrame(columns)


def main() -> None:
    history = simulate()
    with tempfile.TemporaryDirectory() as directory, FeatureStore(directory) as store:
        store.apply(pump, condition)
        store.write("condition", history.drop(columns="failed_within_a_week"))  # 2. Write what was measured.
        # 3. Learn from keys and times: each row is seen as it was known then. Labels are known a week later.
        known = history[history["event_timestamp"] < datetime.now(UTC) - WEEK]
        asked, failed = known[["pump_id", "event_timestamp"]], known["failed_within_a_week"]
        model = make_pipeline(FeatureStoreTransformer(store, "condition"), StandardScaler(), LogisticRegression())
        scores = cross_val_score(model, asked, failed, cv=PointInTimeSplit(4, embargo=WEEK), scoring="roc_auc")
        print(f"{len(asked):,} past questions. ROC AUC in four folds, each learned from its past:", *scores.round(2))
        model.fit(asked, failed)
        store.materialize()  # 4. Predict by keys alone: the same pipeline sees the rows served online, now.
        now = pd.DataFrame({"pump_id": history["pump_id"].unique()})
        now["risk"] = model.predict_proba(now)[:, 1]
        print("Most likely to fail within a week from now:")
        print(now.nlargest(3, "risk").to_string(index=False, float_format="{:.0%}".format))


if __name__ == "__main__":
    main()
