"""Keep records that an auditor can check: write, verify, tamper, and see it found.

python examples/verify_site.py [folder]
"""

import sqlite3
import sys
from pathlib import Path

from galenic.clock import SECOND
from galenic.records import open_site
from galenic.signals import Sample


def main(folder: str = "audited") -> None:
    with open_site(folder, name="Example site") as store:
        for minute in range(3):
            samples = [
                Sample("Press.MainForce", 7.5 + second / 100, "kN", t := second * SECOND, t)
                for second in range(60 * minute, 60 * minute + 60)
            ]
            with store.transaction() as tx:
                tx.journal(samples, samples[-1].source_time)
                tx.samples(samples)
                tx.anchor(samples[-1].source_time)
        head = store.head()
        print(f"written. Keep this line elsewhere: {head.text}")
        print(store.verify(head).text)

    with sqlite3.connect(Path(folder) / "site.sqlite") as database:  # somebody improves a value
        database.execute("UPDATE journal SET body = replace(body, '7.65', '7.05')")
    database.close()

    with open_site(folder, readonly=True) as store:
        print(store.verify(head).text)


if __name__ == "__main__":
    main(*sys.argv[1:])
