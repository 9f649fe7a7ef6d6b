"""The command line where something goes wrong: what is said, and what is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.cli.conftest import DEFINITIONS, Fs, answer, refusal
from tests.servers import free_port


class TestWhatGoesWrong:
    def test_no_store_is_made_by_mistyping(self, fs: Fs, tmp_path: Path) -> None:
        """A command in a directory that is no store names the way out, and makes nothing."""
        assert "fs init" in refusal(fs("list"))
        assert "fs init elsewhere" in refusal(fs("list", "--store", "elsewhere"))
        assert not (tmp_path / "elsewhere").exists()

    def test_a_rebuild_that_is_interrupted(self, shop: Fs, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ctrl-C ends a command with 1, and says what it leaves half done."""
        shop("write", "spending", "rows.csv")
        assert shop("materialize").exit_code == 0

        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("fs_core.materialization.materialize._bring", interrupted)
        output = refusal(shop("materialize", "spending", "--rebuild"))
        assert "online rows of spending:v1.0.0 were dropped" in output
        assert "Aborted!" in output
        assert refusal(shop("materialize", "spending")).split() == ["Aborted!"]

    def test_names_are_offered(self, shop: Fs) -> None:
        """An unknown view, feature or key brings up the nearest known one."""
        assert "Did you mean 'spending'" in refusal(shop("get", "spendng", "-e", "user_id=1"))
        assert "Did you mean 'amount'" in refusal(shop("get", "spending.amuont", "-e", "user_id=1"))
        assert "Did you mean 'user_id'" in refusal(shop("get", "spending", "-e", "user=1"), 2)
        assert "Did you mean 'visits'" in refusal(shop("show", "visit"))

    @pytest.mark.parametrize(
        ("words", "output"),
        [
            (("get", "spending"), "Whose features?"),
            (("get", "visits", "-e", "user_id=a"), "'shop_id' is missing"),
            (("get", "visits", "-e", "user_id=a,shop_id=x"), "'shop_id' is int64"),
            (("get", "spending", "-e", "007"), "is no entity"),
            (("get", "spending", "-e", "{7"), "-e {7"),
            (("get", "spending", "-e", "user_id=1", "--at", "noon"), "no ISO 8601 time"),
            (("get", "spending", "-e", "user_id=1", "--fallback", "hope"), "'hope'"),
            (("write", "spending", "absent.csv"), "absent.csv"),
            (("history", "spending", "--last", "0"), "0"),
            (("fetch",), "fetch"),
        ],
    )
    def test_a_wrong_command_line_exits_with_2(self, shop: Fs, words: tuple[str, ...], output: str) -> None:
        """What can be seen to be wrong before asking the store says so and how to write it."""
        assert output in refusal(shop(*words), 2)

    def test_rows_out_of_range_are_not_written(self, shop: Fs) -> None:
        """The refusal names column, rows and reason; history stays as it was."""
        Path("bad.csv").write_text("user_id,event_timestamp,amount,note\na,2024-01-01,1,\nb,2024-01-01,-1,\n")
        output = refusal(shop("write", "spending", "bad.csv"))
        assert "'amount'" in output
        assert "1" in output
        assert answer(shop("history", "spending", "--json")) == []

    def test_a_file_that_is_not_what_its_ending_says(self, shop: Fs) -> None:
        """The file and the format tried are named."""
        Path("bad.csv").write_text("user_id,event_timestamp,amount,note\na,2024-01-01,1,\nb,03/04/2024,1,\n")
        for output in (
            refusal(shop("write", "spending", "bad.csv")),
            refusal(shop("check-leakage", "spending.amount", "--spine", "bad.csv", "--full-names")),
        ):
            assert "column 'event_timestamp' takes ISO 8601 times only: row 1 holds '03/04/2024'" in output
        Path("rows.parquet").write_text("no parquet")
        assert "rows.parquet" in refusal(shop("write", "spending", "rows.parquet"))
        Path("rows.xlsx").write_text("")
        assert "format" in refusal(shop("write", "spending", "rows.xlsx"))

    def test_a_definitions_file_that_fails_names_its_line(self, shop: Fs) -> None:
        """Whatever the file raises, the file and line come first; nothing is registered."""
        Path("bad.py").write_text("from fs_core import Entity\n\nEntity('user', keys={})\n")
        assert refusal(shop("apply", "bad.py")).startswith("error: bad.py:3: entity 'user' needs keys")
        Path("bad.py").write_text("import json\n1 / 0\n")
        assert "bad.py:2: ZeroDivisionError" in refusal(shop("apply", "bad.py"))
        Path("bad.py").write_text("def (\n")
        assert "bad.py:1: SyntaxError" in refusal(shop("apply", "bad.py"))
        Path("bad.py").write_text("x = 1\n")
        assert "defines nothing" in refusal(shop("apply", "bad.py"))

    def test_a_registered_version_never_changes(self, shop: Fs) -> None:
        """Once it has rows; the refusal shows the difference and the version to give it."""
        shop("write", "spending", "rows.csv")
        Path("definitions.py").write_text(DEFINITIONS.replace('ttl="30d"', 'ttl="31d"'))
        output = refusal(shop("apply", "definitions.py"))
        assert "30d" in output
        assert "'2.0.0'" in output

    def test_show_works_while_the_online_store_is_down(self, shop: Fs, monkeypatch: pytest.MonkeyPatch) -> None:
        """A definition can be read when the server can't; the password in its URL isn't shown anywhere."""
        monkeypatch.setenv("FS_ONLINE", f"redis://:swordfish@127.0.0.1:{free_port()}/0")
        shown = shop("show", "spending")
        assert shown.exit_code == 0, shown.output
        assert "unknown: " in shown.stdout
        failed = shop("get", "spending", "-e", "user_id=1", "--debug")
        assert failed.exit_code == 1
        assert "swordfish" not in shown.output + failed.output

    def test_init_refuses_to_write_a_password(self, fs: Fs, tmp_path: Path) -> None:
        """Secrets belong in the environment; nothing is made."""
        output = refusal(fs("init", "new", "--online", "redis://:swordfish@127.0.0.1:6379/0"))
        assert "FS_ONLINE" in output
        assert "swordfish" not in output
        assert not (tmp_path / "new").exists()
