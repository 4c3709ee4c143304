"""What an argument may be: annotations checked, and told in words."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Lt, MaxLen
from pydantic import Field

from vae_lab import InputError
from vae_lab.arguments import (
    Count,
    Natural,
    NonNegative,
    Positive,
    Seed,
    Share,
    Sizes,
    Text,
    Widths,
    arguments,
    check_fields,
    checked,
    described,
)

FITS = [
    (Count, 1, 1), (Count | None, None, None), (Natural, 0, 0), (Seed, 2**32 - 1, 2**32 - 1),
    (Positive, 1, 1.0), (Share, 1.0, 1.0), (Text, 5, "5"), (Text, 0.5, "0.5"), (Text, "a", "a"),
    (Widths, 300, [300]), (Widths, [], []), (Sizes, (4, 2), [4, 2]), (bool, True, True),
    (tuple[float, float], [0.9, 0.99], (0.9, 0.99)), (Literal["auto"] | bool, "auto", "auto"),
    (Count | Share, 0.5, 0.5), (Count | Literal[-1], -1, -1),
    (Any, {"a": [1, None]}, {"a": [1, None]}),
]  # fmt: skip
FITS_NOT = [
    (Count, 0), (Count, 1.0), (Count, True), (Count, "1"), (Count, None), (Count, 10**30),
    (Natural, -1), (Natural, math.nan), (Seed, 2**32), (Positive, 0), (Positive, math.nan),
    (Positive, math.inf), (Positive, "1"), (Positive, True), (NonNegative, -0.1), (float, 10**400),
    (float, math.nan), (Share, 1.5), (Text, None), (Text, True), (Text, ["a"]), (Widths, [0]),
    (Widths, True), (Widths, "abc"), (Sizes, 3), (Sizes, []), (bool, 1), (bool, "true"),
    (tuple[float, float], [1]), (Literal["auto"] | bool, "maybe"), (Count | Share, 0),
    (Callable[[int], int], 3), (partial[int], None), (Count, object()),
    (dict[str, int], {"a": "b"}), (tuple[float, float], [1, 2, 3]), (Positive, 1e300),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "found"), FITS)
def test_a_value_is_as_its_annotation_has_it(kind: Any, value: Any, found: Any) -> None:
    got = checked("key", value, kind)
    assert (type(got), got) == (type(found), found)


@pytest.mark.parametrize(("kind", "value"), FITS_NOT)
def test_any_other_value_is_one_line_that_names_its_key(kind: Any, value: Any) -> None:
    words = re.escape(described(kind))  # which the next test but one spells out
    with pytest.raises(InputError, match=rf"^some.key must be {words}, not .*\.$") as told:
        checked("some.key", value, kind)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 250


def test_long_and_broken_values_stay_on_one_short_line() -> None:
    for value in ("a\nb", "x" * 10_000, ["y"] * 10_000, 10**5000, ""):
        with pytest.raises(InputError) as told:
            checked("key", value, Count)
        assert len(str(told.value).splitlines()) == 1
        assert len(str(told.value)) < 200


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Count, "a whole number of 1 or more"),
        (Positive, "a number above 0"),
        (Share, "a number above 0 and at most 1"),
        (Annotated[float, Ge(0), Lt(1)], "a number of 0 or more and below 1"),
        (Annotated[float, Gt(0.001)], "a number above 0.001"),
        (Seed, "a whole number of 0 or more and below 4294967296"),
        (Widths, "whole numbers of 1 or more"),
        (Sequence[Positive] | None, "numbers above 0 or null"),
        (list[Text], "a list of texts"),
        (Literal["auto"] | bool, "auto or true or false"),
        (float | Callable[[], int], "a number"),
        (partial[int], "a part, with a _target_"),
        (Annotated[float, Interval(ge=0, le=1)], "a number of 0 or more and at most 1"),
        (Annotated[int, Field(gt=2, multiple_of=4)], "a whole number above 2 and divisible by 4"),
        (Annotated[str, MaxLen(3)], "text with a length of at most 3"),
        (tuple[Share, Share], "a list of 2 numbers above 0 and at most 1"),
        (tuple[int, str], "a list of a whole number and text"),
        (tuple[int, ...], "whole numbers"),
        (dict[str, int], "a mapping to whole numbers"),
        (dict, "a mapping"),
        (list, "a list"),
        (Literal[32, "32"], "32"),
    ],
)
def test_an_annotation_in_words(kind: Any, words: str) -> None:
    assert described(kind) == words


@pytest.mark.parametrize(
    "kind",
    [Annotated[str, Ge(0)], Annotated[int, Ge("a")], Annotated["Nowhere", Ge(0)]],  # noqa: F821
)
def test_a_wrong_annotation_is_blamed_and_not_the_value(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"the annotation of key, .* is wrong"):
        checked("key", "a", kind)


def test_a_dataclass_checks_its_fields() -> None:
    @dataclass(frozen=True)
    class Settings:
        size: Count
        share: Share = 0.5

        def __post_init__(self) -> None:
            check_fields(self, "some")

    assert Settings(3).share == 0.5
    with pytest.raises(InputError, match="some.share must be a number above 0 and at most 1, no"):
        Settings(3, 2)


def test_what_cannot_be_read_is_any() -> None:
    def part(a: "Nowhere", b, c: int) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001, F821

    assert list(arguments(part)) == ["a", "b", "c"]
    assert arguments(part)["a"] is arguments(part)["b"] is Any
