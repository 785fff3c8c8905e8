"""The ledger's schema over time: append-only, one file in ``versions`` per step.

``REVISIONS`` repeats the order of the steps, so that a ledger that is up to date opens without loading Alembic.
"""

from __future__ import annotations

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
HEAD = REVISIONS[-1]
VERSION_TABLE = "curveroute_version"
