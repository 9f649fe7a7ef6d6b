"""The command that serves: `serve`."""

from __future__ import annotations

import os

import click

from fs_core.cli.group import cli, in_store
from fs_core.cli.output import Report, say
from fs_core.errors import ConfigurationError
from fs_core.store import FeatureStore

_COUNT = click.IntRange(min=1)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; others need FS_TOKENS.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen at.")
@click.option("--workers", default=1, show_default=True, type=_COUNT, help="Processes that serve.")
@click.option("--max-rows", default=10_000, show_default=True, type=_COUNT, help="Rows of a request.")
@click.option("--max-body", default=8 * 2**20, show_default=True, type=_COUNT, help="Bytes of a request.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds for a request, and for its answer.")
@click.option("--no-access-log", is_flag=True, help="Don't log each request.")
@in_store
def serve(
    store: FeatureStore,
    host: str,
    port: int,
    workers: int,
    max_rows: int,
    max_body: int,
    timeout: float,
    no_access_log: bool,
) -> Report:
    """Serve features over HTTP until the process is stopped; what came by then is answered.

    \b
      fs serve                                                       for this machine, at http://127.0.0.1:8000/docs
      FS_TOKENS=secret1:read,secret2:write fs serve --host 0.0.0.0   for others, who send such a token

    Functions of on-demand views are imported from what is installed, or from the working directory. Where the code
    of one isn't what was registered, nothing is served, and the error names it.
    """  # noqa: D301
    try:
        from fs_core.server.app import serve as run
    except ImportError as error:
        raise ConfigurationError(
            f"fs serve needs what the extra brings, and {error.name} isn't there: pip install 'fs-core[server]'"
        ) from error
    from fs_core.server.settings import Settings

    directory = os.fspath(store.directory)
    settings = Settings(directory, host, port, workers, max_body, max_rows, timeout, access_log=not no_access_log)
    shown = f"[{host}]" if ":" in host else host
    say(f"serving {directory} at http://{shown}:{port}; what can be asked is at /docs", err=True)
    store.close()
    run(settings)
    return Report(heading="stopped", data={"stopped": True})
