"""`fs verify`, `fs drop-online` and `fs forget`, as a person and as a script use them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fs_core import FeatureStore
from fs_core.cli.group import cli
from tests.servers import running_server

DEFINITIONS = """
from fs_core import Entity, FeatureView, Field

user = Entity("user", keys={"user_id": "string"}, description="A customer.")
spending = FeatureView(
    "spending", entity=user, description="What a user bought lately.", fields=[Field("amount", "float64", "EUR.")],
)
"""

Fs = Callable[..., Result]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fs:
    """A function that runs `fs` beside a store with three users online."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FS_STORE", raising=False)
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    (tmp_path / "rows.csv").write_text(
        "user_id,event_timestamp,amount\na,2024-01-01,1.5\nb,2024-01-02,2.5\nc,2024-01-03,3\n"
    )

    def fs(*words: object) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in words])

    for words in (("init",), ("apply", "definitions.py"), ("write", "spending", "rows.csv"), ("materialize",)):
        assert fs(*words).exit_code == 0
    return fs


@pytest.fixture
def locked() -> Iterator[str]:
    """A server that wants a password."""
    with running_server("Valkey 9.1", "--requirepass", "hunter2") as url:
        yield url.replace("//", "//:hunter2@")


def spoil() -> None:
    """Take one user's online row away."""
    with FeatureStore(".") as store:
        name = store.view("spending").storage_name
        (part,) = store.online.scan(name)
        store.online.delete(name, part.keys[:1])


def test_verify_tells_a_script_by_its_exit_code(shop: Fs) -> None:
    """0 where nothing differs, 1 where something does, mended or not; the rows say whose."""
    result = shop("verify", "spending")
    assert (result.exit_code, result.stdout) == (0, "spending:v1.0.0: 3 entities, 3 rows online, none differs\n")
    spoil()
    result = shop("verify", "spending")
    assert result.exit_code == 1
    assert "1 differ (1 missing)" in result.stdout
    mended = shop("verify", "spending", "--repair", "--json")
    assert mended.exit_code == 1
    found = json.loads(mended.stdout)
    assert (found["differences"], found["repaired"]) == ({"missing": 1}, 1)
    assert [row["user_id"] for row in found["evidence"]] == ["a"]
    assert {"event_time", "seq", "online_event_time", "online_seq"} < set(found["evidence"][0])
    assert shop("verify", "spending").exit_code == 0


def test_drop_online(shop: Fs) -> None:
    """The rows go, and are counted; materialize brings them back."""
    assert shop("drop-online", "spending", "--yes").stdout == "3 online rows of spending dropped\n"
    assert json.loads(shop("drop-online", "spending", "--yes", "--json").stdout) == {"view": "spending", "rows": 0}
    assert shop("materialize").exit_code == 0
    assert shop("verify", "spending").exit_code == 0


def test_drop_online_asks_where_rows_are_served(shop: Fs) -> None:
    """Without a yes nothing is dropped of what a name means now; with nobody to ask, the error names the way out."""
    declined = CliRunner().invoke(cli, ["drop-online", "spending"], input="n\n")
    assert declined.exit_code == 1
    assert "Drop the online rows of spending? They are served as spending." in declined.stderr
    asked = shop("drop-online", "spending:v1.0.0")
    assert asked.exit_code == 2
    assert "Nothing was dropped: there is nobody to ask. Pass --yes" in asked.stderr
    assert shop("verify", "spending").exit_code == 0
    assert CliRunner().invoke(cli, ["drop-online", "spending"], input="y\n").exit_code == 0
    assert shop("verify", "spending").exit_code == 1


def test_forget_asks_first(shop: Fs) -> None:
    """Without a yes nothing is erased; with one the report says what was; wrong keys are a wrong command line."""
    declined = CliRunner().invoke(cli, ["forget", "user", "-e", "user_id=a"], input="n\n")
    assert declined.exit_code == 1
    assert "1 of entity user for good: user_id=a?" in declined.stderr
    assert len(json.loads(shop("history", "spending", "--json").stdout)) == 3
    done = shop("forget", "user", "-e", "user_id=a", "--yes", "--json")
    assert json.loads(done.stdout) == [{"view": "spending:v1.0.0", "rows": 1, "files": 1, "online": 1}]
    assert len(json.loads(shop("history", "spending", "--json").stdout)) == 2
    assert shop("forget", "user", "-e", "usr=a", "--yes").exit_code == 2
    assert shop("forget", "user", "--yes").exit_code == 2
    assert "no entity 'usr'" in shop("forget", "usr", "-e", "user_id=a", "--yes").stderr


def test_forget_tells_of_saved_training_sets(shop: Fs, caplog: pytest.LogCaptureFixture) -> None:
    """A saved set with the person is named once, for people and for programs, and deleted if asked."""
    with FeatureStore(".") as store:
        spine = {"user_id": ["a"], "event_timestamp": [datetime(2030, 1, 1, tzinfo=UTC)]}
        store.save_training_set(store.get_historical_features(spine, "spending"), "kept")
    answer = shop("forget", "user", "-e", "user_id=a", "--yes")
    assert "training set kept: 1 such row, kept; --saved delete" in answer.stdout
    assert caplog.messages == []  # which a person would read as well
    done = shop("forget", "user", "-e", "user_id=a", "--yes", "--saved", "delete", "--json")
    assert json.loads(done.stdout)[-1] == {"training_set": "kept", "rows": 1, "deleted": True}


def test_forget_names_whom_and_where(shop: Fs, caplog: pytest.LogCaptureFixture) -> None:
    """The question names some of the keys; with nobody to ask, the way out; the answer names the online store."""
    many = [word for user in ("a", "b", "c", "d", "e") for word in ("-e", f"user_id={user}")]
    asked = shop("forget", "user", *many)
    assert "5 of entity user for good: user_id=a; user_id=b; user_id=c; and 2 more?" in asked.stderr
    assert asked.exit_code == 2
    assert "Pass --yes" in asked.stderr
    done = shop("forget", "user", "-e", "user_id=a", "--yes")
    assert "online rows erased from SQLiteOnlineStore(" in done.stdout
    assert caplog.messages == []


def test_forget_in_the_wrong_online_store(shop: Fs, monkeypatch: pytest.MonkeyPatch, locked: str) -> None:
    """A view that was never materialized here is named, since another online store may still serve it."""
    monkeypatch.setenv("FS_ONLINE", locked)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "fs_core.cli", "forget", "user", "-e", "user_id=a", "--yes"],
            capture_output=True,
            text=True,
            check=True,
        )
        result = done.stdout + done.stderr
        assert "spending:v1.0.0 has never been materialized in RedisOnlineStore(" in done.stderr
        assert "online rows erased from RedisOnlineStore(" in done.stdout
        assert "hunter2" not in result


def test_history_is_verified(shop: Fs) -> None:
    """`fs verify --history` says that history is sound, of one view or all; doubled rows are shown and removed."""
    sound = shop("verify", "--history")
    assert (sound.exit_code, "3 rows in 1 file, nothing wrong" in sound.output) == (0, True)
    with FeatureStore(".") as store:
        view = store.view("spending")
        store.offline.append(view, store.history("spending"))
    found = shop("verify", "spending", "--history", "--json")
    assert found.exit_code == 1
    answer = json.loads(found.output)
    assert (answer["problems"], len(answer["findings"])) == ({"doubled": 3}, 3)
    mended = shop("verify", "spending", "--history", "--repair")
    assert (mended.exit_code, "3 repaired" in mended.output) == (1, True)
    assert shop("verify", "spending", "--history").exit_code == 0
    assert shop("verify").exit_code == 2


def test_replay_fails_a_script_where_rows_were_lost(shop: Fs) -> None:
    """Exit code 0 where each logged row is as the rule says; 1, and whose row it was, where one was evicted."""
    with FeatureStore(".") as store:
        store.get_online_features("spending", {"user_id": ["a", "b", "c"]}, log="model")
    clean = shop("replay", "model")
    assert (clean.exit_code, "3 equal" in clean.output) == (0, True)
    spoil()
    with FeatureStore(".") as store:
        store.get_online_features("spending", {"user_id": ["a", "b", "c"]}, log="model")
    found = shop("replay", "model", "--since", "1d", "--json")
    assert found.exit_code == 1
    report = json.loads(found.output)
    assert (report["counts"]["equal"], report["counts"]["lost"], report["clean"]) == (5, 1, False)
    assert report["findings"][0]["difference"] == "lost"
    assert "no request log 'other'" in shop("replay", "other").stderr


def test_forget_says_what_it_erased_from_logs(shop: Fs) -> None:
    """By log, where there was something."""
    with FeatureStore(".") as store:
        store.get_online_features("spending", {"user_id": ["a", "b"]}, log="model")
    assert "1 rows erased from request log model" in shop("forget", "user", "-e", "user_id=a", "--yes").output
