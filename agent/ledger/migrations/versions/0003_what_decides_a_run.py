"""What decides a run beside its tradeoff and its caps: rule, promise and predictor, so that it can be decided again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add one document; older runs have none."""
    op.add_column("runs", sa.Column("settings", sa.JSON()))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("runs", "settings")
