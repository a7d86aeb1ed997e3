import pytest

from env_tuning.calls import MAX_CALL_CHARACTERS, CallSyntaxError, ToolCall, parse_call


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ls()", ToolCall(name="ls")),
        ("sort('a b.txt')", ToolCall(name="sort", positional=("a b.txt",))),
        ("mv(source='a', destination='b')", ToolCall(name="mv", arguments={"source": "a", "destination": "b"})),
        ("mean([1, -2.5, 3e2])", ToolCall(name="mean", positional=([1, -2.5, 300.0],))),
        (
            "edit_ticket(ticket_id=1, updates={'a': None, 'b': True})",
            ToolCall(name="edit_ticket", arguments={"ticket_id": 1, "updates": {"a": None, "b": True}}),
        ),
        ("echo(content='run ls() now')", ToolCall(name="echo", arguments={"content": "run ls() now"})),
    ],
)
def test_literal_calls_are_read_and_round_trip(text, expected):
    assert parse_call(text) == expected
    assert parse_call(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ls",
        "ls(",
        "os.system('x')",
        "f(x=g(1))",
        "f(__import__('os'))",
        "f(a)",
        "f(1 + 'a')",
        "f(**{'a': 1})",
        "f(*[1])",
        "[f() for _ in (1,)]",
        "f(lambda: 1)",
        "f(f'{1}')",
        "f(" + "[" * 5000 + "]" * 5000 + ")",
        "f('" + "a" * MAX_CALL_CHARACTERS + "')",
        "f('\x00')\x00",
        "f(a=1, a=2)",
        "f(0x" + "f" * 2000 + " + 1j)",
        "f({[]: 1})",
        "f('\ud800')\ud800",
        "f(" + "-" * 90_000 + "1)",
    ],
)
def test_anything_but_one_literal_call_is_rejected_without_running_it(text):
    with pytest.raises(CallSyntaxError):
        parse_call(text)
