"""Why it was decided so: the rule that decided, the tradeoffs at which it would decide otherwise, a second's worth."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; older runs leave them empty."""
    op.add_column("decisions", sa.Column("policy", sa.String()))
    op.add_column("decisions", sa.Column("flips", sa.JSON()))
    op.add_column("runs", sa.Column("seconds_usd", sa.Float()))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("runs", "seconds_usd")
    op.drop_column("decisions", "flips")
    op.drop_column("decisions", "policy")
