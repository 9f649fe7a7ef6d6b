"""The command line as a person and as a script use it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pytest
from click import Context

import fs_core.cli.commands
from fs_core import FeatureStore
from fs_core.cli.group import FILES, cli
from tests.core.cli.conftest import DEFINITIONS, Fs, answer, refusal

COMMANDS = cli.list_commands(Context(cli))


class TestTheTour:
    def test_a_newcomer_goes_from_a_csv_to_a_served_row(self, fs: Fs) -> None:
        """init, apply, write, materialize, get: text keys keep their zeros, and each step says what it did."""
        assert "feature store in" in fs("init").stdout
        assert "registered" in fs("apply", "definitions.py").stdout
        assert fs("write", "spending", "rows.csv").stdout == "3 rows into the history of spending\n"
        assert answer(fs("materialize", "--json")) == [
            {"view": "spending:v1.0.0", "sent": 2, "newer": 2, "seconds": pytest.approx(0, abs=60)}
        ]
        fallback = ("--fallback", "offline")  # history knows whether there was a row once that was collected since
        found = answer(
            fs("get", "model", "-e", "user_id=007", "-e", "user_id=x", "--at", "2024-01-10", *fallback, "--json")
        )
        assert found == {
            "at": "2024-01-10T00:00:00+00:00",
            "rows": [
                {
                    "keys": {"user_id": "007"},
                    "features": {"amount": 2.5, "note": "yes"},
                    "status": {"spending": "present"},
                },
                {
                    "keys": {"user_id": "x"},
                    "features": {"amount": None, "note": None},
                    "status": {"spending": "missing"},
                },
            ],
        }
        assert "expired" in fs("get", "spending", "-e", "user_id=007").stdout

    def test_apply_makes_the_store_where_there_is_none(self, fs: Fs, tmp_path: Path) -> None:
        """The first `apply` in a directory needs no `init`, and says that it made a store."""
        (tmp_path / "new").mkdir()
        made = fs("apply", "definitions.py", "--store", tmp_path / "new")
        assert made.exit_code == 0
        assert f"a new feature store in {tmp_path / 'new'}" in made.stdout
        assert "new feature store" not in fs("--store", tmp_path / "new", "apply", "definitions.py").stdout
        assert len(answer(fs("--store", tmp_path / "new", "list", "--json"))) == 6

    @pytest.mark.parametrize("words", [("--store", "{}", "init"), ("init", "--store", "{}"), ("init", "{}")])
    def test_init_makes_the_store_that_is_named(self, fs: Fs, tmp_path: Path, words: tuple[str, ...]) -> None:
        """However it is; not beside it, in the working directory, and not where it is named twice."""
        made = tmp_path / "made"
        assert fs(*(word.format(made) for word in words)).exit_code == 0
        assert made.is_dir()
        assert not (tmp_path / "feature_store.toml").exists()
        for twice in (("init", "--store", made, tmp_path / "other"), ("--store", made, "init", tmp_path / "other")):
            refused = fs(*twice)
            assert refused.exit_code == 2
            assert "named twice" in refused.stderr

    def test_write_takes_patterns_directories_and_formats(self, shop: Fs, tmp_path: Path) -> None:
        """A file whose ending says nothing, files in directories, a pattern in quotes; no file is a wrong command."""
        rows = (tmp_path / "rows.csv").read_text()
        (tmp_path / "days" / "01").mkdir(parents=True)
        (tmp_path / "days" / "01" / "rows.csv").write_text(rows)
        (tmp_path / "rows.txt").write_text(rows)
        assert "Pass format=" in refusal(shop("write", "spending", "rows.txt"))
        for words in (("rows.txt", "--format", "csv"), ("days", "--format", "csv"), ("days/**/*.csv",)):
            assert shop("write", "spending", *words).stdout == "3 rows into the history of spending\n"
        assert "does not exist" in refusal(shop("write", "spending", "absent.csv"), 2)
        assert "no file" in refusal(shop("write", "spending", "absent/*.csv"))

    def test_carry_over_copies_history(self, shop: Fs, tmp_path: Path) -> None:
        """A new version gets the rows of the one before."""
        shop("write", "spending", "rows.csv")
        (tmp_path / "next.py").write_text(DEFINITIONS.replace('ttl="30d"', 'ttl="31d", version="2.0.0"'))
        assert shop("apply", "next.py").exit_code == 0
        done = shop("carry-over", "spending:v2.0.0", "--from", "spending:v1.0.0")
        assert done.stdout == "3 rows into the history of spending:v2.0.0\n"

    def test_backfill_runs_the_source_between_two_moments(self, shop: Fs) -> None:
        """The start counts, the end doesn't."""
        words = ("backfill", "visits", "--start", "2024-02-01", "--end", "2024-03-01", "--json")
        assert answer(shop(*words)) == {"view": "visits", "rows": 1}
        assert [row["shop_id"] for row in answer(shop("history", "visits", "--json"))] == [2]

    def test_a_view_that_is_not_online_is_read_from_history_on_request(self, shop: Fs) -> None:
        """Composite keys are written key=value,key=value or as JSON."""
        shop("backfill", "visits")
        entities = ("-e", "user_id=a,shop_id=2", "-e", '{"user_id": "b", "shop_id": 1}')
        assert "fallback='offline'" in refusal(shop("get", "visits", *entities))
        found = answer(shop("get", "visits.count", *entities, "--fallback", "offline", "--json"))
        assert [row["features"] for row in found["rows"]] == [{"count": 2}, {"count": 3}]

    def test_history_shows_the_last_rows_of_an_entity(self, shop: Fs) -> None:
        """Rows come in the order written, with both clocks; a limit keeps the last."""
        shop("write", "spending", "rows.csv")
        rows = answer(shop("history", "spending", "-e", "user_id=007", "--json"))
        assert [row["seq"] for row in rows] == [0, 1]
        assert rows[0]["available_at"] == rows[0]["event_time"] == "2024-01-01T00:00:00+00:00"
        assert answer(shop("history", "spending", "--last", "1", "--json"))[0]["user_id"] == "8"
        assert "1 of 3 rows" in shop("history", "spending", "--last", 1).stdout

    def test_compact_loses_nothing(self, shop: Fs) -> None:
        """Many small writes are laid out afresh; every row is still there."""
        for _ in range(3):
            shop("write", "spending", "rows.csv")
        assert shop("compact", "spending").stdout == "compacted spending\n"
        assert answer(shop("compact", "--json")) == {"views": []}
        assert len(answer(shop("history", "spending", "--json"))) == 9

    def test_list_shows_what_is_registered(self, shop: Fs) -> None:
        """All kinds or one, current versions or all of them."""
        assert [row["name"] for row in answer(shop("list", "--json"))] == [
            *("orders", "shop", "user", "spending", "visits", "model")
        ]
        Path("next.py").write_text(
            DEFINITIONS.replace('description="What a user', 'version="1.0.1", description="All a user')
        )
        assert answer(shop("apply", "next.py", "--json"))
        assert [row["version"] for row in answer(shop("list", "view", "--json"))] == ["1.0.1", "1.0.0"]
        everything = answer(shop("list", "view", "--all", "--json"))
        assert [(row["version"], row["current"]) for row in everything][:2] == [("1.0.0", False), ("1.0.1", True)]

    def test_what_is_retired_is_marked(self, shop: Fs) -> None:
        """`list` and `export` say what is retired; JSON as a flag, YAML in a comment that `apply` ignores."""
        assert shop("retire", "model").exit_code == 0
        assert "1.0.0 (retired)" in shop("list", "service").stdout
        assert [row["retired"] for row in answer(shop("list", "--json"))] == [False] * 5 + [True]
        exported = shop("export").stdout
        assert "# retired\n---\nfeature_service: model\n" in exported
        assert exported.count("# retired") == 1
        Path("again.yaml").write_text(exported)
        assert shop("apply", "again.yaml").exit_code == 0

    def test_plan_and_delete(self, shop: Fs, tmp_path: Path) -> None:
        """A plan shows what `apply` would do, replaced lines and refusals too; a mistake is taken back."""
        planned = answer(shop("plan", "definitions.py", "--json", "--store", tmp_path / "nowhere"))
        assert {change["action"] for change in planned} == {"registered"}
        assert not (tmp_path / "nowhere").exists()
        Path("next.py").write_text(DEFINITIONS.replace('ttl="30d"', 'ttl="31d"'))
        output = shop("plan", "next.py").stdout
        assert "view spending:v1.0.0: ttl: '30d' -> '31d'" in output
        assert "replaced" in output
        shop("write", "spending", "rows.csv")
        assert "A registered version never changes" in refusal(shop("plan", "next.py"))
        assert "rows in its history" in refusal(shop("delete", "spending"))
        assert shop("delete", "model").stdout == "service model:v1.0.0 is deleted\n"
        assert answer(shop("delete", "visits", "--json")) == {"kind": "view", "name": "visits", "version": "1.0.0"}

    def test_show_tells_what_a_definition_means_and_where_it_stands(self, shop: Fs) -> None:
        """Fields, versions, and how far history and the online store are."""
        assert "nothing written yet" in shop("show", "spending").stdout
        shop("write", "spending", "rows.csv")
        shop("materialize")
        text = shop("show", "spending").stdout
        assert "Last order, EUR." in text
        assert "materialized until" in text
        shown = answer(shop("show", "spending", "--json"))
        assert shown["kind"] == "view"
        assert shown["history_snapshot"] == 0
        assert shown["versions"][0]["current"] is True
        for name, kind in (("orders", "source"), ("user", "entity"), ("model", "service"), ("visits", "view")):
            assert answer(shop("show", name, "--json"))["kind"] == kind
            assert shop("show", name).exit_code == 0

    def test_applying_again_changes_nothing(self, shop: Fs) -> None:
        """The second time everything is unchanged, and the output says so."""
        again = shop("apply", "definitions.py")
        assert "nothing new" in again.stdout
        assert {change["action"] for change in answer(shop("apply", "definitions.py", "--json"))} == {"unchanged"}

    def test_a_version_that_begins_empty(self, shop: Fs, tmp_path: Path) -> None:
        """Where a new version takes over from one with history, a warning beside the output names the ways out."""
        assert shop("write", "spending", "rows.csv").exit_code == 0
        (tmp_path / "second.py").write_text(DEFINITIONS.replace('ttl="30d"', 'ttl="60d", version="2.0.0"'))
        command = [sys.executable, "-m", "fs_core.cli", "apply", "second.py", "--json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert [c["version"] for c in json.loads(done.stdout) if c["replaced"] == "1.0.0"] == ["2.0.0"]
        assert "v2.0.0 is current now and has no history yet" in done.stderr
        assert "fs rollback spending 1.0.0" in done.stderr


class TestLeaks:
    def test_training_rows_that_know_too_much(self, shop: Fs) -> None:
        """Found or not is the exit code; keys such as 007 stay text; a notice counts only if asked."""
        shop("write", "spending", "rows.csv")
        Path("labels.csv").write_text("user_id,event_timestamp,bought\n007,2024-01-03,1\n8,2024-01-02,0\n")
        clean = shop("check-leakage", "spending", "--spine", "labels.csv", "--label", "bought")
        assert clean.exit_code == 0, clean.output
        assert "by assumption" in clean.stdout
        assert "user_id 007" in clean.stdout
        assert shop("check-leakage", "model", "--spine", "labels.csv", "--fail-on", "notice").exit_code == 1
        Path("naive.csv").write_text("user_id,event_timestamp,amount\n007,2024-01-01T12:00,2.5\n8,2024-01-02,0.25\n")
        found = shop("check-leakage", "spending", "--spine", "naive.csv", "--json")
        assert found.exit_code == 1
        assert not found.stderr
        answer = json.loads(found.stdout)
        assert [(f["severity"], f["feature"]) for f in answer["findings"]] == [("leak", "amount"), ("notice", None)]
        assert answer["findings"][0]["evidence"][0]["known then"] == 1.5
        words = ("check-leakage", "spending", "--spine", "labels.csv", "--label", "bougt")
        assert "Did you mean 'bought'" in refusal(shop(*words))


class TestTrainingSets:
    def test_what_is_kept_is_listed_shown_and_dropped(self, shop: Fs) -> None:
        """Name, rows, parts and how each was made; a damaged one is refused, and can be dropped."""
        assert "no training set is saved" in shop("training-sets").stdout
        shop("write", "spending", "rows.csv")
        with FeatureStore(".") as store:
            spine = {"user_id": ["007"], "event_timestamp": [datetime(2024, 1, 3, tzinfo=UTC)]}
            store.save_training_set(store.get_historical_features(spine, "spending", lag="1d"), "lagged")
            fingerprint = store.load_training_set("lagged").fingerprint
        (row,) = answer(shop("training-sets", "--json"))
        assert (row["name"], row["rows"], row["columns"], row["lag"], row["parts"]) == ("lagged", 1, 2, "1d", 1)
        shown = answer(shop("training-sets", "lagged", "--json"))
        assert (shown["fingerprint"], shown["spec"]["snapshots"]) == (fingerprint, {"spending": 0})
        assert fingerprint in shop("training-sets", "lagged").stdout
        assert "Did you mean 'lagged'" in refusal(shop("training-sets", "laged"))
        assert "Which one?" in refusal(shop("training-sets", "--drop"), 2)
        next(Path("training_sets/lagged").glob("*.parquet")).write_bytes(b"")
        assert "is damaged" in refusal(shop("training-sets", "lagged"))
        assert "dropped lagged" in shop("training-sets", "lagged", "--drop").stdout
        assert answer(shop("training-sets", "--json")) == []


class TestForPrograms:
    def test_json_holds_every_type(self, fs: Fs) -> None:
        """Times are ISO 8601, bytes base64, decimals and NaN text: json.loads reads it all."""
        fs("init")
        Path("kinds.py").write_text(
            "from fs_core import Entity, FeatureView, Field\n"
            "k = Entity('k', keys={'day': 'date'}, description='A day.')\n"
            "names = ['binary', 'decimal(5, 2)', 'float64', 'list<float32>[2]', 'timestamp', 'bool', 'int64']\n"
            "v = FeatureView('v', entity=k, fields=[Field(f'f{i}', n, 'One.') for i, n in enumerate(names)],"
            " description='All.')\n"
        )
        assert answer(fs("apply", "kinds.py", "--json"))
        moment = datetime(2024, 1, 1, tzinfo=UTC)
        row = (b"\x00\xff", Decimal("1.50"), float("nan"), [1.0, None], moment, True, 2**53 + 1)
        with FeatureStore(".") as store:
            store.write(
                "v",
                pa.table(
                    {
                        "day": [date(2024, 1, 1)],
                        "event_timestamp": [moment],
                        **{f"f{i}": pa.array([x], store.view("v").features[f"f{i}"]) for i, x in enumerate(row)},
                    }
                ),
            )
        shown = answer(fs("history", "v", "--json"))[0]
        assert [shown[f"f{i}"] for i in range(7)] == [
            *("AP8=", "1.50", "nan", [1.0, None], "2024-01-01T00:00:00+00:00", True, 2**53 + 1)
        ]
        assert "0x00ff" in fs("history", "v").stdout
        assert answer(fs("get", "v", "-e", "day=2024-01-01", "--fallback", "offline", "--json"))

    def test_the_script_runs_without_colour_in_a_pipe(self, shop: Fs, tmp_path: Path) -> None:
        """As a process: exit codes, no escape sequences, lines whole however long, errors on standard error."""
        fs = [str(Path(sys.executable).parent / "fs")]
        listed = subprocess.run([*fs, "list"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "\x1b" not in listed.stdout
        assert len(listed.stdout.splitlines()) == 7
        failed = subprocess.run([*fs, "show", "nothing"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert failed.returncode == 1
        assert failed.stderr.startswith("error: nothing is called 'nothing'")
        assert "Traceback" not in failed.stderr
        module = [sys.executable, "-m", "fs_core.cli", "show", "nothing", "--debug"]
        debugged = subprocess.run(module, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert debugged.returncode == 1
        assert "Traceback" in debugged.stderr

    def test_the_environment_names_the_store(self, shop: Fs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """FS_STORE works from anywhere; --store wins over it."""
        monkeypatch.chdir("/")
        monkeypatch.setenv("FS_STORE", str(tmp_path))
        assert len(answer(shop("list", "--json"))) == 6
        assert "fs init" in refusal(shop("list", "--store", str(tmp_path / "other")))

    def test_the_store_is_named_before_or_after_the_command(
        self, shop: Fs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both work, also for groups; the one after the command wins over the other, and both over FS_STORE."""
        monkeypatch.chdir("/")
        monkeypatch.setenv("FS_STORE", "/nowhere")
        assert len(answer(shop("--store", tmp_path, "list", "--json"))) == 6
        assert len(answer(shop("list", "--json", "--store", tmp_path))) == 6
        assert len(answer(shop("--store", "/elsewhere", "list", "--json", "--store", tmp_path))) == 6
        assert answer(shop("--store", tmp_path, "lineage", "refresh", "--json")) == {"notes": []}
        assert "'/elsewhere'" in refusal(shop("--store", "/elsewhere", "list"))

    def test_looking_needs_no_heavy_library(self, shop: Fs, tmp_path: Path) -> None:
        """`get` and `list` answer at once: neither imports pandas, DuckDB, Delta or what draws tables in a terminal."""
        shop("write", "spending", "rows.csv")
        shop("materialize")
        program = "import sys; from fs_core.cli.group import cli; cli(sys.argv[1:], standalone_mode=False); "
        program += "print('loaded', *{name.partition('.')[0] for name in sys.modules})"
        for words in (["list"], ["get", "spending", "-e", "user_id=007"]):
            line = [sys.executable, "-c", program, *words]
            done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
            loaded = set(done.stdout.splitlines()[-1].split())
            assert loaded & {"pandas", "polars", "duckdb", "deltalake", "rich", "sqlglot", "yaml"} == set(), words

    @pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
    def test_help_teaches(self, fs: Fs, command: list[str]) -> None:
        """Every command explains itself and its options in words."""
        result = fs(*command, "--help")
        assert result.exit_code == 0
        found = cli.get_command(Context(cli), command[0]) if command else None
        shown = [p for p in (found.params if found else []) if p.param_type_name == "option"]
        assert all(getattr(option, "help", "") for option in shown)
        assert len(result.stdout.split("\n\n")) >= 3


def test_every_command_can_be_called() -> None:
    """What a file of `commands` declares stands in the table that says which file has it, and the reverse."""
    for file in Path(fs_core.cli.commands.__file__).parent.glob("[a-z]*.py"):
        import_module(f"fs_core.cli.commands.{file.stem}")
    declared = {(str(command.callback.__module__).rpartition(".")[2], name) for name, command in cli.commands.items()}
    assert declared == {(file, name) for file, names in FILES.items() for name in names.split()}


def test_quarantine_is_listed_released_and_dropped(shop: Fs) -> None:
    """A write names the rows that are held back; they are released or dropped by id, or all of them."""
    text = Path("definitions.py").read_text()
    Path("odd.py").write_text(
        text.replace(
            '"spending", entity=user,', '"odd", entity=user, on_violation="quarantine", checks=["amount < 2"],'
        )
    )
    assert shop("apply", "odd.py").exit_code == 0
    assert "check         amount < 2" in shop("show", "odd").output
    written = shop("write", "odd", "rows.csv").output
    assert "2 rows into the history of odd" in written
    assert "row 1 is in quarantine: check 'amount < 2' is false or fails" in written
    (held,) = answer(shop("quarantine", "list", "odd", "--json"))
    assert (held["amount"], held["reason"]) == (2.5, "check 'amount < 2' is false or fails")
    assert "1 of 1 rows" in shop("quarantine", "list", "odd").output
    assert "still break" in refusal(shop("quarantine", "release", "odd", "--all"))
    assert "Name rows by their ids" in refusal(shop("quarantine", "release", "odd"), 2)
    assert "has no row 'x'" in refusal(shop("quarantine", "drop", "odd", "x", "--yes"))
    assert "nobody to ask" in refusal(shop("quarantine", "drop", "odd", "--all"), 2)
    assert answer(shop("quarantine", "release", "odd", held["id"], "--force", "--json"))["rows"] == 1
    assert answer(shop("quarantine", "drop", "odd", "--all", "--yes", "--json"))["rows"] == 0
    assert answer(shop("write", "odd", "rows.csv", "--json"))["quarantined"][0]["row"] == 1
    forgotten = shop("forget", "user", "-e", "user_id=007", "--yes")
    assert "1 rows erased from the quarantine of odd:v1.0.0" in forgotten.output
    assert "list" in shop("quarantine", "--help").output
