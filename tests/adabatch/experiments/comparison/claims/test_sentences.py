"""Sentences of Markdown pages and the numbers in them, by example and against slow twins."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adabatch.experiments.comparison.claims.sentences import blocks, decimal_numbers, sentences, shows

PAGE = """\
# Results. Not a sentence

- [A link. To a part](#part)

Two lines
of a paragraph.
| a table | 0.5 |

- **Bold.** Then `code. More` of
  the first item (with a remark. And another).

  Its second paragraph.
  - A nested item
lazily continued.
* Another kind of item.

```
- not an item
```
![a figure. With a caption](a.png)

The end.
"""


def test_blocks_of_a_page():
    assert blocks(PAGE) == [
        ("Two lines of a paragraph.", False),
        (
            "**Bold.** Then `code. More` of the first item (with a remark. And another). Its second paragraph.",
            True,
        ),
        ("A nested item lazily continued.", True),
        ("Another kind of item.", True),
        ("The end.", False),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It gains 0.012. So does 1.5.", ["It gains 0.012.", "So does 1.5."]),
        ("Some, e.g. Adam, i.e. Adam, cf. Fig. 3.", None),
        ("Merrill et al. Show it", None),
        ("**No.** The best *is.* What?! Yes", ["**No.**", "The best *is.*", "What?!", "Yes"]),
        ("One (it is. Or not) sentence.", None),
        ("One. (Another one.) A third.", ["One.", "(Another one.)", "A third."]),
        ("One ((a. B) c. D) sentence.", None),
        ("See [a. B](c.md). `exchange` ends.", ["See [a. B](c.md).", "`exchange` ends."]),
        ("It ends... here. −0.1 is less. 8 seeds.", ["It ends... here.", "−0.1 is less.", "8 seeds."]),
        ("An unclosed (parenthesis. Ends.", ["An unclosed (parenthesis.", "Ends."]),
        (
            "With `a` it ends. With `b` too. `c` `d`. And",
            ["With `a` it ends.", "With `b` too.", "`c` `d`.", "And"],
        ),
        ("By 0.1 etc. (see below) and more.", None),
        ("", []),
    ],
)
def test_sentences_of_a_text(text, expected):
    assert sentences(text) == ([text] if expected is None else expected)


@given(st.text("aB.!()`* \n0-", max_size=60))
@example("(a.) B. `c. (` D.) E")
def test_sentences_together_are_the_text(text):
    assert " ".join(sentences(text)) == " ".join(text.split())


@given(
    st.lists(
        st.sampled_from(
            ["It gains 0.012 (a lot. Or not).", "Why?", "**No.**", "The 8 runs, e.g. `a`.", "`b` ends [it](c)."]
        )
    )
)
def test_joined_sentences_are_found_again(parts):
    assert sentences("\n".join(parts)) == parts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8 seeds, 1,024 steps, 28%", []),
        ("−0.012 ± 0.0040, -1.07 and +.5", ["-0.012", "0.0040", "-1.07", "+.5"]),
        (
            "0.01-0.02, 0.03–0.04 (0.05) **0.06** _0.07_ 12.5%",
            ["0.01", "0.02", "0.03", "0.04", "0.05", "0.06", "0.07", "12.5"],
        ),
        ("1,024.5, 3.4e-3, 3e−3. 0.01,0.02.", ["1024.5", "3.4e-3", "3e-3", "0.01", "0.02"]),
        ("release 1.2.3, [0.5](a-0.6.md)", ["0.5"]),
        ("Norm test, eta 0.7 and norm-test-0.7-sqrt and eta 0.75", ["0.75"]),
        ("norm-test-0.75 is another schedule", ["0.75"]),
    ],
)
def test_numbers_of_a_sentence(text, expected):
    names = ["norm-test-0.7", "norm-test-0.7-sqrt", "norm test, eta 0.7"]
    assert list(decimal_numbers(text, names)) == expected


@given(st.floats(-100, 100), st.integers(0, 6), st.integers(-3, 3))
def test_a_number_shows_a_value_where_the_value_rounds_to_it(value, digits, away):
    """The twin: exact decimal arithmetic."""
    unit = Decimal(1).scaleb(-digits)
    number = Decimal(value).quantize(unit, ROUND_HALF_EVEN) + away * unit
    assert shows(f"{number:+f}", value) == (away == 0)
    assert shows(f"{abs(number):f}", value) == (abs(number) == abs(number - away * unit))


def test_a_sign_counts():
    assert shows("0.012", -0.0123)
    assert not shows("+0.012", -0.0123)
    assert not shows("-0.012", 0.0123)
