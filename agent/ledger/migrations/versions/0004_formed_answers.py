"""The form of an answer that is no plain text: tool calls, JSON, and what was at fault with it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; older attempts, and those in plain words, leave it empty."""
    op.add_column("attempts", sa.Column("formed", sa.JSON()))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("attempts", "formed")
