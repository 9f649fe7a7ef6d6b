"""OpenLineage events, for those who have something that takes them.

Off unless the environment configures a transport as the OpenLineage client documents it: `OPENLINEAGE_URL`,
`OPENLINEAGE_CONFIG` or `OPENLINEAGE__TRANSPORT__*`; `OPENLINEAGE_DISABLED=true` turns it off again, and
`OPENLINEAGE_NAMESPACE` names what jobs belong to. Reporting never disturbs the work: what goes wrong is logged.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from fs_core.lineage.activities import Activity, Column, Dataset

log = logging.getLogger("fs_core")

PRODUCER = "urn:fs-core"
_PAUSE_SECONDS = 60.0  # after a failure: a receiver that is down would hold up each job with its retries
_quiet_until = 0.0


def is_configured() -> bool:
    """Whether the environment configures a transport and doesn't turn it off."""
    if os.environ.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    if os.environ.get("OPENLINEAGE_URL") or os.environ.get("OPENLINEAGE_CONFIG"):
        return True
    return any(name.startswith("OPENLINEAGE__TRANSPORT") for name in os.environ)


@contextmanager
def reported(describe: Callable[[], Activity]) -> Iterator[Activity | None]:
    """Report to OpenLineage that an activity starts, and how it ends; do nothing where no transport is configured.

    Args:
        describe: says what is done; called only if somebody listens.

    Yields:
        The activity, to which the number of rows written can be added; None if nobody listens.
    """
    reporter = _reporter(describe)
    if reporter is None:
        yield None
        return
    reporter.report("START")
    try:
        yield reporter.activity
    except BaseException as error:
        reporter.report("FAIL", error)
        raise
    else:
        reporter.report("COMPLETE")
    finally:
        reporter.close()


def _reporter(describe: Callable[[], Activity]) -> _Reporter | None:
    if not is_configured() or time.monotonic() < _quiet_until:
        return None
    try:
        return _Reporter(describe())
    except Exception as error:  # noqa: BLE001  # whatever a client or its transport raises, the work goes on
        _failed(error)
        return None


def _failed(error: Exception) -> None:
    global _quiet_until
    _quiet_until = time.monotonic() + _PAUSE_SECONDS
    log.warning("OpenLineage got no event (silent for %d s now): %s", _PAUSE_SECONDS, type(error).__name__)
    log.debug("OpenLineage got no event", exc_info=error)


class _Reporter:
    """Sends the events of one run."""

    def __init__(self, activity: Activity) -> None:
        from openlineage.client import OpenLineageClient
        from openlineage.client.uuid import generate_new_uuid

        self.activity = activity
        self._run_id = str(generate_new_uuid())
        self._client = OpenLineageClient()
        self._silent = False

    def report(self, state: str, error: BaseException | None = None) -> None:
        """Send an event, unless one could not be sent before."""
        if self._silent:
            return
        try:
            self._client.emit(_event(self.activity, self._run_id, state, error))
        except Exception as failure:  # noqa: BLE001  # as above: the work goes on, unreported
            self._silent = True
            _failed(failure)

    def close(self) -> None:
        """Let a transport that sends later send now."""
        try:
            self._client.close(0.0 if self._silent else 5.0)
        except Exception as failure:  # noqa: BLE001  # as above: the work is done, reported or not
            _failed(failure)


def _event(activity: Activity, run_id: str, state: str, error: BaseException | None) -> Any:
    from openlineage.client import event_v2 as ol
    from openlineage.client.facet_v2 import error_message_run, sql_job

    message = error_message_run.ErrorMessageRunFacet(f"{type(error).__name__}: {error}", "python") if error else None
    written = activity.written if state == "COMPLETE" else None
    return ol.RunEvent(
        eventTime=datetime.now(UTC).isoformat(),
        eventType=ol.RunState[state],
        run=ol.Run(run_id, {"errorMessage": message} if message else {}),
        job=ol.Job(
            os.environ.get("OPENLINEAGE_NAMESPACE") or "fs_core",
            activity.job,
            {"sql": sql_job.SQLJobFacet(activity.sql, "duckdb")} if activity.sql else {},
        ),
        inputs=[ol.InputDataset(d.namespace, d.name, facets=_facets(d)) for d in activity.inputs],
        outputs=[_output(d, written) for d in activity.outputs],
        producer=PRODUCER,
    )


def _output(dataset: Dataset, written: int | None) -> Any:
    from openlineage.client import event_v2 as ol
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    facets = {} if written is None else {"outputStatistics": statistics.OutputStatisticsOutputDatasetFacet(written)}
    return ol.OutputDataset(dataset.namespace, dataset.name, facets=_facets(dataset), outputFacets=facets)


def _facets(dataset: Dataset) -> dict[str, Any]:
    from openlineage.client.facet_v2 import column_lineage_dataset as lineage
    from openlineage.client.facet_v2 import schema_dataset as schema

    facets: dict[str, Any] = {}
    if dataset.fields:
        columns = [schema.SchemaDatasetFacetFields(name, kind, text or None) for name, kind, text in dataset.fields]
        facets["schema"] = schema.SchemaDatasetFacet(columns)
    if dataset.columns or dataset.rows:
        fields = {name: lineage.Fields([_input(c) for c in columns]) for name, columns in dataset.columns.items()}
        facets["columnLineage"] = lineage.ColumnLineageDatasetFacet(fields, [_input(c) for c in dataset.rows])
    return facets


def _input(column: Column) -> Any:
    from openlineage.client.facet_v2 import column_lineage_dataset as lineage

    how = lineage.Transformation("DIRECT" if column.direct else "INDIRECT")
    return lineage.InputField(column.dataset.namespace, column.dataset.name, column.name, [how])
