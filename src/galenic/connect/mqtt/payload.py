"""The messages of Sparkplug B 3.0 (chapter 6.4) in protocol buffers: field numbers and types.

The messages are built from the table below at import, in a pool of their own, so that another
Sparkplug library in the same process does not collide with them. Data sets, templates and meta
data are kept as the bytes they are: nothing here reads them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from galenic.errors import DataError

_FIELD = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
    "bool": _FIELD.TYPE_BOOL,
    "float": _FIELD.TYPE_FLOAT,
    "double": _FIELD.TYPE_DOUBLE,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
}
_PACKAGE = "galenic.sparkplug"

# number, name, type; a type with a star is repeated, one in capitals another message of the table
_MESSAGES = {
    "PropertyValue": (
        (1, "type", "uint32"),
        (2, "is_null", "bool"),
        (3, "int_value", "uint32"),
        (4, "long_value", "uint64"),
        (5, "float_value", "float"),
        (6, "double_value", "double"),
        (7, "boolean_value", "bool"),
        (8, "string_value", "string"),
    ),
    "PropertySet": ((1, "keys", "string*"), (2, "values", "PropertyValue*")),
    "Metric": (
        (1, "name", "string"),
        (2, "alias", "uint64"),
        (3, "timestamp", "uint64"),
        (4, "datatype", "uint32"),
        (5, "is_historical", "bool"),
        (6, "is_transient", "bool"),
        (7, "is_null", "bool"),
        (8, "metadata", "bytes"),
        (9, "properties", "PropertySet"),
        (10, "int_value", "uint32"),
        (11, "long_value", "uint64"),
        (12, "float_value", "float"),
        (13, "double_value", "double"),
        (14, "boolean_value", "bool"),
        (15, "string_value", "string"),
        (16, "bytes_value", "bytes"),
        (17, "dataset_value", "bytes"),
        (18, "template_value", "bytes"),
    ),
    "Payload": (
        (1, "timestamp", "uint64"),
        (2, "metrics", "Metric*"),
        (3, "seq", "uint64"),
        (4, "uuid", "string"),
        (5, "body", "bytes"),
    ),
}
VALUE = "value"


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="galenic/sparkplug.proto", package=_PACKAGE, syntax="proto2"
    )
    for message, rows in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, name, kind in rows:
            plain = kind.removesuffix("*")
            field = described.field.add(name=name, number=number)
            if name.endswith("_value"):  # at most one of them is set
                if not described.oneof_decl:
                    described.oneof_decl.add(name=VALUE)
                field.oneof_index = 0
            field.label = _FIELD.LABEL_REPEATED if kind.endswith("*") else _FIELD.LABEL_OPTIONAL
            if plain in _KINDS:
                field.type = _KINDS[plain]
            else:
                field.type = _FIELD.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{plain}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _build()
Payload = _CLASSES["Payload"]
Metric = _CLASSES["Metric"]
PropertySet = _CLASSES["PropertySet"]


def decode(data: bytes, where: str) -> Any:
    """The payload in ``data``; DataError names ``where`` it came from."""
    try:
        return Payload.FromString(data)
    except DecodeError as error:
        raise DataError(
            "not a Sparkplug B payload", where=where, expected="protocol buffers of Sparkplug B 3.0"
        ) from error
