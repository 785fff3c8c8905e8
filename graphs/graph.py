"""The graph: propose → plan → probe → verify → accept, with escalations back to probe.

Before a probe that may cost more than a set price stands *approve*, where a person is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langgraph.graph import END, START, StateGraph

from curveroute.graphs.context import Context
from curveroute.graphs.edges import after_verify, to_probes
from curveroute.graphs.either_way import Edge, Node
from curveroute.graphs.langsmith_client import make_client
from curveroute.graphs.nodes import Nodes
from curveroute.graphs.state import Input, Output, ProbeInput, State

if TYPE_CHECKING:
    from typing import TypeAlias

    Graph: TypeAlias = StateGraph[State, Context, Input, Output]


def build(default: Context | None = None) -> Graph:
    """The uncompiled graph, for your own checkpointer, cache and store, or as a subgraph.

    A checkpointer holds the classes in ``STATE_TYPES``; give its serializer that list, or set
    ``LANGGRAPH_STRICT_MSGPACK=true``, and it reads them back without a word.

    Args:
        default: settings and parts for runs whose context brings none.
    """
    make_client()
    nodes = Nodes(default)
    graph: Graph = StateGraph(State, context_schema=Context, input_schema=Input, output_schema=Output)
    graph.add_node("propose", Node(nodes.propose))
    graph.add_node("plan", Node(nodes.plan))
    graph.add_node("approve", Node(nodes.approve))
    graph.add_node("probe", Node(nodes.probe), input_schema=ProbeInput)
    graph.add_node("verify", Node(nodes.verify))
    graph.add_node("escalate", Node(nodes.escalate))
    graph.add_node("accept", Node(nodes.accept))
    graph.add_edge(START, "propose")
    graph.add_edge("propose", "plan")
    graph.add_conditional_edges("plan", Edge(to_probes), ["probe", "approve"])
    graph.add_conditional_edges("approve", Edge(to_probes), ["probe", "accept"])
    graph.add_edge("probe", "verify")
    graph.add_conditional_edges("verify", Edge(after_verify), ["accept", "escalate"])
    graph.add_conditional_edges("escalate", Edge(to_probes), ["probe", "approve"])
    graph.add_edge("accept", END)
    return graph
