"""Videos of providers, and webhooks."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, Float, ForeignKey, Integer, String

revision, down_revision = "remote", "first"


def upgrade() -> None:
    op.add_column("jobs", Column("remote", JSON(none_as_null=True)))
    op.create_table(
        "webhooks",
        Column("id", String, primary_key=True),
        Column("owner", String, nullable=False),
        Column("url", String, nullable=False),
        Column("events", JSON, nullable=False),
        Column("secret", String, nullable=False),
        Column("created_at", Float, nullable=False),
        Column("last_at", Float),
        Column("last_outcome", String),
    )
    op.create_index("webhooks_of_owner", "webhooks", ["owner", "created_at"])
    op.create_table(
        "deliveries",
        Column("id", String, primary_key=True),
        Column("webhook_id", String, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
        Column("body", String, nullable=False),
        Column("created_at", Float, nullable=False),
        Column("tries", Integer, nullable=False),
        Column("next_at", Float, nullable=False),
    )
    op.create_index("deliveries_by_time", "deliveries", ["next_at"])
    op.create_index("deliveries_of_webhook", "deliveries", ["webhook_id", "created_at"])
