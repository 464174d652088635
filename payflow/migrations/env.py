"""Runs migrations on the connection handed in by `payflow.migrations.upgrade`."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from payflow.models import Base

_LOCK = 0x70617966
"""Advisory lock number ("payf"): two processes that migrate at once take turns (PostgreSQL)."""

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=False,
    compare_type=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    context.run_migrations()
if connection.in_transaction():
    connection.commit()
