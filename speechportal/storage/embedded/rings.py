"""Program that writes the rings of the embedded Swift, which assign objects to servers.

A separate program, since importing Swift changes the importing process: its threads become green threads of
eventlet. Arguments: the folder, and the ports of the account, container and object servers.
"""

from __future__ import annotations

import sys
from pathlib import Path

HOST = "127.0.0.1"
DEVICE = "d1"
PART_POWER = 4  # Sixteen partitions are enough for one device. Stored data depends on it.


def main(folder: Path, ports: dict[str, int]) -> None:
    """Write one ring for each server."""
    from swift.common.ring import RingBuilder

    for name, port in ports.items():
        builder = RingBuilder(PART_POWER, replicas=1, min_part_hours=1)
        builder.add_dev({"region": 1, "zone": 1, "ip": HOST, "port": port, "device": DEVICE, "weight": 1.0})
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{name}.ring.gz"))


if __name__ == "__main__":
    names = ("account", "container", "object")
    main(Path(sys.argv[1]), dict(zip(names, map(int, sys.argv[2:]), strict=True)))
