"""Which source columns the columns of a query come from, read off its text."""

from fs_core.lineage.sql.flow import SOME, Flow, Origin, Relation
from fs_core.lineage.sql.queries import QueryReader

__all__ = ["SOME", "Flow", "Origin", "QueryReader", "Relation"]
