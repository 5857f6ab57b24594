"""Why reuse ends where it does: what the catalog knows of the first segment that is not stored."""

from __future__ import annotations

from contextlib import closing

from memql.engine.model.spec import ModelSpec
from memql.engine.prompt import Segment
from memql.storage.store import Store


def why_not_stored(segment: Segment, spec: ModelSpec, store: Store) -> str:
    """Return why a segment cannot be loaded, in words.

    Args:
        segment: the first behind the deepest boundary.
        spec: the model.
        store: where activations are.
    """
    members = {member.id: member.version for member in segment.row.members}
    with closing(store.cursor()) as cursor:
        found = cursor.execute(
            "SELECT memory_id, version, state, json_extract_string(header, '$.model') "
            "FROM _memql.lineage JOIN _memql.nodes ON nodes.id = lineage.node "
            "WHERE memory_id IN (SELECT unnest($1::UUID[]))",
            [list(members)],
        ).fetchall()
    live = [one for one in found if one[2] == "live"]
    ours = [one for one in live if one[3] == spec.model_digest]
    if any(members[memory] == version for memory, version, *_ in ours):
        return "stored behind other rows: another set of rows, or another order"
    if ours:
        stored = max(version for _, version, *_ in ours)
        return f"the row changed: version {stored:,} is stored, it is {max(members.values()):,} now"
    if live:
        return "stored for another model, or for other options of this one"
    if found:
        return "its node was damaged and is out of use"
    return "not compiled, or no longer kept"
