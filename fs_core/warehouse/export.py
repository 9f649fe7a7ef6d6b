"""History, or the latest rows, as a Parquet file or a table of a database."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from fs_core.errors import ConfigurationError, DataError, FeatureStoreError, OfflineStoreError, redact_url
from fs_core.runtime.files import bring_to_disk
from fs_core.sources.warehouse.read import expanded, without
from fs_core.values.dtypes import as_type, storage_type

_TABLE = re.compile(r"(?:[^.\"\x00]+\.)?[^.\"\x00]+")
_LONGEST = 63  # bytes of a name in PostgreSQL
_PASSWORD = re.compile("://[^/]*?:(.*)@")


def stored(rows: pa.Table) -> pa.Table:
    """Return rows in the types that history keeps, which Parquet's readers and databases have: no unsigned numbers."""
    return pa.table({name: as_type(rows[name], storage_type(rows[name].type)) for name in rows.column_names})


def write_parquet(rows: pa.Table, path: Path, *, overwrite: bool) -> None:
    """Write rows to a Parquet file, whole or not at all.

    Args:
        rows: what is written.
        path: the file.
        overwrite: whether one that is there is replaced.

    Raises:
        ConfigurationError: there is one, or it can't be written.
    """
    target = path.resolve()  # a link stays one
    unfinished = target.with_name(f".{uuid.uuid4().hex}")
    if target.exists() and not overwrite:
        raise _is_there(path)
    try:
        pq.write_table(stored(rows), unfinished, compression="zstd")
        bring_to_disk(unfinished)
        if overwrite:
            unfinished.replace(target)
        else:
            os.link(unfinished, target)  # unlike a rename it fails where another process was quicker
        bring_to_disk(target.parent)
    except FileExistsError:
        raise _is_there(path) from None
    except OSError as error:
        raise ConfigurationError(f"can't write {str(path)!r}: {error.strerror or error}. Name another file.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _is_there(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{str(path)!r} is there already. Pass overwrite=True (--overwrite), or name another file."
    )


def write_table(rows: pa.Table, url: str, table: str, *, overwrite: bool) -> None:
    """Make a table of a database with rows, whole or not at all.

    Args:
        rows: what is written.
        url: of the database; `${NAME}` stands for an environment variable.
        table: its name there, perhaps behind a schema's and a dot, as it is, without quotes.
        overwrite: whether one that is there is replaced.

    Raises:
        ConfigurationError: it is no database that tables are made in, or the driver isn't installed.
        DataError: the table's name is none.
        OfflineStoreError: the database refuses, as where there is such a table; nothing was changed.
    """
    scheme = url.partition("://")[0]
    if scheme != "postgresql":
        raise ConfigurationError(
            f"tables are made in postgresql:// alone, not in {scheme}://. Export a Parquet file, and have the database "
            "load it: COPY INTO, bq load, INSERT ... FROM INFILE."
        )
    if not _TABLE.fullmatch(table):
        raise DataError(f"{table!r} is no table's name. Write table or schema.table, without quotes.")
    for part in table.split("."):
        if len(part.encode()) > _LONGEST:  # it would be cut, and may then be another table's
            raise DataError(f"{part!r} has {len(part.encode())} bytes, and a name there has {_LONGEST} at most.")
    address, secrets = expanded(url, "export")
    if password := _PASSWORD.search(url):
        secrets += [password[1], unquote(password[1])]
    try:
        from fs_core.sources.warehouse.adbc import ingest

        ingest(address, table, stored(rows), replace=overwrite)
    except FeatureStoreError:
        raise
    except ImportError as error:
        raise ConfigurationError(f"a driver isn't installed: {error}. pip install 'fs-core[warehouse]'") from None
    except Exception as error:  # noqa: BLE001 - the driver has errors of its own, which may show the URL whole
        reason = without(str(error), secrets)
        way_out = "" if overwrite or "exists" not in reason else " Pass overwrite=True (--overwrite) to replace it."
        raise OfflineStoreError(
            f"can't make table {table!r} at {redact_url(url)}: {reason}. Nothing was changed.{way_out}"
        ) from None


def is_url(target: str | os.PathLike[str]) -> bool:
    """Return whether a target is a URL, not a file's path."""
    return "://" in os.fspath(target)
