"""The Merkle log against the vectors of transparency-dev/merkle (testonly/constants.go)."""

from __future__ import annotations

import pytest

from galenic.records import merkle
from galenic.records.merkle import Frontier, is_consistent, is_included, leaf_hash, root_over

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
PATH_6_IN_7 = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]
PROOF_6_8 = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]
PROOF_3_7 = [
    "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
    "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e",
]

HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def over(start, stop):
    return root_over(HASHES[start:stop])


def hexed(proof):
    return [node.hex() for node in proof]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_vectors(size):
    assert ROOTS[size] == over(0, size)


def test_proofs_are_those_of_the_vectors():
    assert PATH_6_IN_7 == hexed(merkle.inclusion(6, 7, over))
    assert PROOF_6_8 == hexed(merkle.consistency(6, 8, over))
    assert PROOF_3_7 == hexed(merkle.consistency(3, 7, over))


def test_every_leaf_is_in_every_tree_that_has_it():
    for size in range(1, 9):
        for index in range(size):
            proof = merkle.inclusion(index, size, over)
            assert is_included(index, size, HASHES[index], proof, ROOTS[size])


def test_every_tree_is_the_beginning_of_every_later_one():
    for second in range(1, 9):
        for first in range(1, second + 1):
            proof = merkle.consistency(first, second, over)
            assert is_consistent(first, second, ROOTS[first], ROOTS[second], proof)


def flips(data):
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def test_any_flipped_bit_of_leaf_proof_root_or_index_fails_inclusion():
    proof = merkle.inclusion(6, 7, over)

    assert is_included(6, 7, HASHES[6], proof, ROOTS[7])
    assert not any(is_included(6, 7, leaf, proof, ROOTS[7]) for leaf in flips(HASHES[6]))
    assert not any(is_included(6, 7, HASHES[6], proof, root) for root in flips(ROOTS[7]))
    for n, node in enumerate(proof):
        for changed in flips(node):
            bad = [*proof[:n], changed, *proof[n + 1 :]]
            assert not is_included(6, 7, HASHES[6], bad, ROOTS[7])
    for index in (*range(6), 7, 8, -1):
        assert not is_included(index, 7, HASHES[6], proof, ROOTS[7])
    assert not is_included(6, 7, HASHES[6], proof[:1], ROOTS[7])
    assert not is_included(6, 7, HASHES[6], [*proof, proof[0]], ROOTS[7])


@pytest.mark.parametrize(("first", "second"), [(6, 8), (3, 7), (4, 8)])
def test_any_flipped_bit_of_proof_or_roots_fails_consistency(first, second):
    proof = merkle.consistency(first, second, over)

    for root in flips(ROOTS[first]):
        assert not is_consistent(first, second, root, ROOTS[second], proof)
    for root in flips(ROOTS[second]):
        assert not is_consistent(first, second, ROOTS[first], root, proof)
    for n, node in enumerate(proof):
        for changed in flips(node):
            bad = [*proof[:n], changed, *proof[n + 1 :]]
            assert not is_consistent(first, second, ROOTS[first], ROOTS[second], bad)
    assert not is_consistent(first, second, ROOTS[first], ROOTS[second], proof[:-1])
    assert not is_consistent(first, second, ROOTS[first], ROOTS[second], [*proof, proof[0]])
    assert not is_consistent(first, second, ROOTS[first], ROOTS[second], [])


def test_no_proof_is_needed_or_taken_for_the_same_or_for_no_tree():
    assert is_consistent(5, 5, ROOTS[5], ROOTS[5], [])
    assert not is_consistent(5, 5, ROOTS[5], ROOTS[6], [])
    assert not is_consistent(0, 5, ROOTS[0], ROOTS[5], [])
    assert not is_consistent(6, 5, ROOTS[6], ROOTS[5], [])


def test_a_node_does_not_pass_for_a_leaf():
    """The 64 bytes below the root of two leaves are no entry (second preimage)."""
    forged = leaf_hash(HASHES[0] + HASHES[1])

    assert forged != ROOTS[2]
    assert not is_included(0, 1, forged, [], ROOTS[2])


def test_appending_reaches_the_same_roots_and_names_the_nodes_it_completes():
    frontier, levels = Frontier(), []
    for number, leaf in enumerate(HASHES, 1):
        frontier, done = frontier.append(leaf)
        levels.append(len(done))
        assert ROOTS[number] == frontier.root

    assert [0, 1, 0, 2, 0, 1, 0, 3] == levels
    assert done[-1] == ROOTS[8]
