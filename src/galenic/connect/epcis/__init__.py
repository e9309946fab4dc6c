"""EPCIS 2.0: events of serialised goods and their sensors, as samples and as a state of goods."""

from galenic.connect.epcis.client import EpcisConnector
from galenic.connect.epcis.document import document_of, events_of
from galenic.connect.epcis.event import Event, event_of
from galenic.connect.epcis.goods import Goods
from galenic.connect.epcis.identity import event_hash, identity
from galenic.connect.epcis.query import Query, Recorded
from galenic.connect.epcis.state import State

__all__ = [
    "EpcisConnector",
    "Event",
    "Goods",
    "Query",
    "Recorded",
    "State",
    "document_of",
    "event_hash",
    "event_of",
    "events_of",
    "identity",
]
