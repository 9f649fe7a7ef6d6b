"""Arguments that several commands take."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fs_core.errors import DataError
from fs_core.values.times import from_micros, micros

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

if TYPE_CHECKING:
    _ToMoment = click.ParamType[datetime]
else:
    _ToMoment = click.ParamType  # older releases take no parameter


class Moment(_ToMoment):
    """A moment in ISO 8601; without a zone it is UTC."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment, or fail as a wrong command line does."""
        try:
            return from_micros(micros(value))
        except DataError as error:
            self.fail(str(error), param, ctx)
