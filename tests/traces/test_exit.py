"""The end of a process: it waits for a healthy receiver, and not for one that takes connections and never answers."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from curveroute.agent.errors import SettingError
from curveroute.agent.settings import last_traces_s

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = """
from curveroute import Router
from curveroute.agent.chat.seam import Reply
from curveroute.agent.embed import default_embedder
from curveroute.agent.ledger import NullLedger
from curveroute.agent.pool import Pool, PoolSpec
from curveroute.agent.propose import Outlooker
from curveroute.agent.types import Usage
from curveroute.graphs import Context, Parts

class Instant:
    async def complete(self, call, *, on_token=None, may_resend=None):
        return Reply("Answer: Lisbon", Usage(40, 10), "stop", 0.01)

    async def aclose(self):
        pass

model = {"id": "m", "endpoint": "http://127.0.0.1:1/v1", "prices": {"input": 1, "output": 1}, "context_window": 999,
         "prior": [{"budget": 64, "quality": 0.6}]}
spec = PoolSpec.model_validate({"name": "one", "system": "Be right.", "models": [model],
                                "budgets": [{"tokens": 64, "name": "b", "style": "Use {tokens} tokens."}]})
pool = Pool(spec, prices={"m": spec.models[0].prices})
parts = Parts(pool, Instant(), default_embedder(), Outlooker(pool, None), NullLedger())
print(Router(Context(plan=False, judge=False, parts=parts)).invoke("What is the capital of Portugal?").answer)
"""


def end_of(url: str, **more: str) -> str:
    """What a traced program of its own says; it is killed, and the test fails, where it does not end."""
    env: Mapping[str, str] = {
        **os.environ,
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_ENDPOINT": url,
        "LANGSMITH_API_KEY": "lsv2_a_key",
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("receiver", [{"silent": True}], indirect=True)
def test_a_process_ends_though_its_receiver_never_answers(receiver: Any) -> None:
    assert end_of(receiver.url, CURVEROUTE_LAST_TRACES_S="1") == "Answer: Lisbon"
    assert receiver.runs == {}


@pytest.mark.parametrize("receiver", [{"zstd": False}, {"zstd": True}], indirect=True, ids=["plain", "zstd"])
def test_a_healthy_receiver_gets_the_whole_trace_of_a_process_that_ends_at_once(receiver: Any) -> None:
    assert end_of(receiver.url, CURVEROUTE_LAST_TRACES_S="50") == "Answer: Lisbon"
    (graph,) = receiver.roots()
    assert (graph["name"], bool(graph["end_time"])) == ("curveroute", True)
    assert [run["name"] for run in receiver.below(graph)] == ["propose", "plan", "probe", "verify", "accept"]
    assert all(run["end_time"] for run in receiver.runs.values())


def test_the_wait_is_a_number_of_seconds() -> None:
    assert last_traces_s({}) == 5.0
    assert last_traces_s({"CURVEROUTE_LAST_TRACES_S": "0"}) == 0.0
    for wrong in ("soon", "-1", "nan", "inf"):
        with pytest.raises(SettingError, match=f"CURVEROUTE_LAST_TRACES_S is '{wrong}'"):
            last_traces_s({"CURVEROUTE_LAST_TRACES_S": wrong})
