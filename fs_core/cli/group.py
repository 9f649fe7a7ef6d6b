"""The command `fs` itself, to which each room's commands are added."""

from __future__ import annotations

import click

import fs_core


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(fs_core.__version__, prog_name="fs")
def cli() -> None:
    """A feature store: the row a model was trained on and the row it is served come from one rule.

    \b
    A first tour:
      fs init my_features                                a directory for history and latest rows
      cd my_features
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
