"""Groups of results that one side saves and the other restores, and trees of results, on one store."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.interop.peers import Pair, engine

pytestmark = [pytest.mark.celery, pytest.mark.redis]

SAVED = """
    from celery.result import GroupResult
    results = [add.delay(n, n) for n in range(3)]
    inner = GroupResult("inner-" + name, [results.pop()])
    GroupResult(name, [*results, inner], parent=AsyncResult("parent-" + name)).save()
    [result.id for result in (*results, *inner)]
"""
RESTORED = """
    from celery.result import GroupResult
    group = GroupResult.restore(name)
    values = [group[0].get(timeout=PATIENCE), group[1].get(timeout=PATIENCE), group[2].get(timeout=PATIENCE)]
    [[group[0].id, group[1].id, group[2][0].id], values, group.id, str(group.parent), type(group[2]).__name__,
     [group.ready(), group.successful(), group.completed_count()]]
"""
GONE = """
    from celery.result import GroupResult
    GroupResult.restore(name).delete()
    GroupResult.restore(name) is None
"""


@pytest.mark.parametrize("version", ["5.4", "5.7"])
def test_given_a_group_that_one_saves_when_the_other_restores_it_then_it_is_the_same(
    pairs: Callable[[str], Pair], version: str
) -> None:
    celery = pairs(f"celery{version}>sedano")
    sedano = celery.place.peer(engine("sedano"))
    for number, (saver, restorer) in enumerate(((celery, sedano), (sedano, celery))):
        name = f"group-{version}-{number}"
        ids = saver.ask(SAVED, name=name)
        found = restorer.ask(RESTORED, name=name)
        assert found == [ids, [0, 2, [4]], name, f"parent-{name}", "GroupResult", [True, True, 3]]
        assert restorer.ask(GONE, name=name) is True


def test_given_several_callbacks_when_the_tree_is_collected_then_both_engines_read_the_same(pair: Pair) -> None:
    source = """
        result = add.apply_async((2, 3), link=[mul.s(10), add.s(1)])
        result.get(timeout=PATIENCE)
        children = result.children
        names = [type(child).__name__ for child in children]
        values = [child.get(timeout=PATIENCE) for child in children]
        parents = {result.backend.get_task_meta(one.id).get("parent_id") for one in children[0]}
        [names, values, [value for _, value in result.collect(timeout=PATIENCE)], parents == {result.id}]
    """
    assert pair.ask(source) == [["GroupResult"], [[50, 6]], [5, [50, 6], 50, 6], True]
