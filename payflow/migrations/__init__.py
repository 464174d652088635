"""The schema's history (Alembic). Floor 3."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest version; safe to run again, and by two processes at once."""
    config = _config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def current(engine: Engine) -> str | None:
    """The database's version (empty before the first migration); None when it cannot be reached."""
    try:
        with engine.execution_options(reads_only=True).connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return ""
            return connection.scalar(text("SELECT version_num FROM alembic_version")) or ""
    except SQLAlchemyError:
        return None


def head() -> str:
    """The newest version this code knows."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    return found or ""
