"""What an argument may be: said once, by its annotation, and checked and told in one way.

The constructor's signature of a part is its declaration: `decay: Annotated[float, Ge(0), Lt(1)]`.
Whole numbers are whole (neither 1.0 nor true is one), numbers are finite.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from vae_lab.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_64_BITS = Lt(2**63)  # goes without saying, until it is what is broken
Count = Annotated[int, Ge(1), _64_BITS]
Natural = Annotated[int, Ge(0), _64_BITS]
Seed = Annotated[int, Ge(0), Lt(2**32)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
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
}
_BOUNDS: dict[type, Callable[[Any], str]] = {
    Ge: lambda bound: f"of {bound.ge:g} or more",
    Gt: lambda bound: f"above {bound.gt:g}",
    Le: lambda bound: f"at most {bound.le:g}",
    Lt: lambda bound: f"below {bound.lt}",
}


def checked(key: str, value: Any, kind: Any) -> Any:
    """`value` as `kind`, an annotation, has it. Raises InputError where it is none.

    >>> checked("model.encoder.widths", 300, Widths)
    [300]
    >>> checked("widths", [300, "abc"], Widths)
    Traceback (most recent call last):
    vae_lab.errors.InputError: widths must be whole numbers of 1 or more, not [300, abc].
    """
    try:  # by way of JSON, whose lists are tuples and sequences too, and whose "5" is no number
        return _adapter(kind).validate_json(json.dumps(value))
    except (ValidationError, PydanticSchemaGenerationError, TypeError, ValueError):
        raise InputError(f"{key} must be {described(kind)}, not {_shown(value)}.") from None


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


def described(kind: Any, many: bool = False) -> str:
    """What an annotation allows, in words; `many` is the plural.

    >>> described(Count | Literal["auto"] | None)
    'a whole number of 1 or more, auto or null'
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        own = [word for word in inner[1:] if isinstance(word, str)]
        bounds = [_BOUNDS[type(b)](b) for b in inner[1:] if type(b) in _BOUNDS and b != _64_BITS]
        return own[0] if own else f"{described(inner[0], many)} {' and '.join(bounds)}".strip()
    if origin in (Union, UnionType):
        words = [described(one, many) for one in inner]
        return _listed(dict.fromkeys(word for word in words if word != PART) or [PART])
    if origin is Literal:
        return _listed(map(_shown, inner))
    if isinstance(origin, type) and issubclass(origin, Iterable) and inner:
        return described(inner[0], many=True)
    return _NOUNS[kind][many] if kind in _NOUNS else PART


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
    if isinstance(value, list | tuple):
        text = f"[{', '.join(map(_shown, value))}]"
    else:
        text = {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
    text = " ".join(text.split()) or "''"
    return text if len(text) <= 80 else f"{text[:77]}..."
