"""What counts as the right answer."""

from __future__ import annotations

import sys

import pytest

from env_tuning.answers import equivalence
from env_tuning.answers.matching import boxed, is_right, number, numbers_in, same_mathematics
from env_tuning.errors import UserError
from env_tuning.task import AnswerKind, Expected

NUMBER, MATHS, WORDS = AnswerKind.NUMBER, AnswerKind.MATHS, AnswerKind.WORDS


@pytest.mark.parametrize(
    ("answer", "kind", "text", "right"),
    [
        (None, WORDS, "anything", None),
        ("925", NUMBER, "25*37等于925。", True),
        ("925", NUMBER, "925 是 25 * 37 的结果", True),
        ("925", NUMBER, "９２５", True),
        ("1234567", NUMBER, "It is 1,234,567.", True),
        ("0.333333333", NUMBER, "about 0.3333333", True),
        ("925", NUMBER, "9250", False),
        ("925", NUMBER, "x925", False),
        ("-3", NUMBER, "it is -3", True),
        ("-3", NUMBER, "it is 3", False),
        ("5", NUMBER, "1 2 3 4 5", False),
        ("北京", WORDS, "答案是北京。", True),
        ("Guido van Rossum", WORDS, "It was GUIDO VAN-ROSSUM!", True),
        ("北京", WORDS, "上海", False),
        ("。", WORDS, "。", False),
        ("042", MATHS, "\\boxed{42}", True),
        ("42", MATHS, "first \\boxed{41}, no, \\boxed{42}", True),
        ("42", MATHS, "\\boxed{42", False),
        ("42", MATHS, "so the answer is 42", True),
        ("42", MATHS, "no idea", False),
        ("1/2", MATHS, "\\boxed{0.5}", True),
        ("(1, 2)", MATHS, "\\boxed{(1, 2)}", True),
    ],
)
def test_an_answer_is_right_or_not(answer, kind, text, right):
    assert is_right(Expected(answer=answer, kind=kind), text, "25 * 37 等于多少？") is right


def test_the_box_may_hold_braces():
    assert boxed("\\boxed{\\frac{1}{2}} .") == "\\frac{1}{2}"
    assert boxed("") is None


def test_numbers_are_found_in_languages_without_spaces():
    assert [int(value) for value in numbers_in("第3天气温12到-5度，共1,000元")] == [3, 12, -5, 1000]
    assert number("1/0") is None
    assert number("9" * 200) is None


class TestMathVerify:
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("math_verify", reason="the extra math is not installed")

    @pytest.mark.parametrize(
        ("expected", "given", "same"),
        [
            ("\\frac{1}{2}", "0.5", True),
            ("\\sqrt{8}", "2\\sqrt{2}", True),
            ("x^2-1", "(x-1)(x+1)", True),
            ("\\sqrt{8}", "3", False),
            ("\\frac{1}{2}", "\\frac{1", False),
            ("\\frac{1}{2}", "a" * 1000, False),
        ],
    )
    def test_mathematics_is_compared_by_meaning(self, expected, given, same):
        assert same_mathematics(expected, given) is same

    def test_an_answer_that_takes_too_long_is_wrong_and_the_next_one_is_judged(self, monkeypatch):
        monkeypatch.setattr(equivalence, "_SECONDS", 0.5)
        assert not same_mathematics("\\sqrt{2}", "9^{9^{9^{9}}}!")
        monkeypatch.setattr(equivalence, "_SECONDS", 60)
        assert same_mathematics("\\frac{1}{2}", "\\frac{2}{4}")


def test_without_math_verify_the_fix_is_named(monkeypatch, tmp_path):
    (tmp_path / "math_verify.py").write_text("raise ImportError")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(UserError, match=r"pip install 'env-tuning\[math\]'"):
        equivalence._Judge().ask("x", "y")


def test_a_number_of_the_question_is_no_answer_unless_it_is_said():
    expected, question = Expected(answer="60", kind=NUMBER), "What is the greatest common divisor of 60 and 60?"
    assert is_right(expected, "I do not know.", question) is False
    assert is_right(expected, "It is 60.", question) is True
