"""Where contents are hidden, no error, event or parameter of any span tells them either: nothing of them is sent."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command
from pydantic import BaseModel, field_validator

from curveroute import RouterChat
from curveroute.agent.chat.seam import Reply
from curveroute.agent.embed.openai_embed import OpenAIEmbedder
from curveroute.agent.errors import CurverouteError, EmbedError, QueryError, SchemaUnmet
from curveroute.agent.ledger import Ledger
from curveroute.agent.types import ToolCall, Usage
from curveroute.graphs import STATE_TYPES, build
from curveroute.graphs.portal import PORTAL

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import House

MARKER = "xyzzy"
QUERY = f"Where is {MARKER}?"
THREAD: Any = {"configurable": {"thread_id": "1"}}


class City(BaseModel):
    """A city."""

    name: str
    size: int


class Picky(BaseModel):
    """What no answer is good enough for."""

    name: str

    @field_validator("name")
    @classmethod
    def never(cls, value: str) -> str:
        message = f"{value} will not do"
        raise ValueError(message)


def xyzzy(place: str) -> str:
    """Go to xyzzy."""
    return place


def called(tool: str, **arguments: Any) -> Reply:
    call = ToolCall(call_id="c1", name=tool, arguments=json.dumps(arguments))
    return Reply("", Usage(30, 10), "tool_calls", 0.1, tool_calls=(call,))


def able(house: type[House], **changes: Any) -> Any:
    """A pool whose models can do everything."""
    plain = house.pool(budgets=(64, 256), **changes)
    document = plain.spec.model_dump()
    for model in document["models"]:
        model["capabilities"] = ["tools", "json", "images"]
    spec = type(plain.spec).model_validate(document)
    return type(plain)(spec, prices={one.id: one.prices for one in spec.models if one.prices is not None})


def chat_of(house: type[House], answer: Any, **settings: Any) -> RouterChat:
    return RouterChat.from_router(house.router(able(house), house.chat(answer), **settings))


@pytest.fixture(
    params=[("CURVEROUTE_HIDE_CONTENTS",), ("LANGSMITH_HIDE_INPUTS", "LANGSMITH_HIDE_OUTPUTS")],
    ids=["own", "langsmith"],
)
def hiding(request: pytest.FixtureRequest, langsmith_on: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """LangSmith with contents hidden, by our variable or by its own."""
    for name in request.param:
        monkeypatch.setenv(name, "true")
    langsmith_on.forget()
    return langsmith_on


def assert_untold(langsmith: Any, *, errors: bool) -> None:
    told = langsmith.settle()
    runs = list(told.runs.values())
    assert runs
    assert any(run.get("error") for run in runs) is errors
    for run in runs:
        for name, value in run.items():
            assert name == "name" or MARKER not in json.dumps(value), (run["name"], name)
    assert not any(MARKER in json.dumps(one) for one in told.feedback.values())


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize("raw", [False, True])
def test_an_answer_that_does_not_fit_its_schema(house: type[House], hiding: Any, method: Any, raw: bool) -> None:
    wrong = {"name": MARKER, "size": MARKER}
    answer = json.dumps(wrong) if method == "json_schema" else called("City", **wrong)
    with chat_of(house, lambda _: answer) as chat:
        asked = chat.with_structured_output(City, method=method, include_raw=raw)
        if raw:
            assert isinstance(asked.invoke(QUERY)["parsing_error"], SchemaUnmet)
        else:
            with pytest.raises(SchemaUnmet, match="runs show"):
                asked.invoke(QUERY)
            with pytest.raises(SchemaUnmet, match="runs show"):
                list(asked.stream(QUERY))
    assert_untold(hiding, errors=True)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_an_answer_that_its_model_refuses(house: type[House], hiding: Any, method: Any) -> None:
    answer = json.dumps({"name": MARKER}) if method == "json_schema" else called("Picky", name=MARKER)
    async with chat_of(house, lambda _: answer) as chat:
        asked = chat.with_structured_output(Picky, method=method)
        with pytest.raises(OutputParserException, match="hidden here"):
            asked.invoke(QUERY)
        with pytest.raises(OutputParserException, match="hidden here"):
            await asked.ainvoke(QUERY)
    assert_untold(hiding, errors=True)


def test_an_agent_that_ends_because_nothing_fits(house: type[House], hiding: Any) -> None:
    agents = pytest.importorskip("langchain.agents")
    with chat_of(house, lambda _: called(MARKER, name=MARKER)) as chat:
        agent = agents.create_agent(chat, [], response_format=City)
        with pytest.raises(SchemaUnmet, match="runs show"):
            agent.invoke({"messages": [("human", QUERY)]})
    assert_untold(hiding, errors=True)


def test_where_nothing_is_hidden_both_quote_the_answer(house: type[House], langsmith_on: Any) -> None:
    with chat_of(house, lambda _: json.dumps({"name": MARKER, "size": MARKER})) as chat:
        with pytest.raises(SchemaUnmet, match=f'at size: "{MARKER}"'):
            chat.with_structured_output(City).invoke(QUERY)
        with pytest.raises(OutputParserException, match=f"{MARKER} will not do"):
            chat.with_structured_output(Picky).invoke(QUERY)
    told = langsmith_on.settle()
    assert any(run["name"] == "PydanticOutputParser" and MARKER in run["error"] for run in told.runs.values())


def test_tools_schemas_and_stop_texts(house: type[House], hiding: Any) -> None:
    with chat_of(house, lambda _: "Nowhere.") as chat:
        chat.bind_tools([xyzzy]).invoke(QUERY)
        chat.invoke(QUERY, stop=[MARKER])
        list(chat.stream(QUERY, stop=[MARKER]))
        chat.with_structured_output({"title": "A", "type": "object", "description": MARKER}, include_raw=True).invoke(
            QUERY
        )
    told = hiding.settle()
    names = {
        tool["function"]["name"] for run in told.models() for tool in run["extra"]["invocation_params"].get("tools", [])
    }
    assert names == {"xyzzy"}, "a tool's name is the program's"
    for run in told.runs.values():
        rest = json.dumps(run).replace('"name": "xyzzy"', "")
        assert MARKER not in rest


def test_stop_texts_are_kept_apart_in_a_cache_where_they_are_hidden(house: type[House], hiding: Any) -> None:
    from langchain_core.caches import InMemoryCache

    with chat_of(house, lambda call: f"Until {call.stop}.") as chat:
        cached = chat.model_copy(update={"cache": InMemoryCache()})
        told = [cached.invoke(QUERY, stop=[end]).content for end in ("a", "b", "a")]
    assert told == ["Until ('a',).", "Until ('b',).", "Until ('a',)."]
    assert_untold(hiding, errors=False)


@pytest.mark.parametrize(
    "reply",
    [
        json.dumps({"order": [MARKER], "probe": True, "criteria": ""}),
        json.dumps({"order": ["A"], "probe": True, "criteria": "", MARKER: 1}),
        None,
    ],
    ids=["unknown", "stray", "failed"],
)
def test_a_planner_that_is_not_followed(house: type[House], hiding: Any, reply: str | None) -> None:
    def answer(call: Any) -> Any:
        if call.role == "planner":
            return reply or house.dead(f"cannot plan {MARKER}")
        return "Answer: Lisbon"

    models = {"a": (0.4, 0.5, 0.1), "b": (0.4, 0.5, 0.11), "best": (0.6, 0.8, 0.5)}
    pool = house.pool(models, planner="best", planner_lift=1.0)
    route = house.router(pool, house.chat(answer), tradeoff=0.01).invoke(QUERY)
    assert route.plan is not None
    assert MARKER in route.plan.reason, "the caller is told"
    assert_untold(hiding, errors=reply is None)


def test_an_embedder_that_repeats_what_it_could_not_embed(
    house: type[House], hiding: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx2
    from openai import AsyncOpenAI

    def refuse(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(400, json={"error": {"message": f"cannot embed {request.content.decode()}"}})

    def client(_: object, key: str | None) -> AsyncOpenAI:
        transport = httpx2.AsyncClient(transport=httpx2.MockTransport(refuse))
        return AsyncOpenAI(base_url="http://nowhere", api_key=key or "none", http_client=transport, max_retries=0)

    monkeypatch.setattr(OpenAIEmbedder, "_client", client)
    embedder = OpenAIEmbedder("e", dim=8, base_url="http://nowhere")

    async def embed(route: Any) -> Any:  # as the node does that proposes
        return await embedder.embed([route.answer])

    router = house.router(house.pool(), house.chat(lambda _: f"In {MARKER}"))
    with pytest.raises(EmbedError, match="hidden"):
        PORTAL.call((router | RunnableLambda(embed)).ainvoke(QUERY))
    assert_untold(hiding, errors=True)


def test_what_is_no_conversation(house: type[House], hiding: Any) -> None:
    router = house.router(house.pool(), house.chat(lambda _: "Lisbon"))
    with pytest.raises(QueryError, match="not a conversation"):
        (RunnableLambda(lambda _: [{"content": MARKER}]) | router).invoke(QUERY)
    graph = build(router.context).compile()
    with pytest.raises(QueryError, match="not a conversation"):
        PORTAL.call(graph.ainvoke({"messages": [{"content": MARKER}]}))  # type: ignore[typeddict-item]
    assert_untold(hiding, errors=True)


async def test_an_answer_to_an_approval_that_is_none(house: type[House], hiding: Any) -> None:
    context = house.context(house.pool(), house.chat(lambda _: "Lisbon"), approve_above_usd=0.0)
    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=STATE_TYPES))
    graph: Any = build(context).compile(checkpointer=saver)
    await graph.ainvoke({"messages": [{"role": "user", "content": QUERY}]}, THREAD)
    output = await graph.ainvoke(Command(resume=f"yes, {MARKER}"), THREAD)
    assert "problem" in output["__interrupt__"][0].value
    assert_untold(hiding, errors=True)


def test_a_users_word_on_an_answer(house: type[House], hiding: Any, tmp_path: Path) -> None:
    pool = house.pool()
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        router = house.router(pool, house.chat(lambda _: "Lisbon"), ledger=ledger)
        router.feedback(router.invoke(QUERY).run_id, 0.25, f"nothing of {MARKER}")
    (said,) = [one for one in hiding.settle().feedback.values() if one["key"] == "user"]
    assert said["score"] == pytest.approx(0.25)
    assert_untold(hiding, errors=False)


def test_a_ledger_that_cannot_be_written(house: type[House], hiding: Any, tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger.open(f"sqlite:///{path}") as ledger:
        router = house.router(house.pool(), house.chat(lambda _: "Lisbon"), ledger=ledger)
        with sqlite3.connect(path) as rival:
            rival.execute("CREATE TRIGGER no BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(CurverouteError, match="ledger"):
            router.invoke(QUERY)
    assert_untold(hiding, errors=True)
