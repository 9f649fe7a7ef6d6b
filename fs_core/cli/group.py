"""The command `fs` itself, and what every command shares: its store, its form of output, its errors."""

from __future__ import annotations

import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import fs_core
from fs_core import configuration
from fs_core.errors import ConfigurationError, FeatureStoreError

if TYPE_CHECKING:
    from fs_core.cli.output import Report
    from fs_core.store import FeatureStore

Command = Callable[..., "Report"]

FILES = {
    "definitions": "alias apply delete diff docs export init list plan retire rollback show",
    "history": "backfill carry-over compact export-rows history ingest write",
    "training": "check-leakage sql training-sets",
    "online": "drop-online estimate forget get materialize replay verify",
    "lineage": "lineage",
    "monitoring": "monitor profile",
    "quarantine": "quarantine",
    "server": "serve",
    "jobs": "run",
}
"""Which file of `commands` holds which; it is imported when one of them is asked for."""
_FILE_OF = {command: file for file, commands in FILES.items() for command in commands.split()}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands."""
        return sorted(_FILE_OF)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, whose file adds it to the group."""
        if cmd_name in _FILE_OF:
            import_module(f"fs_core.cli.commands.{_FILE_OF[cmd_name]}")
        return super().get_command(ctx, cmd_name)


def store_option(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option that names a store's directory."""
    help_ = "The store's directory; by default the working directory."
    return click.option("--store", "directory", metavar="DIR", help=help_, **options)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@store_option(envvar="FS_STORE", show_envvar=True)
@click.version_option(fs_core.__version__, prog_name="fs")
def cli(directory: str | None) -> None:  # commands look it up
    """A feature store: the row a model was trained on and the row it is served come from one rule.

    \b
    A first tour:
      fs apply definitions.py                            register what the file defines
      fs write spending data.csv                         rows into history
      fs materialize                                     latest rows online
      fs get spending -e user_id=1                       what a model would be served now

    A reference is a view or service, 'view.feature' or 'view.*', with ':v1.2.3', '@3f2a9c1' (digest),
    '@production' (alias) or '@2024-01-15' (what was current then) if not the current version is meant.
    """  # noqa: D301  # the escape is click's sign for lines that stay lines


def main() -> None:
    """Run the command line; exit with 0 done, 1 refused or failed, 2 wrong command line."""
    cli(prog_name="fs")


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
            from fs_core.cli.output import say

            for note in getattr(error, "__notes__", ()):  # what is left half done
                say(note, err=True)
            raise
        report.print_json() if as_json else report.print_table()
        if report.code:
            raise SystemExit(report.code)

    return run


def in_store(command: Command, *, new: bool = False) -> Callable[..., None]:
    """Like `answers`; the function's first argument is the store that the caller named, before or after the command.

    Args:
        command: the function.
        new: whether the directory needn't hold a store yet.
    """

    @store_option()
    @functools.wraps(command)
    def run(*args: Any, directory: str | None, **options: Any) -> Report:
        with _opened(named_directory(directory), new=new) as store:
            return command(store, *args, **options)

    return answers(run)


def named_directory(directory: str | None) -> Path:
    """Return the store's directory: as named behind the command, else before it or by FS_STORE, else this one."""
    named = directory or click.get_current_context().find_root().params.get("directory")
    return Path(named or ".").expanduser()


def is_named_before() -> bool:
    """Return whether the store's directory is named before the command, other than by FS_STORE."""
    root = click.get_current_context().find_root()
    return root.get_parameter_source("directory") is click.core.ParameterSource.COMMANDLINE


in_store_or_new = functools.partial(in_store, new=True)


def _opened(directory: Path, *, new: bool) -> FeatureStore:
    """Open a store that is there; never make one by mistyping.

    Raises:
        ConfigurationError: there is no store in the directory.
    """
    if not (new or configuration.is_store(directory) or os.environ.get("FS_REGISTRY")):
        raise ConfigurationError(
            f"there is no feature store in {str(directory)!r}. Name its directory by --store or FS_STORE, "
            f"or make one: fs init {directory}, or fs apply FILE"
        )
    from fs_core.store import FeatureStore

    return FeatureStore(directory)


def _complain(error: FeatureStoreError) -> None:
    from fs_core.cli.output import say

    lines = [str(error), *getattr(error, "__notes__", ())]
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    say("\n".join(lines), err=True)
