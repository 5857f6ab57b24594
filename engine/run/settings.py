"""SET, RESET and SHOW of one setting of a connection."""

from __future__ import annotations

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.options import constant_value
from memql.engine.bind.parameters import Values
from memql.engine.context import StatementContext
from memql.engine.models import Models
from memql.engine.names import position, unknown
from memql.engine.optimize import RULE_NAMES
from memql.engine.settings import Setting, Settings, settings_of
from memql.errors import ProgrammingError

SETTINGS = settings_of(RULE_NAMES)


def setting_of(node: exp.Expr, context: StatementContext) -> Setting:
    """Return the setting that a statement names.

    Raises:
        ProgrammingError: there is none, with the nearest name.
    """
    found = SETTINGS.get(node.name.lower())
    if found is None:
        known = [f"memql.{name}" for name in SETTINGS]
        raise unknown("setting", f"memql.{node.name}", known, context, node)
    return found


def changed_settings(
    tree: syntax.SetSetting,
    defaults: Settings,
    models: Models,
    values: Values,
    context: StatementContext,
) -> Settings:
    """Return the connection's settings as SET or RESET leaves them.

    Args:
        defaults: what RESET goes back to.

    Raises:
        ProgrammingError: an unknown setting, a value that does not fit, or one that the user may
            not choose.
    """
    setting = setting_of(tree.this, context)
    node = tree.args.get("expression")
    if node is None:
        return context.settings.with_default(setting, defaults)
    value = constant_value(node, f"memql.{setting.name}", values, context)
    changed = context.settings.with_value(setting, value)
    if setting.name == "model" and changed.model != defaults.model:
        # By name only: a folder or hub id is for CREATE MODEL and connect().
        models.spec(changed.model, context)
    most = getattr(defaults, setting.name)
    above = setting.ceiling and getattr(changed, setting.name) > most
    if above and not context.rights.administrator:
        raise ProgrammingError(
            f"the user {context.user} may not raise memql.{setting.name} above {most:,}",
            position=position(context.text, node),
            statement=context.text,
            code="42501",
        )
    return changed
