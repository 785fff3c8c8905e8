"""The pool: the models and budgets on offer, read from data and checked before anything is sent."""

from curveroute.agent.pool.load import list_pools, load_pool
from curveroute.agent.pool.pool import Pool
from curveroute.agent.pool.spec import BudgetSpec, ModelSpec, PoolSpec, PriceSpec, SourceSpec, SpeedSpec, WeightsSpec

__all__ = [
    "BudgetSpec",
    "ModelSpec",
    "Pool",
    "PoolSpec",
    "PriceSpec",
    "SourceSpec",
    "SpeedSpec",
    "WeightsSpec",
    "list_pools",
    "load_pool",
]
