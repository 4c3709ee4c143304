"""What an argument may be: said once, by its annotation, and checked and told in one way.

The constructor's signature of a part is its declaration: `decay: Annotated[float, Ge(0), Lt(1)]`.
Whole numbers are whole (neither 1.0 nor true is one), numbers are finite.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from math import isfinite
from operator import index
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MaxLen, MinLen, MultipleOf
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from vae_lab.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LARGEST = 3.4028234663852886e38  # of float32
_64_BITS, _FLOAT32 = Lt(2**63), Le(_LARGEST)  # go without saying, until it is they that are broken
Count = Annotated[int, Ge(1), _64_BITS]
Natural = Annotated[int, Ge(0), _64_BITS]
Seed = Annotated[int, Ge(0), Lt(2**32)]
Positive = Annotated[float, Gt(0), _FLOAT32]
NonNegative = Annotated[float, Ge(0), _FLOAT32]
Share = Annotated[float, Gt(0), Le(1)]
Text = Annotated[str, BeforeValidator(lambda v: str(v) if type(v) in (int, float) else v)]
"""Words, names and paths: a folder may be called 5."""
Sizes = Annotated[Sequence[Count], MinLen(1), "a list of sizes of 1 or more, such as [32]"]
Widths = Annotated[Sequence[Count], BeforeValidator(lambda v: [v] if type(v) is int else v)]
"""Of layers: a number alone is one layer."""

PART = "a part, with a _target_"
_NOUNS: dict[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "a list of texts"),
    bool: ("true or false", "a list of true or false"),
    NoneType: ("null", "a list of null"),
    dict: ("a mapping", "a list of mappings"),
    list: ("a list", "a list of lists"),
    tuple: ("a list", "a list of lists"),
}
_BOUNDS: dict[type, Callable[[Any], str]] = {
    Ge: lambda bound: f"of {bound.ge:g} or more",
    Gt: lambda bound: f"above {bound.gt:g}",
    Le: lambda bound: f"at most {bound.le:g}",
    Lt: lambda bound: f"below {bound.lt}",
    MultipleOf: lambda bound: f"divisible by {bound.multiple_of:g}",
    MinLen: lambda bound: f"with a length of {bound.min_length} or more",
    MaxLen: lambda bound: f"with a length of at most {bound.max_length}",
}


def checked(key: str, value: Any, kind: Any) -> Any:
    """`value` as `kind`, an annotation, has it. Raises InputError where it is none.

    Raises TypeError where the annotation itself makes no sense, such as text of 0 or more.

    >>> checked("model.encoder.widths", 300, Widths)
    [300]
    >>> checked("widths", [300, "abc"], Widths)
    Traceback (most recent call last):
    vae_lab.errors.InputError: widths must be whole numbers of 1 or more, not [300, abc].
    """

    def refused() -> InputError:
        return InputError(f"{key} must be {described(kind)}, not {_shown(value)}.")

    try:  # by way of JSON, whose lists are tuples and sequences too, and whose "5" is no number
        told = json.dumps(value, default=index)  # whole numbers of numpy's are whole numbers
    except (TypeError, ValueError):
        raise refused() from None
    try:
        return _adapter(kind).validate_json(told)
    except ValidationError:
        raise refused() from None
    except Exception as error:
        raise TypeError(f"the annotation of {key}, {kind}, is wrong: {error}") from error


def check_fields(settings: "DataclassInstance", where: str) -> None:
    """Raise InputError unless every field of a dataclass is what its annotation says.

    `where` is the key that the configuration has them under.
    """
    kinds = arguments(type(settings))
    for field in fields(settings):
        checked(f"{where}.{field.name}", getattr(settings, field.name), kinds[field.name])


@cache
def arguments(part: Callable[..., Any]) -> Mapping[str, Any]:
    """What a class or a function takes: names and annotations, Any where there is none."""
    try:
        signature = inspect.signature(part, eval_str=True)
    except NameError:  # an annotation that only type checkers can read
        signature = inspect.signature(part)
    said = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return {
        name: Any if kind is inspect.Parameter.empty or isinstance(kind, str) else kind
        for name, kind in said.items()
    }


@cache
def required(part: Callable[..., Any]) -> Sequence[str]:
    """The names of the arguments that a class or a function cannot do without."""
    every = inspect.signature(part).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [each.name for each in every if each.default is each.empty and each.kind in named]


def described(kind: Any, many: bool = False) -> str:
    """What an annotation allows, in words; `many` is the plural.

    >>> described(Count | Literal["auto"] | None)
    'a whole number of 1 or more, auto or null'
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        marks = [mark for mark in _unpacked(inner[1:]) if mark not in (_64_BITS, _FLOAT32)]
        own = [word for word in marks if isinstance(word, str)]
        bounds = [_BOUNDS[type(bound)](bound) for bound in marks if type(bound) in _BOUNDS]
        return own[0] if own else f"{described(inner[0], many)} {' and '.join(bounds)}".strip()
    if origin in (Union, UnionType):
        words = [described(one, many) for one in inner]
        return _listed(dict.fromkeys(word for word in words if word != PART) or [PART])
    if origin is Literal:
        return _listed(dict.fromkeys(map(_shown, inner)))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping to {described(inner[1], many=True)}"
    if origin is tuple and ... not in inner:
        alike = described(inner[0], many=True).removeprefix("a list of ")
        each = (
            [described(one) for one in inner] if len(set(inner)) > 1 else [f"{len(inner)} {alike}"]
        )
        return f"a list of {' and '.join(each)}"
    if isinstance(origin, type) and issubclass(origin, Iterable) and inner:
        return described(inner[0], many=True)
    return _NOUNS[kind][many] if kind in _NOUNS else PART


def _unpacked(marks: Iterable[Any]) -> Iterator[Any]:
    """What marks an annotation, one by one: `Interval` is two bounds, pydantic's `Field` many."""
    for mark in marks:
        if isinstance(mark, FieldInfo | GroupedMetadata):
            yield from _unpacked(mark.metadata if isinstance(mark, FieldInfo) else mark)
        else:
            yield mark


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    config = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
    return TypeAdapter(kind, config=config)


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _shown(value: Any) -> str:
    """A value as one would write it on the command line, on one line, and not too long."""
    if isinstance(value, int) and value.bit_length() > 63:
        return f"a number of {value.bit_length()} bits, of which 63 are the most"
    if isinstance(value, float) and isfinite(value) and abs(value) > _LARGEST:
        return f"{value:g}, which is beyond float32"
    if isinstance(value, list | tuple):
        text = f"[{', '.join(map(_shown, value))}]"
    else:
        text = {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
    text = " ".join(text.split()) or "''"
    return text if len(text) <= 80 else f"{text[:77]}..."
