"""A pool file is checked before anything is sent, and what is sent says what the file said."""

from __future__ import annotations

import math
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from curveroute.agent.errors import PoolError, QueryError
from curveroute.agent.pool import Pool, PoolSpec, PriceSpec, SpeedSpec, list_pools, load_pool
from curveroute.agent.pool.pool import check_query, input_tokens_bound, input_tokens_prior
from curveroute.agent.pool.spec import SETTLED, BudgetSpec, CurvePoint, ModelSpec, SourceSpec, WeightsSpec
from curveroute.agent.types import Arm, Message, ModelId, Query

if TYPE_CHECKING:
    from pydantic import BaseModel

SMALL = """
[[models]]
id = "small"
endpoint = "https://example.org/v1"
prices = { input = 1, output = 2 }
context_window = 4096
"""
HEAD = """
name = "mine"
system = "Be careful."
budgets = [{ tokens = 32, name = "short", style = "Use at most {tokens} tokens." }, { name = "free", style = "" }]
"""
WEIGHTS = """
[models.weights]
file = "x.gguf"
bytes = 1
sha256 = "{sha256}"
licence = "MIT"
sources = [{source}]
"""


def written(folder: Path, text: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def pool_with(**model: Any) -> Pool:
    price = PriceSpec(input=1, output=2)
    data = tomllib.loads(HEAD + SMALL)
    data["models"][0] |= model
    return Pool(PoolSpec.model_validate(data), prices={"small": price})


POOL = pool_with()
SHORT, FREE = Arm(ModelId("small"), 32), Arm(ModelId("small"), None)


# Shipped pools


def test_the_shipped_pools_are_listed() -> None:
    assert list_pools() == ("local", "local-large", "openai", "openrouter")


@pytest.mark.parametrize("name", list_pools())
def test_a_shipped_pool_loads_and_every_arm_can_be_asked_and_paid(name: str) -> None:
    pool = load_pool(name)
    assert pool.name == name
    assert pool.spec.description
    query = Query((Message(role="user", content="What is 2+2?"),))
    for arm in pool.arms:
        messages = pool.messages(query, arm)
        limit = pool.output_limit(arm, input_tokens_prior(messages))
        assert 0 < limit <= (arm.budget or math.inf)
        assert pool.worst_case_usd(arm, input_tokens_bound(messages), limit) > 0
        assert "{tokens}" not in messages[-1]["content"]
    for role in (pool.spec.planner, pool.spec.judge):
        assert role is not None
        assert "json" in pool.model(role).capabilities
    for model in pool.spec.models:
        assert all(price > 0 for price in pool.prices(model.id))
        if model.endpoint != "local":
            assert model.key_env
            assert model.max_output_tokens is not None
            assert model.max_output_tokens < model.context_window
            assert pool.spec.predictor is None
            assert len(model.prior) > 1


@pytest.mark.parametrize("name", list_pools())
def test_a_shipped_file_holds_no_secret_and_no_stray_line(name: str) -> None:
    text = (resources.files("curveroute.pools") / f"{name}.toml").read_text(encoding="utf-8")
    assert "sk-" not in text
    assert all(len(line) <= 120 or "url =" in line for line in text.splitlines())


def test_the_papers_pool_is_the_papers() -> None:
    pool = load_pool("openrouter")
    assert len(pool.models) == 11
    assert len(pool.arms) == 11 * 16
    assert pool.prices("Qwen3-235B-A22B-Instruct-2507")[:2] == (0.071, 0.1)
    assert pool.prices("gemma-3-270m-it")[:2] == (0.01, 0.02)
    assert pool.style_name(10) == "at-most"
    query = Query((Message(role="user", content="Why?"),))
    limited, unlimited = (pool.messages(query, Arm(pool.models[0], budget))[-1] for budget in (80, None))
    assert limited["content"] == "Why?\n\nUse at most 80 tokens."
    assert unlimited["content"] == "Why?"
    assert pool.prior_quality(Arm(ModelId("GLM-4.5-Air"), None)) == 0.83


def test_the_large_local_pool_is_the_local_one_and_one_model_more() -> None:
    small, large = load_pool("local"), load_pool("local-large")
    assert large.models == (*small.models, "qwen2.5-coder-1.5b")
    assert large.spec.budgets == small.spec.budgets
    assert [large.model(name) for name in small.models] == list(small.spec.models)
    assert (large.spec.planner, large.spec.judge) == ("qwen2.5-coder-1.5b",) * 2
    weights = large.model("qwen2.5-coder-1.5b").weights
    assert weights is not None
    assert weights.bytes == 1_117_320_768
    assert len(weights.sources[1].packages) == 22


def test_the_local_pools_say_how_fast_they_were_measured_to_be() -> None:
    pool = load_pool("local-large")
    speeds = {name: pool.model(name).speed for name in pool.models}
    assert {name: (one.input_tokens_per_s, one.output_tokens_per_s) for name, one in speeds.items()} == {
        "smollm2-135m": (306, 42),
        "qwen2.5-coder-0.5b": (154, 25),
        "qwen2.5-coder-1.5b": (75, 20),
    }
    assert load_pool("openai").model("gpt-4.1").speed == SpeedSpec()


def test_a_speed_may_be_given_in_part() -> None:
    speed = pool_with(speed={"output_tokens_per_s": 5}).model("small").speed
    assert (speed.first_token_s, speed.input_tokens_per_s, speed.output_tokens_per_s) == (0.3, 2000, 5)


# Faults of a file: each names the file, the key and what to do


FAULTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "malformed TOML": (HEAD + "models = [", ("not valid TOML", "line", "correct")),
    "an unknown key": (HEAD + "colour = 1\n" + SMALL, ("colour", "Extra inputs", "remove it or correct its name")),
    "an unknown key of a model": (HEAD + SMALL + "colour = 3\n", ("models[0] (small).colour", "remove it or correct")),
    "a speed that is none": (
        HEAD + SMALL + "speed = { output_tokens_per_s = 0 }\n",
        ("models[0] (small).speed.output_tokens_per_s", "greater than 0", "got '0'"),
    ),
    "a speed without an end": (
        HEAD + SMALL + "speed = { input_tokens_per_s = inf }\n",
        ("models[0] (small).speed.input_tokens_per_s", "finite"),
    ),
    "a wait that is no number": (
        HEAD + SMALL + "speed = { first_token_s = nan }\n",
        ("models[0] (small).speed.first_token_s", "finite"),
    ),
    "a wait that ended before it began": (
        HEAD + SMALL + "speed = { first_token_s = -1 }\n",
        ("models[0] (small).speed.first_token_s", "greater than or equal to 0"),
    ),
    "no models": (HEAD, ("models", "required", "add it")),
    "an empty list of models": ("models = []\n" + HEAD, ("models", "at least 1")),
    "no budgets": ('name = "x"\nsystem = "s"\n' + SMALL, ("budgets", "required")),
    "no system message": (HEAD.replace("Be careful.", " ") + SMALL, ("system", "at least 1 character")),
    "a negative price": (
        HEAD + SMALL.replace("input = 1", "input = -0.1"),
        ("(small).prices.input", "-0.1", "greater"),
    ),
    "a price that is no number": (HEAD + SMALL.replace("input = 1", "input = nan"), ("(small).prices.input", "finite")),
    "an infinite price": (HEAD + SMALL.replace("output = 2", "output = inf"), ("(small).prices.output", "'inf'")),
    "a price per token instead of per million": (
        HEAD + SMALL.replace("input = 1", "input = 1e6"),
        ("(small).prices.input", "less than or equal to 100000"),
    ),
    "half a price": (HEAD + SMALL.replace(", output = 2", ""), ("(small).prices.output", "required")),
    "no price": (HEAD + SMALL.replace("prices = ", "# "), ("models[0] (small)", "either `prices` or `price_ref`")),
    "two prices": (HEAD + SMALL + 'price_ref = "openai/gpt-4.1"\n', ("(small)", "either `prices` or `price_ref`")),
    "a price reference without a provider": (
        HEAD + SMALL.replace("prices = { input = 1, output = 2 }", 'price_ref = "gpt-4.1"'),
        ("(small).price_ref", "gpt-4.1"),
    ),
    "an unknown price reference": (
        HEAD + SMALL.replace("prices = { input = 1, output = 2 }", 'price_ref = "openai/gpt-99"'),
        ("small.price_ref: 'openai/gpt-99'", "give `prices"),
    ),
    "a price reference to an unknown provider": (
        HEAD + SMALL.replace("prices = { input = 1, output = 2 }", 'price_ref = "nobody/gpt-4.1"'),
        ("small.price_ref: 'nobody/gpt-4.1'", "give `prices"),
    ),
    "a repeated model": (HEAD + SMALL + SMALL, ("models", "repeated model id: small")),
    "a repeated budget": (HEAD.replace("{ name", "{ tokens = 32, name") + SMALL, ("budgets", "repeated budget: 32")),
    "a repeated point of a prior": (
        HEAD + SMALL + "prior = [{ quality = 0.5 }, { quality = 0.6 }]\n",
        ("(small).prior", "repeated budget: unlimited"),
    ),
    "a quality above one": (HEAD + SMALL + "prior = [{ quality = 55 }]\n", ("(small).prior[0].quality", "55")),
    "a budget of nothing": (HEAD.replace("tokens = 32", "tokens = 0") + SMALL, ("budgets[0].tokens", "greater than 0")),
    "a number that an unlimited budget lacks": (
        HEAD.replace('style = ""', 'style = "At most {tokens}."') + SMALL,
        ("budgets[1]", "no {tokens} to name"),
    ),
    "an unknown planner": (HEAD + 'planner = "big"\n' + SMALL, ("planner = 'big'", "not a model of this pool (small)")),
    "an unknown judge": (HEAD + 'judge = "big"\n' + SMALL, ("judge = 'big'", "not a model of this pool (small)")),
    "a budget that the pool lacks": (
        HEAD + SMALL + "budgets = [64]\n",
        ("'small'", "budgets that the pool does not", "64"),
    ),
    "an endpoint that is no URL": (
        HEAD + SMALL.replace("https://example.org/v1", "example.org"),
        ("(small).endpoint", "example.org"),
    ),
    "an endpoint without a host": (HEAD + SMALL.replace("example.org", ":80"), ("(small).endpoint", "names no host")),
    "an endpoint with an odd port": (
        HEAD + SMALL.replace("example.org", "example.org:http"),
        ("(small).endpoint", "not a URL"),
    ),
    "a key instead of its variable": (
        HEAD + SMALL + 'key_env = "sk-123"\n',
        ("(small).key_env", "never the key itself"),
    ),
    "an unknown capability": (HEAD + SMALL + 'capabilities = ["magic"]\n', ("(small).capabilities", "'magic'")),
    "a window of words": (HEAD + SMALL.replace("4096", '"large"'), ("(small).context_window", "large")),
    "a model without a name": (HEAD + SMALL.replace('id = "small"', ""), ("models[0].id", "required")),
    "an id with a space": (HEAD + SMALL.replace('"small"', '"small one"'), ("models[0] (small one).id", "pattern")),
    "a local model without weights": (
        HEAD + SMALL.replace("https://example.org/v1", "local"),
        ("(small)", 'endpoint = "local" has `weights`'),
    ),
    "weights of a hosted model": (
        HEAD + SMALL + WEIGHTS.format(sha256="0" * 64, source='{ url = "https://example.org/x" }'),
        ("(small)", 'endpoint = "local" has `weights`'),
    ),
    "a hash that is none": (
        HEAD + SMALL + WEIGHTS.format(sha256="abc", source='{ url = "https://example.org/x" }'),
        ("(small).weights.sha256", "abc"),
    ),
    "a source of two kinds": (
        HEAD + SMALL + WEIGHTS.format(sha256="0" * 64, source='{ url = "https://x.org", packages = ["x"] }'),
        ("weights.sources[0]", "either `url` or `packages`"),
    ),
    "packages without a version": (
        HEAD + SMALL + WEIGHTS.format(sha256="0" * 64, source='{ packages = ["x"] }'),
        ("weights.sources[0]", "names their `version`"),
    ),
    "models as a table": (HEAD + SMALL.replace("[[models]]", "[models]"), ("models", "make it a list")),
    "a pool that extends a number": ("extends = 3\n" + HEAD + SMALL, ("`extends` must be", "3")),
    "a pool that extends nobody": (
        'extends = "locl"\n' + HEAD + SMALL,
        ("extends: unknown pool 'locl'", "Did you mean 'local'?"),
    ),
    "a pool that extends a missing file": (
        'extends = "no.toml"\n' + HEAD + SMALL,
        ("extends: ", "no.toml", "does not exist"),
    ),
    "a pool that repeats a model of the one it extends": (
        'extends = "local"\n' + HEAD + SMALL.replace('"small"', '"smollm2-135m"'),
        ("models", "repeated model id: smollm2-135m"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_file_key_and_remedy(fault: str, tmp_path: Path) -> None:
    text, told = FAULTS[fault]
    with pytest.raises(PoolError) as caught:
        load_pool(written(tmp_path, text))
    for words in told:
        assert words in str(caught.value)
    assert "sk-123" not in str(caught.value)
    assert all(line.startswith("mine.toml: ") for line in str(caught.value).splitlines())


def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    text = HEAD + SMALL.replace("input = 1", "input = -1").replace("4096", "0") + "speed = 3\n"
    with pytest.raises(PoolError) as caught:
        load_pool(written(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 3


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PoolError, match=r"mine\.toml: cannot be read as text"):
        load_pool(str(tmp_path / "mine.toml"))


def test_an_unknown_pool_is_told_with_a_close_one(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"unknown pool 'openruter'; shipped pools: .* Did you mean 'openrouter'\?"):
        load_pool("openruter")
    with pytest.raises(PoolError, match="unknown pool 'zzz'") as caught:
        load_pool("zzz")
    assert "Did you mean" not in str(caught.value)
    with pytest.raises(PoolError, match=r"gone\.toml' does not exist; give the path of a TOML file or one of: local"):
        load_pool(str(tmp_path / "gone.toml"))
    with pytest.raises(PoolError, match="does not exist"):
        load_pool(str(tmp_path))


def test_a_circle_of_pools_is_broken_off(tmp_path: Path) -> None:
    written(tmp_path, 'extends = "mine.toml"\n' + HEAD + SMALL, "other.toml")
    with pytest.raises(PoolError, match=r"`extends` goes deeper than 4 files.*circle"):
        load_pool(written(tmp_path, 'extends = "other.toml"\n' + HEAD + SMALL))


def test_a_pool_takes_from_the_one_it_extends_what_it_does_not_say(tmp_path: Path) -> None:
    written(tmp_path, HEAD + 'judge = "small"\n' + SMALL, "parent.toml")
    child = 'name = "child"\nextends = "parent.toml"\nplanner = "big"\n' + SMALL.replace('"small"', '"big"')
    pool = load_pool(written(tmp_path, child))
    assert pool.name == "child"
    assert pool.models == ("small", "big")
    assert (pool.spec.planner, pool.spec.judge) == ("big", "small")


# What a pool offers


def test_arms_run_from_short_to_unlimited_and_leave_out_what_a_model_is_not_offered_at(tmp_path: Path) -> None:
    head = HEAD.replace("budgets = [", 'budgets = [{ tokens = 64, name = "m", style = "" }, ')
    big = SMALL.replace('"small"', '"big"') + "budgets = [64]\n"
    pool = load_pool(written(tmp_path, head + SMALL + big))
    assert [str(arm) for arm in pool.arms] == ["small@32", "small@64", "small@unlimited", "big@64"]


def test_lists_of_models_restrict_the_arms_and_are_checked(tmp_path: Path) -> None:
    pool = load_pool(written(tmp_path, HEAD + SMALL + SMALL.replace('"small"', '"big"')))
    assert {arm.model for arm in pool.restricted(allow=["big"])} == {"big"}
    assert {arm.model for arm in pool.restricted(deny=["big"])} == {"small"}
    assert pool.restricted() == pool.arms
    for lists in ({"allow": ["huge"]}, {"deny": ["huge"]}):
        with pytest.raises(PoolError, match="unknown model 'huge' in pool 'mine'; it has: small, big"):
            pool.restricted(**lists)
    with pytest.raises(PoolError, match="loosen them"):
        pool.restricted(allow=["big"], deny=["big"])


TEXTS = st.text(max_size=60)
TURNS = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), TEXTS), max_size=5)


@given(TURNS, TEXTS, st.sampled_from([SHORT, FREE]), st.booleans())
def test_a_prompt_is_a_system_message_the_conversation_and_the_style_at_the_end(
    turns: list[tuple[Any, str]], asked: str, arm: Arm, own_system: bool
) -> None:
    said = [Message(role=role, content=text) for role, text in [*turns, ("user", asked)]]
    before = [Message(role="system", content="You are mine.")] if own_system else []
    prompt = POOL.messages(Query((*before, *said)), arm)
    assert prompt[0] == Message(role="system", content="You are mine." if own_system else "Be careful.")
    assert list(prompt[1:-1]) == said[:-1]
    assert prompt[-1]["role"] == "user"
    assert prompt[-1]["content"].startswith(asked.rstrip())
    assert prompt[-1]["content"].endswith("\n\nUse at most 32 tokens." if arm is SHORT else asked.rstrip())
    assert [message["role"] for message in prompt].count("system") == 1


def test_the_style_stands_in_the_last_question_though_an_answer_was_begun_for_it() -> None:
    turns = (Message(role="user", content="Why?"), Message(role="assistant", content="Because"))
    prompt = POOL.messages(Query(turns), SHORT)
    assert [message["content"] for message in prompt[1:]] == ["Why?\n\nUse at most 32 tokens.", "Because"]


def test_the_arms_of_a_model_share_the_prompt_up_to_the_style() -> None:
    query = Query((Message(role="user", content="Why?"),))
    short, free = POOL.messages(query, SHORT), POOL.messages(query, FREE)
    assert short[:-1] == free[:-1]
    assert short[-1]["content"].startswith(free[-1]["content"])


@given(st.lists(st.text(st.characters()), max_size=5))
def test_the_bound_on_tokens_is_never_below_the_bytes_and_never_below_the_guess(texts: list[str]) -> None:
    messages = [Message(role="user", content=text) for text in texts]
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    assert input_tokens_bound(messages) >= size
    assert input_tokens_prior(messages) <= input_tokens_bound(messages)


@given(st.integers(0, 10_000), st.none() | st.integers(1, 5000))
def test_the_servers_limit_keeps_the_budget_the_window_and_the_models_own(sent: int, most: int | None) -> None:
    pool = pool_with(max_output_tokens=most)
    short, free = pool.output_limit(SHORT, sent), pool.output_limit(FREE, sent)
    assert 0 <= short <= free <= max(4096 - sent, 0)
    assert short <= 32
    assert most is None or free <= most
    assert free == min(max(4096 - sent, 0), most or 4096)


def test_an_empty_query_is_refused() -> None:
    for turns in ((), (Message(role="user", content=" \n"),), (Message(role="system", content="x"),)):
        with pytest.raises(QueryError, match="empty"):
            check_query(Query(turns))
    check_query(Query((Message(role="user", content="?"),)))


# Priors


def test_a_prior_is_read_between_its_points() -> None:
    pool = pool_with(prior=[{"quality": 0.9}, {"budget": 10, "quality": 0.2}, {"budget": 30, "quality": 0.6}])

    def at(budget: int | None) -> float | None:
        return pool.prior_quality(Arm(ModelId("small"), budget))

    assert [at(budget) for budget in (1, 10, 20, 30, 5000, None)] == pytest.approx([0.2, 0.2, 0.4, 0.6, 0.6, 0.9])
    assert POOL.prior_quality(SHORT) is None


POINTS = st.dictionaries(st.none() | st.integers(1, 5000), st.floats(0, 1), min_size=1, max_size=6)


@given(POINTS, st.none() | st.integers(1, 10_000))
def test_a_prior_meets_its_points_and_stays_between_them(points: dict[int | None, float], budget: int | None) -> None:
    prior = [
        {"quality": quality} | ({} if tokens is None else {"budget": tokens}) for tokens, quality in points.items()
    ]
    pool = pool_with(prior=prior)
    assume(budget not in points)
    for tokens, quality in points.items():
        assert pool.prior_quality(Arm(ModelId("small"), tokens)) == pytest.approx(quality)
    found = pool.prior_quality(Arm(ModelId("small"), budget))
    assert found is not None
    assert min(points.values()) - 1e-12 <= found <= max(points.values()) + 1e-12


@pytest.mark.parametrize("key", sorted(SETTLED))
def test_what_a_request_settles_cannot_be_overridden(tmp_path: Path, key: str) -> None:
    with pytest.raises(PoolError, match=rf"models\[0\] \(small\)\.extra_body: {key}: .*remove it"):
        load_pool(written(tmp_path, HEAD + SMALL + f"extra_body = {{ {key} = 3, top_p = 0.5 }}\n"))


@pytest.mark.parametrize(
    "given", ["https://me:sk-123@example.org/v1", "https://sk-123@example.org", "me:sk-123@host/v1"]
)
def test_an_address_holds_no_password_and_the_refusal_does_not_show_it(tmp_path: Path, given: str) -> None:
    source = f'{{ url = "{given}" }}'
    local = SMALL.replace("https://example.org/v1", "local") + WEIGHTS.format(sha256="0" * 64, source=source)
    for text in (SMALL.replace("https://example.org/v1", given), local):
        with pytest.raises(PoolError) as caught:
            load_pool(written(tmp_path, HEAD + text))
        assert "sk-123" not in str(caught.value)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert load_pool(written(tmp_path, "\ufeff" + HEAD + SMALL)).name == "mine"


SPECS = [PoolSpec, BudgetSpec, ModelSpec, PriceSpec, SpeedSpec, WeightsSpec, SourceSpec, CurvePoint]


@pytest.mark.parametrize("spec", SPECS)
def test_the_page_on_pools_names_every_key(spec: type[BaseModel]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "pools.md").read_text(encoding="utf-8")
    words = set(re.findall(r"[a-z0-9_]+", " ".join(line for line in page.splitlines() if line.startswith("| "))))
    assert set(spec.model_fields) <= words
    assert words >= SETTLED
