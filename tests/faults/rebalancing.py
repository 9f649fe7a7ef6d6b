"""Kafka partitions that change hands while events come: a consumer joins, one is killed; each event is there once.

python -m tests.faults.rebalancing --kills 5
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import Producer

from fs_core import Entity, FeatureStore, FeatureView, Field, StreamSource

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
VIEW = FeatureView("paid", entity=USER, fields=[Field("n", "int64", "Which.")], description="Payments.")
START = datetime(2025, 1, 1, tzinfo=UTC)
CONSUME = """
import sys
from fs_core import FeatureStore
FeatureStore(sys.argv[1]).ingest("paid", "payments", batch="100ms")
"""


def send(producer: Any, numbers: Sequence[int]) -> None:
    """Add events, spread over the partitions."""
    for n in numbers:
        event = {"user_id": n % 9, "event_timestamp": (START + timedelta(seconds=n)).isoformat(), "n": n}
        producer.produce("payments", json.dumps(event).encode(), key=str(n % 9))
    assert producer.flush(20) == 0


def main(words: Sequence[str] | None = None) -> None:
    """Play once, and check.

    Raises:
        AssertionError: an event is lost or doubled, or online isn't what the rule says.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    asked = parser.parse_args(words)
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused:1", "log_level": 0})
    address = ",".join(f"{broker.host}:{broker.port}" for broker in producer.list_topics(timeout=20).brokers.values())
    sent = 0
    with tempfile.TemporaryDirectory() as directory, FeatureStore(directory) as store:
        store.apply(VIEW, StreamSource("payments", url=f"kafka://{address}/payments", description="Payments."))
        send(producer, range(50))
        sent = 50
        mine = threading.Thread(target=store.ingest, args=("paid", "payments"), kwargs={"until_idle": "20s"})
        mine.start()
        for _ in range(asked.kills):
            with subprocess.Popen([sys.executable, "-c", CONSUME, directory]) as process:
                ends = time.monotonic() + 8
                while time.monotonic() < ends:
                    send(producer, range(sent, sent + 10))
                    sent += 10
                    time.sleep(0.1)
                process.kill()
        mine.join()
        assert sorted(store.history("paid")["n"].to_pylist()) == list(range(sent)), "lost or doubled"
        assert store.verify_online("paid").total == 0
        print(f"{asked.kills} killed; {sent} events, each once")


if __name__ == "__main__":
    main()
