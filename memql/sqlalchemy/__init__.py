"""SQLAlchemy: the dialect ``memql://`` (needs ``memql[sqlalchemy]``).

``dialect`` opens connections and transactions, ``compiler`` writes statements, definitions and
types, ``reflection`` reads what tables there are.

>>> from sqlalchemy import create_engine, text
>>> engine = create_engine("memql://")
>>> with engine.begin() as con:
...     _ = con.execute(text("INSERT INTO memories (content) VALUES (:c)"), {"c": "Ann likes tea."})
...     con.execute(text("SELECT content FROM memories")).scalar()
'Ann likes tea.'
"""

from __future__ import annotations

from memql.sqlalchemy.dialect import MemQLDialect

__all__ = ["MemQLDialect"]
