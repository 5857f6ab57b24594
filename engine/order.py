"""``order = 'reuse'``: the order of rows whose prefix the activation tree holds for the longest."""

from __future__ import annotations

from collections.abc import Sequence

from memql.engine.prompt import next_key
from memql.storage.tree import Tree

# Keys that are tried: about 20 ms. A tree that holds more orders of some rows than that is left
# with the best that was found.
MOST_TRIES = 20_000


def reuse_order(
    marks: Sequence[bytes], tokens: Sequence[int], root_key: bytes, tree: Tree
) -> list[int]:
    """Return the rows, by their numbers, with the longest prefix that is stored first.

    The tree is walked from the root, deepest first: every boundary that rows lead to is looked
    at once. The rows behind it stay in the order in which they came.

    Args:
        marks: what each row adds to the key of a boundary.
        tokens: of each row's segment.
        root_key: key of the boundary behind the head.
        tree: what is stored.
    """
    best: list[int] = []
    best_tokens = tries = 0
    path: list[int] = []
    used: set[int] = set()
    # (row that led here, its key, tokens so far); a row of -1 ends what was reached through the
    # last row of the path.
    waiting: list[tuple[int, bytes, int]] = [(-2, root_key, 0)]
    while waiting:
        row, key, reused = waiting.pop()
        if row == -1:
            used.discard(path.pop())
            continue
        if row >= 0:
            path.append(row)
            used.add(row)
            waiting.append((-1, b"", 0))
            if reused > best_tokens and tree.find(key) is not None:
                best, best_tokens = list(path), reused
        if tries >= MOST_TRIES or (row >= 0 and not tree.continues(key)):
            continue
        seen: set[bytes] = set()
        reached: list[tuple[int, bytes, int]] = []
        for number, mark in enumerate(marks):
            if number in used or mark in seen:
                continue
            seen.add(mark)
            tries += 1
            following = next_key(key, mark)
            if following in tree:
                reached.append((number, following, reused + tokens[number]))
        waiting += reversed(reached)
    chosen = set(best)
    return [*best, *(number for number in range(len(marks)) if number not in chosen)]
