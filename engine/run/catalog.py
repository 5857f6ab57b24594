"""The tables of the schema memql that are there, and what makes their rows."""

from __future__ import annotations

from memql.engine.catalog import CatalogTable
from memql.engine.constraints import (
    CONSTRAINT_COLUMNS,
    INDEX_COLUMNS,
    SEQUENCE_COLUMNS,
    constraints,
    indexes,
    sequences,
)
from memql.engine.govern.listing import governance_tables
from memql.engine.models import MODEL_COLUMNS, Models, summary
from memql.engine.run.settings import SETTINGS
from memql.engine.run.views import VIEW_COLUMNS, ViewRunner
from memql.engine.settings import SETTING_COLUMNS, Settings, setting_rows
from memql.engine.views import TABLE_COLUMNS

# What SHOW calls them, and their names in the schema memql.
SHOWN = {
    "GRANTS": "grants",
    "MATERIALIZED VIEWS": "views",
    "MODELS": "models",
    "POLICIES": "policies",
    "ROLES": "roles",
    "SETTINGS": "settings",
    "TABLES": "tables",
    "USERS": "users",
}


def catalog_tables(
    views: ViewRunner, models: Models, defaults: Settings
) -> dict[str, CatalogTable]:
    """Return the tables by name, for the user of one statement.

    Args:
        views: of the statement.
        defaults: the settings that a connection begins with.
    """
    context = views.executor.context
    settings = context.settings
    return {
        **governance_tables(context.rights, views.executor.cursor),
        "constraints": CatalogTable(CONSTRAINT_COLUMNS, lambda: constraints(views.views.tables)),
        "indexes": CatalogTable(INDEX_COLUMNS, lambda: indexes(views.views.tables)),
        "models": CatalogTable(MODEL_COLUMNS, lambda: summary(models.entries())),
        "sequences": CatalogTable(SEQUENCE_COLUMNS, lambda: sequences(views.views.tables)),
        "settings": CatalogTable(
            SETTING_COLUMNS, lambda: setting_rows(settings, defaults, SETTINGS)
        ),
        "tables": CatalogTable(TABLE_COLUMNS, views.views.relations),
        "views": CatalogTable(VIEW_COLUMNS, views.summary),
    }
