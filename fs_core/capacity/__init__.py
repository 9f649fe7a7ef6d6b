"""What a store needs, before there is one: memory, disk, nodes, processors and money."""

from fs_core.capacity.demand import Demand, Prices, Rates
from fs_core.capacity.estimate import Estimate
from fs_core.capacity.hot_spots import HotSpots, hot_spots
from fs_core.capacity.plan import Plan, plan

__all__ = ["Demand", "Estimate", "HotSpots", "Plan", "Prices", "Rates", "hot_spots", "plan"]
