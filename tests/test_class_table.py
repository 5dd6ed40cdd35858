"""The class table's columns, and its arrangement in the address."""

from typing import Any

from app.class_table import Arrangement, address_of, arrangement_of, class_table

TABLE = class_table(fasa=True)


def test_columns_are_those_of_a_run_with_and_without_fasa() -> None:
    assert [column.key for column in TABLE.columns] == [
        "name", "frequency", "instances", "probability", "change", "super_group", "weight_norm",
        "ap_segm", "why",
    ]  # fmt: skip
    baseline = [column.key for column in class_table(fasa=False).columns]
    assert baseline == ["name", "frequency", "instances", "weight_norm", "ap_segm"]


def test_an_arrangement_goes_to_the_address_and_comes_back() -> None:
    sent = {"find": "owl", "sort": "change", "down": False, "groups": ["r", "c"]}
    address = address_of(sent, TABLE)
    assert address == {"find": "owl", "sort": "-change", "groups": "rc"}
    assert arrangement_of(address, TABLE) == Arrangement("owl", "change", False, ("r", "c"))


def test_the_usual_arrangement_is_not_named() -> None:
    sent = {"find": "", "sort": "instances", "down": True, "groups": ["f", "c", "r"]}
    assert address_of(sent, TABLE) == {}
    assert arrangement_of({}, TABLE) == Arrangement()


def test_what_cannot_be_read_is_left_as_it_usually_is() -> None:
    assert arrangement_of({"sort": "<b>", "groups": "xyz"}, TABLE) == Arrangement()
    assert arrangement_of({"sort": "-why"}, class_table(fasa=False)) == Arrangement()
    strange: list[Any] = [None, 7, {"find": None, "sort": 3, "groups": 5}, {"groups": [[]]}]
    for sent in strange:
        assert address_of(sent, TABLE) == {}
    assert len(address_of({"find": "x" * 5000}, TABLE)["find"]) == 100
