"""The plant tower's memory: journal, ledger, history, artefacts, jobs and people of a site."""

from galenic.records.ledger import Entry, Head
from galenic.records.opening import open_site
from galenic.records.store import Artefact, Checkpoint, Segment, Store, Transaction
from galenic.records.verify import VerifyReport

__all__ = [
    "Artefact",
    "Checkpoint",
    "Entry",
    "Head",
    "Segment",
    "Store",
    "Transaction",
    "VerifyReport",
    "open_site",
]
