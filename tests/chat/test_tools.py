"""Tools, structured output and images through the router: only models that can are asked, and forms are held to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from curveroute import Router, RouterChat
from curveroute.agent.chat.seam import Reply
from curveroute.agent.errors import CapabilityError, CapTooSmall, QueryError, SchemaUnmet
from curveroute.agent.ledger import Ledger
from curveroute.agent.types import Form, Tool, Toolbox, ToolCall, Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import House

    from curveroute.agent.chat.seam import Call

URL = "https://pictures.example/cat.png"
ALL = ["tools", "images", "json"]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def now() -> str:
    """The time."""
    return "noon"


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int = Field(description="in years")


class PersonDict(TypedDict):
    """Somebody."""

    name: str
    age: int


def called(*calls: tuple[str, Any], text: str = "") -> Reply:
    made = [
        ToolCall(call_id=f"c{number}", name=name, arguments=given if isinstance(given, str) else json.dumps(given))
        for number, (name, given) in enumerate(calls)
    ]
    return Reply(text, Usage(30, 10), "tool_calls", 0.1, tool_calls=tuple(made))


def pool_of(house: type[House], **capabilities: list[str]) -> Any:
    """Two models, the second better and dearer, with these capabilities."""
    plain = house.pool(budgets=(64, 256))
    document = plain.spec.model_dump()
    for model in document["models"]:
        model["capabilities"] = capabilities.get(model["id"], [])
    spec = type(plain.spec).model_validate(document)
    return type(plain)(spec, prices={one.id: one.prices for one in spec.models if one.prices is not None})


@pytest.fixture
def make(house: type[House]) -> Callable[..., tuple[RouterChat, Any]]:
    """A chat model whose two models can do everything, or what is said of them; and its seam."""

    def made(answer: Any, *, ledger: Any = None, tradeoff: float = 1.0, **capabilities: Any) -> tuple[RouterChat, Any]:
        seam = house.chat(answer)
        pool = pool_of(house, **({"small": ALL, "big": ALL} | capabilities))
        return RouterChat.from_router(house.router(pool, seam, tradeoff=tradeoff, ledger=ledger)), seam

    return made


class TestTools:
    async def test_calls_come_back_as_langchains_own(self, make: Any) -> None:
        chat, seam = make(lambda call: called(("add", {"a": 1, "b": 2}), ("now", "")))
        bound = chat.bind_tools([add, now])
        chunks = list(bound.stream("?"))
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        for message in (bound.invoke("?"), await bound.ainvoke("?"), whole):
            assert [(one["name"], one["args"]) for one in message.tool_calls] == [
                ("add", {"a": 1, "b": 2}),
                ("now", {}),
            ]
            assert {one["id"] for one in message.tool_calls} == {"c0", "c1"}
            assert message.response_metadata["finish_reason"] == "tool_calls"
            assert message.invalid_tool_calls == []
        assert {tool.name for tool in seam.calls[0].toolbox.tools} == {"add", "now"}

    def test_models_that_cannot_call_tools_are_never_asked(self, make: Any) -> None:
        chat, seam = make(lambda call: called(("now", "{}")), small=["json"], tradeoff=0.0)
        chat.bind_tools([now]).invoke("?")
        assert {call.arm.model for call in seam.calls} == {"big"}

    def test_an_answer_to_a_tools_result_needs_such_a_model_too(self, make: Any) -> None:
        chat, seam = make(lambda call: "It is 3.", small=["json"])
        calling = AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}, "id": "c0"}])
        chat.invoke([HumanMessage("1 + 2?"), calling, ToolMessage("3", tool_call_id="c0")])
        (call,) = seam.calls
        assert call.arm.model == "big"
        assert [message["role"] for message in call.messages] == ["system", "user", "assistant", "tool"]

    def test_with_no_model_that_can_the_error_says_who_can_what(self, make: Any) -> None:
        chat, seam = make(lambda call: "never", small=["json"], big=["images"])
        words = r"can call tools, and of pool 'toy' none that is allowed can \(small: json; big: images\)"
        with pytest.raises(CapabilityError, match=words):
            chat.bind_tools([now]).invoke("?")
        with pytest.raises(CapabilityError, match=r"none that is allowed can \(small: json\)"):
            make(lambda call: "never", small=["json"])[0].bind_tools([now]).invoke("?", allow=["small"])
        assert seam.calls == []

    @pytest.mark.parametrize(
        ("given", "choice"),
        [(None, "auto"), ("auto", "auto"), ("any", "required"), ("required", "required"), (True, "required"),
         ("none", "none"), ("add", "add"), ({"type": "function", "function": {"name": "add"}}, "add"),
         ({"type": "tool", "name": "add"}, "add")],
    )  # fmt: skip
    def test_a_choice_may_be_given_in_any_usual_word(self, make: Any, given: Any, choice: str) -> None:
        chat, seam = make(lambda call: called(("add", {"a": 1, "b": 2})))
        chat.bind_tools([add], tool_choice=given, parallel_tool_calls=False).invoke("?")
        assert (seam.calls[0].toolbox.choice, seam.calls[0].toolbox.parallel) == (choice, False)

    @pytest.mark.parametrize(
        ("faulty", "fault"),
        [
            (called(("sub", {})), "which is none of the tools"),
            (called(("add", "{a")), "are no JSON object"),
            (called(("add", {"a": "x", "b": 2})), "do not fit: at a: "),
            ("It is 3.", "it calls no tool, and one must be called"),
        ],
    )
    def test_a_faulty_call_gets_no_score_and_the_next_model_is_asked(self, make: Any, faulty: Any, fault: str) -> None:
        def answer(call: Call) -> Any:
            return called(("add", {"a": 1, "b": 2})) if call.arm.model == "big" else faulty

        chat, _ = make(answer, tradeoff=0.3)
        message = chat.bind_tools([add], tool_choice="any").invoke("?")
        assert message.response_metadata["model_name"] == "big"
        assert [one["args"] for one in message.tool_calls] == [{"a": 1, "b": 2}]
        chat, _ = make(lambda call: faulty, tradeoff=0.3)
        message = chat.bind_tools([add], tool_choice="any").invoke("?")
        route = message.response_metadata["route"]
        assert fault in route["fault"]
        assert route["status"] == "best_so_far"
        assert {(one["score"], one["verdict"]) for one in route["attempts"]} == {(0.0, "malformed")}

    def test_arguments_that_are_no_json_come_back_as_they_were_written(self, make: Any) -> None:
        chat, _ = make(lambda call: called(("add", "{a")))
        message = chat.bind_tools([add]).invoke("?")
        assert message.tool_calls == []
        assert [(one["name"], one["args"], one["id"]) for one in message.invalid_tool_calls] == [("add", "{a", "c0")]

    def test_models_that_want_the_same_call_agree(self, make: Any) -> None:
        def answer(call: Call) -> Any:
            given = '{"b": 2, "a": 1}' if call.arm.model == "big" else '{"a":1,"b":2}'
            return called(("add", given))

        chat, _ = make(answer, tradeoff=0.1)
        message = chat.bind_tools([add]).invoke("?")
        attempts = message.response_metadata["route"]["attempts"]
        assert len({one["arm"].partition("@")[0] for one in attempts}) > 1
        assert {one["verdict"] for one in attempts} == {"ok"}

    def test_calls_are_in_the_ledger(self, make: Any, tmp_path: Path) -> None:
        with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
            chat, _ = make(lambda call: called(("sub", {"a": 1}), text="Let me see."), ledger=ledger)
            chat.bind_tools([add]).invoke("?")
            (record,) = ledger.runs()
            attempt = ledger.run(record.run_id).attempts[0].attempt
            assert attempt.tool_calls == (ToolCall(call_id="c0", name="sub", arguments='{"a": 1}'),)
            assert (attempt.shape, attempt.text) == ("calls", "Let me see.")
            assert "none of the tools" in attempt.fault
            assert ledger.verify().ok

    def test_the_router_itself_takes_tools_too(self, house: type[House]) -> None:
        seam = house.chat(lambda call: called(("now", "{}")))
        router: Router = house.router(pool_of(house, small=ALL, big=ALL), seam, tradeoff=1.0)
        box = Toolbox((Tool("now", "The time.", {"type": "object", "properties": {}}),))
        route = router.invoke("?", form=Form(toolbox=box))
        assert [call["name"] for call in route.tool_calls] == ["now"]
        assert route.to_json()["tool_calls"] == [{"call_id": "c0", "name": "now", "arguments": "{}"}]
        pieces = list(router.stream("?", form=Form(toolbox=box)))
        whole = pieces[0]
        for piece in pieces[1:]:
            whole += piece
        assert whole.tool_calls == route.tool_calls

    def test_two_tools_of_one_name_are_refused(self, make: Any) -> None:
        chat, seam = make(lambda call: "never")
        with pytest.raises(QueryError, match="tools need names of their own; repeated or empty: now"):
            chat.bind_tools([now, now]).invoke("?")
        assert seam.calls == []


class TestStructured:
    @pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
    @pytest.mark.parametrize(
        "schema", [Person, PersonDict, Person.model_json_schema()], ids=["pydantic", "dict", "json"]
    )
    async def test_an_answer_comes_in_its_schema(self, make: Any, schema: Any, method: Any) -> None:
        given = {"name": "Ada", "age": 36}
        name = schema["title"] if isinstance(schema, dict) else schema.__name__

        def answer(call: Call) -> Any:
            return json.dumps(given) if call.toolbox is None else called((name, given))

        chat, seam = make(answer)
        structured = chat.with_structured_output(schema, method=method)
        expected = Person(name="Ada", age=36) if schema is Person else given
        assert structured.invoke("Who?") == expected
        assert await structured.ainvoke("Who?") == expected
        assert list(structured.stream("Who?"))[-1] == expected
        assert [one async for one in structured.astream("Who?")][-1] == expected
        if method == "json_schema":
            assert set(seam.calls[0].schema["properties"]) == {"name", "age"}
        if method == "function_calling":
            assert seam.calls[0].toolbox.choice == name

    def test_models_that_keep_to_no_schema_are_never_asked(self, make: Any) -> None:
        chat, seam = make(lambda call: '{"name": "Ada", "age": 36}', small=["tools"], tradeoff=0.0)
        chat.with_structured_output(Person).invoke("Who?")
        assert {call.arm.model for call in seam.calls} == {"big"}
        chat, seam = make(lambda call: "never", small=["tools"], big=["tools"])
        with pytest.raises(CapabilityError, match="a model that can keep to a JSON schema"):
            chat.with_structured_output(Person).invoke("Who?")
        assert seam.calls == []

    def test_an_answer_that_does_not_fit_gives_way_to_one_that_does(self, make: Any) -> None:
        def answer(call: Call) -> str:
            return '{"name": "Ada", "age": 36}' if call.arm.model == "big" else '{"name": "Ada"}'

        chat, _ = make(answer, tradeoff=0.3)
        assert chat.with_structured_output(Person).invoke("Who?") == Person(name="Ada", age=36)

    async def test_a_schema_that_no_answer_satisfies_is_told_with_the_fault(self, make: Any) -> None:
        chat, seam = make(lambda call: '{"name": "Ada"}', tradeoff=0.3)
        structured = chat.with_structured_output(Person)
        words = r"no answer satisfies the schema \(run \w+\); the best, of (small|big)@\d+: .*\"age\" is a required"
        with pytest.raises(SchemaUnmet, match=words):
            structured.invoke("Who?")
        with pytest.raises(SchemaUnmet):
            await structured.ainvoke("Who?")
        with pytest.raises(SchemaUnmet):
            list(structured.stream("Who?"))
        asked = [(call.arm, call.sample) for call in seam.calls]
        assert len(set(asked)) == len(asked) / 3, "each arm was asked once a run"

    def test_with_the_raw_message_the_fault_is_a_parsing_error(self, make: Any) -> None:
        chat, _ = make(lambda call: '{"name": "Ada"}')
        answered = chat.with_structured_output(Person, include_raw=True).invoke("Who?")
        assert isinstance(answered["raw"], AIMessage)
        assert answered["parsed"] is None
        assert isinstance(answered["parsing_error"], SchemaUnmet)
        chat, _ = make(lambda call: '{"name": "Ada", "age": 36}')
        answered = chat.with_structured_output(Person, include_raw=True).invoke("Who?")
        assert (answered["parsed"], answered["parsing_error"]) == (Person(name="Ada", age=36), None)

    def test_a_schema_that_is_none_is_told_before_anything_is_asked(self, make: Any) -> None:
        chat, seam = make(lambda call: "never")
        with pytest.raises(QueryError, match="the answer's schema is no valid JSON schema"):
            chat.invoke("?", response_format={"type": "json_schema", "json_schema": {"schema": {"type": "wizard"}}})
        assert seam.calls == []

    def test_the_budgets_number_goes_out_but_not_its_style(self, make: Any) -> None:
        chat, seam = make(lambda call: '{"name": "Ada", "age": 36}')
        chat.with_structured_output(Person).invoke("Who?")
        (call,) = seam.calls
        assert call.messages[-1]["content"] == "Who?\n\nUse at most 64 tokens."


class TestImages:
    ASKED = HumanMessage([{"type": "text", "text": "Who? "}, {"type": "image_url", "image_url": {"url": URL}}])

    def test_images_go_to_models_that_see(self, make: Any) -> None:
        chat, seam = make(lambda call: "Answer: a cat", small=["tools"])
        assert chat.invoke([self.ASKED]).content == "Answer: a cat"
        (call,) = seam.calls
        assert call.arm.model == "big"
        assert call.messages[-1]["images"] == [{"at": 5, "url": URL}]
        assert call.messages[-1]["content"].startswith("Who?")

    def test_an_image_alone_is_a_question(self, make: Any) -> None:
        chat, seam = make(lambda call: "Answer: a cat")
        chat.invoke([HumanMessage([{"type": "image", "url": URL}])])
        assert seam.calls[0].messages[-1]["images"] == [{"at": 0, "url": URL}]

    def test_an_image_for_a_pool_of_text_is_told_before_anything_is_asked(self, make: Any) -> None:
        chat, seam = make(lambda call: "never", small=["tools"], big=["json"])
        with pytest.raises(CapabilityError, match="a model that can see images, and of pool 'toy' none"):
            chat.invoke([self.ASKED])
        assert seam.calls == []

    def test_an_image_is_reserved_for_and_estimated(self, make: Any) -> None:
        chat, _ = make(lambda call: "Answer: a cat")
        router = chat.routers.get("toy")
        plain, seen = (router.invoke([HumanMessage("Who?")]), router.invoke([self.ASKED]))
        assert [after.input_tokens - before.input_tokens for before, after in zip(
            sorted(plain.candidates, key=lambda one: str(one.arm)),
            sorted(seen.candidates, key=lambda one: str(one.arm)),
            strict=True,
        )] == [4000] * 4  # fmt: skip
        assert chat.invoke("Who?", max_cost_usd=1e-4).content
        with pytest.raises(CapTooSmall):
            chat.invoke([self.ASKED], max_cost_usd=1e-4)


def test_what_several_needs_ask_for_is_said_together(make: Any) -> None:
    chat, _ = make(lambda call: "never", small=["tools"], big=["images"])
    with pytest.raises(CapabilityError, match="call tools and see images, and"):
        chat.bind_tools([now]).invoke([TestImages.ASKED])
