"""Which nodes of a server are tags: browsing, explicit addresses, units and types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua

from galenic.connect.connector import TagInfo
from galenic.connect.opcua.values import TYPES
from galenic.errors import DataError, UnknownName

CHUNK = 500  # nodes per request; many servers refuse more than 1,000
MOST_NODES = 20_000
DEEPEST = 12

OBJECTS = ua.NodeId(ua.ObjectIds.ObjectsFolder)
PROPERTY = ua.NodeId(ua.ObjectIds.PropertyType)
HIERARCHICAL = ua.NodeId(ua.ObjectIds.HierarchicalReferences)
BUILT_IN_TYPES = 25


@dataclass(frozen=True)
class TagNode:
    """A tag and its node: the type a write must have, and whether there is history."""

    info: TagInfo
    node: ua.NodeId
    variant: ua.VariantType
    history: bool = False


@dataclass
class _Found:
    tag: str
    node: ua.NodeId
    unit_node: ua.NodeId | None = None
    unit: str = ""


class AddressBook:
    """Finds the nodes of tags in one session, and remembers them for its life.

    Parameters
    ----------
    session
        The stack's session, used for browse and read.
    nodes : mapping
        Explicit addresses: ``ns=2;s=Press.Force``, ``nsu=urn:x;s=Press.Force`` or a browse path
        below Objects as ``/2:Press/2:Force``.
    units : mapping
        Units by tag that the server does not tell or tells wrongly.
    root : str
        Browse path below Objects where the tags live; empty for all of Objects.
    """

    def __init__(
        self, session: Any, nodes: Mapping[str, str], units: Mapping[str, str], root: str = ""
    ) -> None:
        self._session = session
        self._explicit = nodes
        self._units = units
        self._root = root
        self._known: dict[str, TagNode] = {}
        self._complete = False

    async def find(self, tags: Sequence[str]) -> list[TagNode]:
        """The nodes of ``tags``; browses only when some have no explicit address."""
        missing = [tag for tag in tags if tag not in self._known]
        explicit = [tag for tag in missing if tag in self._explicit]
        await self._describe([_Found(tag, await self._resolve(tag)) for tag in explicit])
        if any(tag not in self._known for tag in tags):
            await self.all()
        for tag in tags:
            if tag not in self._known:
                raise UnknownName.among("tag", tag, self._known, where="OPC UA server")
        return [self._known[tag] for tag in tags]

    async def all(self) -> list[TagNode]:
        """Every scalar variable below the root, and the explicit ones, by tag."""
        if not self._complete:
            start = await self._path(self._root) if self._root else OBJECTS
            found = await self._browse(start)
            taken = {node.node for node in self._known.values()}
            await self._describe([f for f in found if f.node not in taken])
            rest = [tag for tag in self._explicit if tag not in self._known]
            await self._describe([_Found(tag, await self._resolve(tag)) for tag in rest])
            self._complete = True
        return [self._known[tag] for tag in sorted(self._known)]

    async def _resolve(self, tag: str) -> ua.NodeId:
        text = self._explicit[tag]
        if text.startswith("/"):
            return await self._path(text)
        try:
            if text.startswith("nsu="):
                uri, _, rest = text[4:].partition(";")
                return ua.NodeId.from_string(f"ns={await self._namespace(uri)};{rest}")
            return ua.NodeId.from_string(text)
        except (ValueError, ua.UaError) as error:
            raise DataError(
                f"{text!r} is not a node id", where=f"address of tag {tag}",
                expected="ns=2;s=Name, nsu=urn:x;s=Name or /2:Folder/2:Name",
            ) from error  # fmt: skip

    async def _namespace(self, uri: str) -> int:
        array = ua.NodeId(ua.ObjectIds.Server_NamespaceArray)
        (data,) = await self._session.read_attributes([array], ua.AttributeIds.Value)
        spaces = list(data.Value.Value)
        if uri not in spaces:
            raise UnknownName.among("namespace", uri, spaces, where="OPC UA server")
        return spaces.index(uri)

    async def _path(self, path: str) -> ua.NodeId:
        names = [part for part in path.strip("/").split("/") if part]
        elements = [
            ua.RelativePathElement(
                ReferenceTypeId=HIERARCHICAL, IsInverse=False, IncludeSubtypes=True,
                TargetName=ua.QualifiedName.from_string(name),
            )
            for name in names
        ]  # fmt: skip
        request = ua.BrowsePath(OBJECTS, ua.RelativePath(elements))
        (result,) = await self._session.translate_browsepaths_to_nodeids([request])
        if result.StatusCode.is_bad() or not result.Targets:
            raise UnknownName(
                f"there is no browse path {path!r}", where="OPC UA server",
                hint="each part is namespace:name, from Objects, as /2:Press/2:Force",
            )  # fmt: skip
        return result.Targets[0].TargetId

    async def _browse(self, start: ua.NodeId) -> list[_Found]:
        """Breadth first, many nodes per request; properties give the units."""
        found: dict[ua.NodeId, _Found] = {}
        level: list[tuple[str, ua.NodeId]] = [("", start)]
        seen = {start}
        for _ in range(DEEPEST):
            below: list[tuple[str, ua.NodeId]] = []
            for (path, parent), references in await self._children(level):
                for reference in references:
                    node, name = reference.NodeId, reference.BrowseName.Name
                    if reference.TypeDefinition == PROPERTY:
                        if name == "EngineeringUnits" and parent in found:
                            found[parent].unit_node = node
                        continue
                    if node in seen or node.NamespaceIndex == 0:
                        continue
                    seen.add(node)
                    tag = f"{path}.{name}" if path else name
                    below.append((tag, node))
                    if reference.NodeClass == ua.NodeClass.Variable:
                        found[node] = _Found(tag, node)
            if len(seen) > MOST_NODES:
                raise DataError(
                    f"the server has more than {MOST_NODES} nodes", where="browse",
                    hint="set root to the folder of the tags, or nodes to their addresses",
                )  # fmt: skip
            level = below
        return list(found.values())

    async def _children(
        self, level: Iterable[tuple[str, ua.NodeId]]
    ) -> list[tuple[Any, list[Any]]]:
        answer: list[tuple[Any, list[Any]]] = []
        for part in _chunks(list(level)):
            wanted = [_browse_description(node) for _, node in part]
            results = await self._session.browse(ua.BrowseParameters(NodesToBrowse=wanted))
            for place, result in zip(part, results, strict=True):
                references = list(result.References)
                point = result.ContinuationPoint
                while point:
                    request = ua.BrowseNextParameters(ContinuationPoints=[point])
                    (more,) = await self._session.browse_next(request)
                    references += more.References
                    point = more.ContinuationPoint
                answer.append((place, references))
        return answer

    async def _describe(self, found: list[_Found]) -> None:
        """Read type, access, description and unit of ``found``; keep those that are scalars."""
        if not found:
            return
        await self._find_units(found)
        nodes = [item.node for item in found]
        kinds = await self._read(nodes, ua.AttributeIds.DataType)
        access = await self._read(nodes, ua.AttributeIds.UserAccessLevel)
        texts = await self._read(nodes, ua.AttributeIds.Description)
        ranks = await self._read(nodes, ua.AttributeIds.ValueRank)
        odd = [i for i, kind in enumerate(kinds) if _variant(kind) is None]
        values = await self._read([nodes[i] for i in odd], ua.AttributeIds.Value, whole=True)
        variants = {i: value.Value.VariantType for i, value in zip(odd, values, strict=True)}
        for i, item in enumerate(found):
            variant = _variant(kinds[i]) or variants[i]
            if variant not in TYPES or (ranks[i] or -1) >= 0:
                continue
            level = access[i] or 0
            info = TagInfo(
                item.tag,
                self._units.get(item.tag, item.unit),
                bool(level >> ua.AccessLevel.CurrentWrite & 1),
                (texts[i].Text or "") if texts[i] is not None else "",
                TYPES[variant],
            )
            has_history = bool(level >> ua.AccessLevel.HistoryRead & 1)
            self._known[item.tag] = TagNode(info, item.node, variant, has_history)

    async def _find_units(self, found: list[_Found]) -> None:
        explicit = [(item.tag, item.node) for item in found if item.tag in self._explicit]
        by_node = {item.node: item for item in found}
        for (_, parent), references in await self._children(explicit):
            for reference in references:
                if reference.BrowseName.Name == "EngineeringUnits":
                    by_node[parent].unit_node = reference.NodeId
        having = [item for item in found if item.unit_node is not None]
        units = await self._read([item.unit_node for item in having], ua.AttributeIds.Value)
        for item, unit in zip(having, units, strict=True):
            if isinstance(unit, ua.EUInformation):
                item.unit = unit.DisplayName.Text or ""

    async def _read(self, nodes: Sequence[Any], attribute: int, whole: bool = False) -> list[Any]:
        answer: list[Any] = []
        for part in _chunks(list(nodes)):
            results = await self._session.read_attributes(part, attribute)
            answer += results if whole else [_value(result) for result in results]
        return answer


def _chunks(items: list[Any]) -> Iterable[list[Any]]:
    for first in range(0, len(items), CHUNK):
        yield items[first : first + CHUNK]


def _value(data: ua.DataValue) -> Any:
    bad = data.StatusCode is not None and data.StatusCode.is_bad()
    return None if bad or data.Value is None else data.Value.Value


def _variant(kind: Any) -> ua.VariantType | None:
    """The built-in type of a data type node, or None for derived and abstract ones."""
    if not isinstance(kind, ua.NodeId) or kind.NamespaceIndex or not kind.Identifier:
        return None
    if not isinstance(kind.Identifier, int) or kind.Identifier > BUILT_IN_TYPES:
        return None
    variant = ua.VariantType(kind.Identifier)
    return variant if variant in TYPES else None


def _browse_description(node: ua.NodeId) -> ua.BrowseDescription:
    return ua.BrowseDescription(
        NodeId=node,
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=HIERARCHICAL,
        IncludeSubtypes=True,
        NodeClassMask=ua.NodeClass.Object | ua.NodeClass.Variable,
        ResultMask=ua.BrowseResultMask.All,
    )
