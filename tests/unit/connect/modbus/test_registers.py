"""Register maps: types, orders, scales and blocks. Bytes as in IEEE 754 and two's complement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.connect.connector import TagInfo
from galenic.connect.modbus.registers import NUMBERS, Block, Register, blocks, registers_of
from galenic.errors import DataError, UnknownName


@pytest.mark.parametrize(
    ("register", "raw", "value"),
    [
        (Register(0, type="int16"), [0xFFFB], -5),
        (Register(0, type="uint16"), [0xFFFB], 65_531),
        (Register(0, type="int32"), [0xFFFF, 0xFFFB], -5),
        (Register(0, type="uint32"), [0x0001, 0x0002], 65_538),
        (Register(0, type="uint32", word_order="little"), [0x0002, 0x0001], 65_538),
        (Register(0, type="uint32", byte_order="little"), [0x0100, 0x0200], 65_538),
        (Register(0, type="int64"), [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE], -2),
        (Register(0, type="uint64"), [0x8000, 0, 0, 1], 9_223_372_036_854_775_809),
        (Register(0, type="float32"), [0x4248, 0x0000], 50.0),
        (Register(0, type="float32", word_order="little"), [0x0000, 0x4248], 50.0),
        (
            Register(0, type="float32", word_order="little", byte_order="little"),
            [0x0000, 0x4842],
            50.0,
        ),
        (Register(0, type="float64"), [0x404E, 0x2000, 0, 0], 60.25),
        (Register(0, type="int16", scale=0.25), [86], 21.5),
        (Register(0, type="int16", scale=0.5, offset=-40), [20], -30.0),
        (Register(0, bit=0), [0x0001], True),
        (Register(0, bit=15), [0x8000], True),
        (Register(0, bit=8), [0x00FF], False),
        (Register(0, bit=0, byte_order="little"), [0x0100], True),
        (Register(0, table="coil"), [1], True),
        (Register(0, type="str", length=2), [0x4F4B, 0x0000], "OK"),
        (Register(0, type="str", length=2, byte_order="little"), [0x4B4F, 0x0021], "OK!"),
        (Register(0, type="int16", bad=(32767,)), [0x7FFF], None),
        (Register(0, type="float32"), [0x7FC0, 0x0000], None),
        (Register(0, type="float32"), [0x7F80, 0x0000], None),
    ],
)
def test_the_value_in_registers(register, raw, value):
    decoded = register.decode(raw)

    assert decoded == value
    assert type(decoded) is type(value)


@given(
    st.sampled_from(sorted(NUMBERS)), st.sampled_from(["big", "little"]),
    st.sampled_from(["big", "little"]), st.data(),
)  # fmt: skip
def test_what_is_written_is_read_again(kind, words, order, data):
    register = Register(0, type=kind, word_order=words, byte_order=order)
    bits = 16 * register.count
    raw = data.draw(st.lists(st.integers(0, 65_535), min_size=bits // 16, max_size=bits // 16))
    value = register.decode(raw)

    if value is not None:
        assert register.decode(register.encode(value)) == value
        assert register.encode(value) == raw


@pytest.mark.parametrize(
    ("register", "value"),
    [
        (Register(0, type="int16"), 32_768),
        (Register(0, type="uint16"), -1),
        (Register(0, type="int16", scale=0.1), 4000.0),
        (Register(0, type="float32"), 1e39),
        (Register(0, type="str", length=1), "abc"),
        (Register(0, type="str", length=3), "€"),
        (Register(0, type="int16", bad=(-1,)), -1),
    ],
)
def test_what_does_not_fit_is_refused(register, value):
    with pytest.raises(DataError, match="cannot be sent"):
        register.encode(value)


def test_a_scaled_integer_holds_the_nearest_value():
    register = Register(0, type="int16", scale=0.1)

    assert register.encode(21.46) == [215]


@pytest.mark.parametrize(
    ("register", "kind"),
    [
        (Register(0), "int"),
        (Register(0, scale=0.1), "float"),
        (Register(0, type="float32"), "float"),
        (Register(0, bit=1), "bool"),
        (Register(0, table="discrete"), "bool"),
        (Register(0, type="str", length=4), "str"),
    ],
)
def test_the_type_of_the_tag(register, kind):
    assert register.info("x") == TagInfo("x", type=kind)


def test_neighbours_are_read_together():
    registers = {
        "a": Register(0, type="float32"),
        "b": Register(2),
        "b again": Register(2, bit=3),
        "c": Register(5),
        "far": Register(200),
        "in": Register(3, table="input"),
        "coil": Register(0, table="coil"),
    }

    assert blocks(registers) == [
        Block("coil", 0, 1, ("coil",)),
        Block("holding", 0, 3, ("a", "b", "b again")),
        Block("holding", 5, 1, ("c",)),
        Block("holding", 200, 1, ("far",)),
        Block("input", 3, 1, ("in",)),
    ]
    assert blocks(registers, gap=2)[1] == Block("holding", 0, 6, ("a", "b", "b again", "c"))


@given(st.dictionaries(st.text(), st.integers(0, 1000), min_size=1), st.integers(0, 100))
def test_every_register_is_in_one_block_that_a_device_can_answer(addresses, gap):
    registers = {tag: Register(address, type="float64") for tag, address in addresses.items()}

    found = blocks(registers, gap)

    assert sorted(tag for block in found for tag in block.tags) == sorted(registers)
    for block in found:
        assert block.count <= 125
        for tag in block.tags:
            assert block.address <= registers[tag].address
            assert registers[tag].address + 4 <= block.address + block.count


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "the address is not given"),
        ({"address": "40001"}, "expected: int"),
        ({"address": 70_000}, "outside 0 to 65535"),
        ({"address": 65_535, "type": "float32"}, "outside 0 to 65535"),
        ({"address": 1, "table": "holdings"}, "did you mean 'holding'"),
        ({"address": 1, "type": "real"}, "there is no type 'real'"),
        ({"address": 1, "word_order": "middle"}, "there is no word_order"),
        ({"address": 1, "adress": 2}, "did you mean 'address'"),
        ({"address": 1, "type": "bool"}, "needs its bit"),
        ({"address": 1, "bit": 16}, "0 to 15"),
        ({"address": 1, "bit": 1, "writable": True}, "cannot be written"),
        ({"address": 1, "table": "input", "writable": True}, "cannot be written"),
        ({"address": 1, "scale": 0}, "cannot be undone"),
        ({"address": 1, "scale": "0.1"}, "expected: int or float"),
        ({"address": 1, "type": "str"}, "needs 1 to 125"),
        ({"address": True}, "expected: int"),
    ],
)
def test_a_wrong_map_is_named_with_its_tag(given, words):
    with pytest.raises((DataError, UnknownName)) as error:
        registers_of({"Press.Force": given}, "map")

    assert words in str(error.value)
    assert "tag Press.Force" in str(error.value)


def test_a_map_in_a_file(tmp_path):
    path = tmp_path / "map.toml"
    path.write_text(
        '["Press.Force"]\naddress = 10\ntype = "float32"\nunit = "kN"\nbad = [-999.0]\n'
    )

    found = registers_of(path, "connection press")

    assert found == {"Press.Force": Register(10, type="float32", unit="kN", bad=(-999.0,))}


@pytest.mark.parametrize("text", [None, "[x"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, text):
    path = tmp_path / "map.toml"
    if text:
        path.write_text(text)

    with pytest.raises(DataError, match=r"map\.toml|TOML"):
        registers_of(path, "connection press")
