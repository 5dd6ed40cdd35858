"""The connections by which ranks notice each other's death, within one process."""

import json
import socket

from supervised_runs import until
from torch.distributed import HashStore  # type: ignore[attr-defined]

from trainer.lifelines import FirstRankLifelines, OtherRankLifeline


def test_a_stranger_at_the_port_keeps_no_rank_out() -> None:
    """It is open to the network where a run trains on several machines."""
    store = HashStore()
    first = FirstRankLifelines(store, world=2, host=None)
    address = json.loads(store.get("fasa/lifeline"))
    with socket.create_connection((address["host"], address["port"])) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    other = OtherRankLifeline(store, rank=1)
    other.tell_use({"system/memory_mb": 5.0})
    until(lambda: first.uses == {1: {"system/memory_mb": 5.0}})
    first.close(is_over=True)
    other.close()
    assert first.death() is None
