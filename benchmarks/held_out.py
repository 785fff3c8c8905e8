"""Ask the local pool ten questions that are not in its training table, and grade the answers; JSON on standard output.

Usage: python benchmarks/held_out.py [tradeoff …]
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from curveroute.agent.bench.grade import grade
from curveroute.agent.bench.tasks import load_questions, parse_questions
from curveroute.router import Router

if TYPE_CHECKING:
    from curveroute.agent.bench.tasks import Task
    from curveroute.agent.types import JsonObject

QUESTIONS = Path(__file__).with_name("held_out.jsonl")


async def main(tradeoffs: list[float]) -> None:
    tasks = parse_questions(QUESTIONS.read_text("utf-8"), QUESTIONS.name)
    trained = {task.query for task in load_questions()}
    assert not trained & {task.query for task in tasks}, "a held-out question is in the training set"
    async with Router.from_pool("local") as router:
        for tradeoff in tradeoffs:
            answers = [await _ask(router, task, tradeoff) for task in tasks]
            right = sum(float(str(answer["quality"])) for answer in answers)
            cost = sum(float(str(answer["cost_usd"])) for answer in answers)
            total: JsonObject = {"tradeoff": tradeoff, "right": right, "of": len(tasks), "cost_usd": cost}
            print(json.dumps({**total, "answers": list(answers)}, ensure_ascii=False, indent=1))


async def _ask(router: Router, task: Task, tradeoff: float) -> JsonObject:
    route = await router.ainvoke(task.query, tradeoff=tradeoff)
    served = next(one for one in reversed(route.attempts) if one.arm == route.arm)
    return {
        "query": task.query,
        "reference": task.reference,
        "answer": served.answer,
        "quality": grade(task, route.answer).quality,
        "arm": str(route.arm),
        "probability": None if served.verdict is None else round(served.verdict.score, 3),
        "tried": [f"{attempt.role} {attempt.arm}" for attempt in route.attempts],
        "cost_usd": route.cost_usd,
        "status": route.status,
        "reason": route.reason,
    }


if __name__ == "__main__":
    asyncio.run(main([float(word) for word in sys.argv[1:]] or [0.5]))
