"""Lineage: from source columns to features, services, training sets, runs and models.

    source ─contains─> column ─derives────> feature ─uses─> service ─makes─> training set ─trains─> model
       └─reads─> view ─contains─> feature      └────uses─> training set, model      └─logged─> run ─logged─> model

A column that decides which rows a view has (a filter, a join, a group, a key, a time) `influences` the view; one
that decides what enters one feature (a window's order, an aggregate's filter) `influences` that feature.
"""

from fs_core.lineage.graph import Graph, Node
from fs_core.lineage.lineage import Lineage

__all__ = ["Graph", "Lineage", "Node"]
