"""The ledger as a Merkle log: roots, inclusion and consistency proofs (RFC 6962, SHA-256).

A leaf is the bytes of one ledger entry. The tree is laid over the entries; it changes none of
them, and the chain from each to the one before stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Range = Callable[[int, int], bytes]
"""The root over the leaves start <= index < stop."""

EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf; the prefix keeps it apart from every node (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


@dataclass(frozen=True)
class Frontier:
    """The roots of the complete subtrees of a tree, largest first: all that appending needs."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> tuple[Frontier, list[bytes]]:
        """The tree with one more leaf hash, and the nodes it completes, of level 1, 2, ..."""
        peaks, node, done, size = list(self.peaks), leaf, [], self.size
        while size & 1:
            node = node_hash(peaks.pop(), node)
            done.append(node)
            size >>= 1
        return Frontier(self.size + 1, (*peaks, node)), done

    @property
    def root(self) -> bytes:
        """The hash of the whole tree."""
        if not self.peaks:
            return EMPTY
        *left, root = self.peaks
        for peak in reversed(left):
            root = node_hash(peak, root)
        return root


def split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def root_over(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier, _ = frontier.append(leaf)
    return frontier.root


def inclusion(index: int, size: int, root: Range) -> list[bytes]:
    """The proof that leaf ``index`` is in the tree of ``size`` leaves (2.1.1)."""
    return _path(index, 0, size, root)


def _path(index: int, start: int, stop: int, root: Range) -> list[bytes]:
    if stop - start == 1:
        return []
    middle = start + split(stop - start)
    if index < middle:
        return [*_path(index, start, middle, root), root(middle, stop)]
    return [*_path(index, middle, stop, root), root(start, middle)]


def consistency(first: int, second: int, root: Range) -> list[bytes]:
    """The proof that the tree of ``first`` leaves begins that of ``second`` (2.1.2)."""
    return _proof(first, 0, second, True, root) if 0 < first < second else []


def _proof(first: int, start: int, stop: int, is_whole: bool, root: Range) -> list[bytes]:
    if first == stop - start:
        return [] if is_whole else [root(start, stop)]
    half = split(stop - start)
    middle = start + half
    if first <= half:
        return [*_proof(first, start, middle, is_whole, root), root(middle, stop)]
    return [*_proof(first - half, middle, stop, False, root), root(start, middle)]


def is_included(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof leads from a leaf hash to the root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, result = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            result = node_hash(step, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, step)
        node, last = node >> 1, last >> 1
    return last == 0 and result == root


def is_consistent(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the proof shows that the first tree is the beginning of the second (2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    steps = list(proof) if first & (first - 1) else [first_root, *proof]
    if not steps:
        return False
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, step)
        node, last = node >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root
