"""DuckDB's SQL, to trees and back as it was written.

sqlglot translates between dialects: it reads ``list(x)`` and prints ``ARRAY_AGG(x)``. Here nothing
is translated, because a query's text decides its column names, and each translation can be wrong:

* ``types``, ``calls``, ``parser``: text to trees, one grammar on top of the other
* ``nodes``: the trees' nodes that sqlglot has not
* ``generator``: trees to text
* ``dialect``: what puts them together
"""
