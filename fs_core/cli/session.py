"""What every command shares: which store, which form of output, and what an error looks like."""

from __future__ import annotations

import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fs_core import configuration
from fs_core.cli.output import Report
from fs_core.errors import ConfigurationError, FeatureStoreError
from fs_core.store import FeatureStore

Command = Callable[..., Report]


def answers(command: Command) -> Callable[..., None]:
    """Make a function that returns a `Report` print it, as a table or JSON, or say what went wrong.

    Exit codes: 0 done (or what the report says), 1 the store refused or failed, 2 the command line is wrong.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @click.option("--debug", is_flag=True, help="Log everything, and show where an error came from.")
    @functools.wraps(command)
    def run(*args: Any, as_json: bool, debug: bool, **options: Any) -> None:
        if debug:
            logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
        try:
            report = command(*args, **options)
        except FeatureStoreError as error:
            if debug:
                traceback.print_exc()
            _complain(error)
            raise SystemExit(1) from error
        except KeyboardInterrupt as error:
            for note in getattr(error, "__notes__", ()):  # what is left half done
                click.echo(note, err=True)
            raise
        report.print_json() if as_json else report.print_table()
        if report.code:
            raise SystemExit(report.code)

    return run


def in_store(command: Command) -> Callable[..., None]:
    """Like `answers`; the function's first argument is the store that the caller named."""

    @click.option(
        "--store",
        "directory",
        envvar="FS_STORE",
        show_envvar=True,
        metavar="DIR",
        help="The store's directory; by default the working directory.",
    )
    @functools.wraps(command)
    def run(*args: Any, directory: str | None, **options: Any) -> Report:
        with open_existing(directory) as store:
            return command(store, *args, **options)

    return answers(run)


def open_existing(directory: str | None) -> FeatureStore:
    """Open a store that is there; never make one by mistyping.

    Raises:
        ConfigurationError: there is no store in the directory.
    """
    place = Path(directory or ".").expanduser()
    if not configuration.is_store(place) and not os.environ.get("FS_REGISTRY"):
        raise ConfigurationError(
            f"there is no feature store in {str(place)!r}. Name its directory by --store or FS_STORE, "
            f"or make one: fs init {place}"
        )
    return FeatureStore(place)


def _complain(error: FeatureStoreError) -> None:
    lines = [str(error), *getattr(error, "__notes__", ())]
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo("\n".join(lines), err=True)
