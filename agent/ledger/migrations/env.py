"""Alembic's entry: runs on the connection and inside the transaction that ``opening`` hands over."""

from __future__ import annotations

from alembic import context

from curveroute.agent.ledger.migrations import VERSION_TABLE
from curveroute.agent.ledger.tables import LedgerTable

context.configure(
    connection=context.config.attributes.get("connection"),
    dialect_name=context.config.attributes.get("dialect"),
    target_metadata=LedgerTable.metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
