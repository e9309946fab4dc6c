"""The Merkle tree of a site's ledger in its database.

The nodes from level `STORED` up are kept as entries complete them; what lies below is computed
from the entries themselves. So an append costs constant time, and a proof reads a few rows.
"""

from __future__ import annotations

from galenic.records.merkle import Frontier, leaf_hash, node_hash, root_over, split
from galenic.records.sql import Connection

STORED = 6


def append(connection: Connection, frontier: Frontier, body: bytes) -> Frontier:
    """The frontier after one more entry; the nodes that it completes are kept."""
    after, done = frontier.append(leaf_hash(body))
    for level, node in enumerate(done, 1):
        if level >= STORED:
            connection.execute(
                "INSERT INTO nodes VALUES (?, ?, ?)", (level, frontier.size >> level, node)
            )
    return after


def fill(connection: Connection) -> Frontier:
    """Build the tree of a ledger that was begun without one."""
    frontier = Frontier()
    for (body,) in connection.stream("SELECT body FROM ledger ORDER BY number"):
        frontier = append(connection, frontier, body)
    return frontier


def frontier_of(connection: Connection, size: int) -> Frontier:
    """The frontier of the first ``size`` entries."""
    peaks, start = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            peaks.append(root_of(connection, start, start + (1 << level)))
            start += 1 << level
    return Frontier(size, tuple(peaks))


def root_of(connection: Connection, start: int, stop: int) -> bytes:
    """The root over entries start <= index < stop; start is a multiple of the largest subtree."""
    count = stop - start
    level = count.bit_length() - 1
    if count == 1 << level and level >= STORED:
        found = connection.execute(
            "SELECT hash FROM nodes WHERE level = ? AND position = ?", (level, start >> level)
        ).fetchone()
        if found is not None:
            return bytes(found[0])
    if count <= 1 << STORED:
        rows = connection.execute(
            "SELECT body FROM ledger WHERE number >= ? AND number < ? ORDER BY number",
            (start, stop),
        ).fetchall()
        return root_over([leaf_hash(body) for (body,) in rows])
    middle = start + split(count)
    return node_hash(root_of(connection, start, middle), root_of(connection, middle, stop))
