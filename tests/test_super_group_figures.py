"""The figures of super-groups, drawn from rows made by hand."""

import json
from typing import Any

import pytest
from super_group_builders import adaptation, categories, grouped, row

from app.figure import Figure
from app.figure_routes import plain, table_text
from app.looks import FREQUENCY_LOOKS
from app.super_group_agreement import stability
from app.super_group_curves import clustering_chart, stability_curve
from app.super_group_flow import followers, super_group_flow
from app.super_group_losses import MOST_GROUPS, drawn_groups, group_losses, loss_table
from app.super_group_map import group_title, super_group_map

NAMES = [f"class {index}" for index in range(6)]
CLASSES = categories("rrccff")


def boxes(figure: Figure) -> dict[str, dict[str, Any]]:
    """The boxes of a tree map by id."""
    trace = figure.traces[0]
    columns = {name: trace[name] for name in ("labels", "parents", "text", "values", "customdata")}
    columns |= {"color": trace["marker"]["colors"], "shape": trace["marker"]["pattern"]["shape"]}
    columns |= {"width": trace["marker"]["line"]["width"], "hover": trace["hovertext"]}
    rows = zip(*columns.values(), strict=True)
    return {
        key: dict(zip(columns, values, strict=True))
        for key, values in zip(trace["ids"], rows, strict=True)
    }


def test_tree_map_has_a_box_a_group_and_a_class() -> None:
    one = adaptation(row([0, 2, 4], noise_members=[2]), row([1, 3], factor=0.9))
    figure = super_group_map(one, CLASSES, NAMES, chosen=4)
    found = boxes(figure)
    assert found["g0"]["labels"] == "group 0: 3 classes ▲ ×1.1"
    assert found["c0"]["parents"] == "g0"
    assert (found["c0"]["labels"], found["c0"]["text"]) == ("class 0", "10 r")
    assert [found[f"c{index}"]["shape"] for index in range(5)] == ["", "", "/", "", ""]
    assert found["c2"]["color"] == FREQUENCY_LOOKS["c"].color.light
    assert [key for key, box in found.items() if box["width"]] == ["c4"]  # outlined
    assert [found[key]["customdata"] for key in ("g0", "c3")] == [None, 3]  # what a click picks
    assert (found["unseen"]["labels"], found["c5"]["parents"]) == ("in no group: 1", "unseen")
    assert figure.note == (
        "After epoch 1: 2 super-groups of 5 classes, the largest holds 3; 1 class (20 %) "
        "noise; 1 in no group."
    )
    legend = [trace["name"] for trace in figure.traces[1:]]
    assert legend == ["rare r (2)", "common c (2)", "frequent f (2)", "noise (1)"]
    assert figure.table["noise"] == [0, 1, 0, 0, 0, 0]
    assert figure.table["class"] == ["class 4", "class 2", "class 0", "class 3", "class 1",
                                     "class 5"]  # fmt: skip


def test_tree_map_by_instances_and_on_dark_ground() -> None:
    figure = super_group_map(grouped(range(6)), CLASSES, NAMES, area="instances", dark=True)
    found = boxes(figure)
    assert [found[f"c{index}"]["values"] for index in range(6)] == [10, 20, 30, 40, 50, 60]
    assert found["c0"]["color"] == FREQUENCY_LOOKS["r"].color.dark


def test_tree_map_gathers_groups_of_one_class() -> None:
    many = categories("r" * 40)
    names = [one.name for one in many]
    figure = super_group_map(grouped(range(20), *([n] for n in range(20, 40))), many, names)
    found = boxes(figure)
    assert found["alone"]["labels"] == "alone: 20 groups of one class"
    assert found["c39"]["parents"] == "alone"


def test_names_are_text() -> None:
    names = ["<b>bold</b> & %{x}", *NAMES[1:]]
    found = boxes(super_group_map(grouped(range(6)), CLASSES, names))
    assert found["c0"]["labels"] == "&lt;b&gt;bold&lt;/b&gt; &amp; %{x}"
    assert "<b>bold" not in found["c0"]["hover"]
    flow = super_group_flow(grouped(range(6)), grouped(range(6), epoch=2), CLASSES, names)
    assert "<b>" not in flow.traces[0]["link"]["label"][0]


def test_titles_say_what_was_done() -> None:
    assert group_title(row([3])) == "group 0: 1 class ▲ ×1.1"
    assert group_title(row([3, 4], factor=1.0, reason="tie")) == "group 0: 2 classes = ×1"
    assert group_title(row([3, 4], factor=0.9)) == "group 0: 2 classes ▼ ×0.9"


def links(figure: Figure) -> set[tuple[str, str, int]]:
    """From, to and classes of each band."""
    trace = figure.traces[0]
    label, link = trace["node"]["label"], trace["link"]
    ends = zip(link["source"], link["target"], link["value"], strict=True)
    return {(label[source], label[target], value) for source, target, value in ends}


def test_flow_counts_the_classes_that_moved() -> None:
    """0 and 1 stay together, 2 joins 3 and 4, and 5 is first seen in the second epoch."""
    figure = super_group_flow(
        grouped([0, 1, 2], [3, 4]),
        grouped([0, 1], [2, 3, 4, 5], epoch=2, noise=[5]),
        CLASSES,
        NAMES,
    )
    assert links(figure) == {
        ("group 0 · 3", "group 0 · 2", 2), ("group 0 · 3", "group 1 · 4", 1),
        ("group 1 · 2", "group 1 · 4", 2), ("in no group · 1", "group 1 · 4", 1),
    }  # fmt: skip
    assert figure.note.startswith("5 of 6 classes (83 %) went where most of their group went; 2 gr")
    assert figure.table["group_before"] == [0, 0, 0, 1, 1, ""]
    assert figure.table["noise_after"] == [0, 0, 0, 0, 0, 1]


def test_small_flows_and_small_groups_are_gathered_and_nothing_is_lost() -> None:
    classes = 1203
    many = categories("r" * classes)
    names = [one.name for one in many]
    earlier = grouped(*(range(n, classes, 60) for n in range(60)))
    later = grouped(*([(n + (n % 7 == 0)) % classes for n in range(k, classes, 60)]
                      for k in range(60)), epoch=2)  # fmt: skip
    figure = super_group_flow(earlier, later, many, names, chosen=5)
    trace = figure.traces[0]
    assert len(trace["node"]["label"]) < 40
    assert len(trace["link"]["value"]) < 100
    whole: dict[int, int] = {}
    for source, value in zip(trace["link"]["source"], trace["link"]["value"], strict=True):
        whole[source] = whole.get(source, 0) + value
    for node, label in enumerate(trace["node"]["label"]):
        if node in whole:  # a left one, or the middle: all that enters leaves
            assert whole[node] == int(label.rpartition("· ")[2].replace(",", ""))
    orange = [c for c in trace["link"]["color"] if c.startswith("#C98500")]
    assert len(orange) == 1  # the chosen class's own band, not gathered


def test_followers_are_the_largest_part_of_each_group() -> None:
    assert followers([0, 0, 0, 1, 1, -1], [4, 4, 3, 4, 4, 2]) == {0, 1, 3, 4, 5}


def test_losses_have_both_ends_and_the_factor() -> None:
    one = adaptation(
        row([0, 1], loss_before=2.0, loss_after=2.5, factor=0.9, reason="rose"),
        row([2], loss_before=3.0, loss_after=1.0, clamped=[2]),
        row([3, 4], with_data=[], loss_before=None, loss_after=None, factor=1.0,
            reason="no validation data"),
    )  # fmt: skip
    figure = group_losses(one, NAMES, chosen=1)
    assert [r.super_group for r in drawn_groups(one)] == [1, 2, 0]  # fallen furthest first
    by_name = {trace.get("name"): trace for trace in figure.traces}
    assert by_name["now: fell, p raised"]["x"] == [1.0]
    assert by_name["now: fell, p raised"]["marker"]["symbol"] == "triangle-up"
    assert by_name["now: rose, p lowered"]["x"] == [2.5]
    assert sorted(by_name["before"]["x"]) == [2.0, 3.0]
    assert [word.strip() for word in figure.traces[-1]["text"]] == [
        "▲ ×1.1, 1 clamped", "no data, ×1", "▼ ×0.9"]  # fmt: skip
    assert figure.layout["yaxis"]["ticktext"][-1] == "<b>→ group 0 · 2</b>"
    assert "raised in 1 group, lowered in 1 and left in 1; 1 class clamped at 1." in figure.note
    assert loss_table(one, NAMES)["change"] == [0.5, -2.0, None]
    assert loss_table(one, NAMES)["members"][2] == "class 3, class 4"


def test_the_largest_groups_are_drawn_and_the_rest_is_said() -> None:
    one = grouped(*([2 * n, 2 * n + 1] for n in range(MOST_GROUPS)), [90])
    names = [f"class {index}" for index in range(91)]
    assert len(drawn_groups(one)) == MOST_GROUPS
    assert "the table has 1 more" in group_losses(one, names).note


def test_a_baseline_evaluation_has_one_end() -> None:
    one = adaptation(row([0, 1], loss_before=None, factor=1.0, reason="baseline"))
    figure = group_losses(one, NAMES)
    assert [word.strip() for word in figure.traces[-1]["text"]] == ["baseline, ×1"]


def test_stability_is_marked_and_told() -> None:
    history = [grouped([0, 1], [2, 3], epoch=1), grouped([0, 1], [2, 3], epoch=2),
               grouped([0, 2], [1, 3], epoch=3, noise=[0, 1, 2])]  # fmt: skip
    figure = stability_curve(stability(history, 4), epoch=3)
    assert figure.traces[0]["x"] == [2, 3]
    assert figure.traces[0]["y"] == pytest.approx([1, -0.5])
    assert figure.note == (
        "Epoch 3 against the one before: -0.50 over 4 classes, no value (fewer than two classes) "
        "over the 1 that were noise neither time; mean over all epochs 0.25."
    )
    assert [shape["x0"] for shape in figure.layout["shapes"]] == [0, 3]
    assert figure.layout["yaxis"]["range"][0] == pytest.approx(-0.55)
    assert figure.layout["xaxis"]["dtick"] == 1  # whole epochs
    assert json.loads(json.dumps(plain(figure.traces), allow_nan=False))[1]["y"][1] is None
    assert table_text(figure.table).splitlines()[1] == "2,1.0,1.0,4,4"


def test_without_an_adaptation_nothing_is_drawn() -> None:
    empty = adaptation()
    assert not group_losses(empty, NAMES).traces
    assert not stability_curve([]).traces
    assert not super_group_map(empty, [], []).traces
    assert not super_group_flow(empty, empty, [], []).traces


def test_without_dbscan_there_is_no_noise_and_no_eps() -> None:
    assert [line.name for line in clustering_chart(dbscan=True).lines] == [
        "noise", "eps", "super-groups"]  # fmt: skip
    assert [line.name for line in clustering_chart(dbscan=False).lines] == ["super-groups"]
