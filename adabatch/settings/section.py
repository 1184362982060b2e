"""What every section of the settings checks when it is made, wherever its values come from."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, cast

from adabatch.ranges import option_of, ranges_of

__all__ = ["Section"]


class Section:
    """Base of the sections: numbers in their ranges, no empty texts."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: a number outside its range, an empty text where that is not the default, or a text with a
                character that no file's name has.
        """
        kind: type = type(self)
        allowed = ranges_of(kind)
        for item in fields(cast(Any, self)):  # the sections are dataclasses
            value: Any = getattr(self, item.name)
            for part in value if isinstance(value, list | tuple) else (value,):
                if isinstance(part, str):
                    _check_text(item.name, part, may_be_empty=item.default == "")
                elif item.name in allowed and part is not None:
                    allowed[item.name].require(part, option_of(item.name))


def _check_text(name: str, text: str, may_be_empty: bool) -> None:
    if not text and not may_be_empty:
        raise ValueError(f"{option_of(name)} is empty: give it a value, or leave it out for its default")
    if "\0" in text:
        raise ValueError(f"{option_of(name)} holds the character NUL, which nothing is named by: take it out")
