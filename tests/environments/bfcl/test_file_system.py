"""GorillaFileSystem: quirks, error texts, and states that share directories or hold a cycle."""

import copy
import json
import pickle
import sys

import pytest

from env_tuning.calls import parse_call
from env_tuning.environments.bfcl.file_system import GorillaFileSystem
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.environments.environment import Environment

CONFIG = {
    "root": {
        "ws": {
            "type": "directory",
            "contents": {
                "d": {
                    "type": "directory",
                    "contents": {
                        "f.txt": {"type": "file", "content": "old"},
                        "sub": {"type": "directory", "contents": {}},
                    },
                },
                "f.txt": {"type": "file", "content": "b\na\nc"},
                ".hidden": {"type": "file", "content": ""},
            },
        },
        "ignored": {"type": "directory", "contents": {}},
    }
}


class Session:
    """A file system and the texts it answers with."""

    def __init__(self, config: dict = CONFIG) -> None:
        self.files = GorillaFileSystem(copy.deepcopy(config))
        self._environment = Environment({"GorillaFileSystem": self.files})

    def __call__(self, call: str) -> str:
        return self._environment.call(parse_call(call)).text

    def run(self, *calls: str) -> str:
        return [self(call) for call in calls][-1]


@pytest.fixture
def session() -> Session:
    return Session()


def test_pwd_includes_the_root_name_and_an_empty_config_prints_two_slashes(session):
    assert session("pwd()") == '{"current_working_directory": "/ws"}'
    assert Session({})("pwd()") == '{"current_working_directory": "//"}'


def test_cd_up_answers_an_empty_object_and_stops_at_the_root(session):
    assert session("cd('d/')") == '{"current_working_directory": "d"}'
    assert session("cd('..')") == "{}"
    assert session("cd('..')") == '{"error": "Current directory is already the root. Cannot go back."}'


def test_cd_takes_one_level_only(session):
    for path in ("d/sub", "/d"):
        assert session(f"cd('{path}')") == (
            f'{{"error": "cd: {path}: Unsupported path. Only one folder level at a time is supported."}}'
        )
    assert session("cd('f.txt')") == '{"error": "cd: \'f.txt\': No such file or directory"}'
    assert session.run("cd('d')", "cd('//')") == '{"current_working_directory": "ws"}'


def test_find_takes_paths_but_no_parent(session):
    assert session("find('/d')") == '{"matches": ["/d/f.txt", "/d/sub"]}'
    assert session("find('d', 'su')") == '{"matches": ["d/sub"]}'
    assert session("find(name='f.t')") == '{"matches": ["./d/f.txt", "./f.txt"]}'
    assert session("find('..')") == '{"error": "find: \'..\': No such file or directory"}'


def test_ls_hides_dotted_names_and_keeps_the_order_of_the_config(session):
    assert session("ls()") == '{"current_directory_content": ["d", "f.txt"]}'
    assert session("ls(a=True)") == '{"current_directory_content": ["d", "f.txt", ".hidden"]}'


def test_making_an_entry_checks_characters_then_existence(session):
    assert session("mkdir('a|b')") == '{"error": "mkdir: cannot create directory \'a|b\': Invalid character"}'
    assert session("mkdir('f.txt')") == '{"error": "mkdir: cannot create directory \'f.txt\': File exists"}'
    assert session("touch('d')") == '{"error": "touch: cannot touch \'d\': File exists"}'
    assert session("touch('new')") == "None"


def test_echo_writes_only_to_files_that_exist(session):
    assert session("echo('x', 'f.txt')") == "None"
    assert session("cat('f.txt')") == '{"file_content": "x"}'
    assert session("echo('x')") == session("echo('x', '')") == '{"terminal_output": "x"}'
    assert session("echo('x', 'new')") == '{"error": "echo: cannot write to \'new\': No such file"}'
    assert session("echo('x', 'd')") == "Error during execution: 'Directory' object has no attribute '_write'"


def test_content_that_is_no_text_breaks_the_tools_that_read_it(session):
    session("echo(5, 'f.txt')")
    assert session("cat('f.txt')") == '{"file_content": 5}'
    assert session("wc('f.txt')") == "Error during execution: 'int' object has no attribute 'splitlines'"
    assert session("du()") == "Error during execution: 'int' object has no attribute 'encode'"


def test_a_directory_is_no_such_file_except_for_cat(session):
    assert session("cat('d')") == '{"error": "cat: \'d\': Is a directory"}'
    for call in ("wc('d')", "sort('d')", "tail('d')", "grep('d', 'a')"):
        assert session(call) == f'{{"error": "{call.split("(")[0]}: d: No such file or directory"}}'
    assert session("diff('f.txt', 'd')") == '{"error": "diff: f.txt or d: No such file or directory"}'


def test_reading_tools_leave_the_file_as_it_is(session):
    before = session.files.snapshot()
    assert session("sort('f.txt')") == '{"sorted_content": "a\\nb\\nc"}'
    assert session("wc('f.txt', 'c')") == '{"count": 5, "type": "characters"}'
    assert session("wc('f.txt', 'x')") == '{"error": "wc: invalid mode \'x\'"}'
    assert session("grep('f.txt', 'a')") == '{"matching_lines": ["a"]}'
    assert session.files.matches(before)


@pytest.mark.parametrize(("lines", "shown"), [(2, "a\nc"), (0, "b\na\nc"), (-1, "a\nc"), (99, "b\na\nc")])
def test_tail_slices_from_the_negated_count(session, lines, shown):
    assert json.loads(session(f"tail('f.txt', {lines})")) == {"last_lines": shown}


def test_diff_ends_with_the_shorter_file(session):
    session.run("touch('g')", "echo('b\\nx', 'g')")
    assert session("diff('f.txt', 'g')") == '{"diff_lines": "- a\\n+ x"}'


def test_du_counts_bytes_and_scales_them(session):
    assert session("du()") == '{"disk_usage": "8 bytes"}'
    session.run(f"echo('{'é' * 1024}', 'f.txt')", "echo('', 'd')")
    assert session("du(True)") == '{"disk_usage": "2.00 KB"}'


def test_cp_onto_a_taken_name_raises_where_mv_declines(session):
    assert session("mv('f.txt', 'd')") == "{\"error\": \"mv: cannot move 'f.txt' to 'd/f.txt': File exists\"}"
    assert session("cp('f.txt', 'd')") == "Error during execution: File 'f.txt' already exists in directory 'd'."
    session("mkdir('sub')")
    assert session("cp('sub', 'd')") == "Error during execution: Directory 'sub' already exists in directory 'd'."


def test_mv_and_cp_refuse_paths_and_files_as_destination(session):
    assert session("cp('nope', 'x/y')") == '{"error": "cp: cannot copy \'nope\': No such file or directory"}'
    assert session("mv('f.txt', 'd/x')") == (
        '{"error": "mv: path not allowed in destination. Provide only a file or directory name."}'
    )
    assert session("cp('d', 'f.txt')") == "{\"error\": \"cp: cannot copy 'd' to 'f.txt': Not a directory\"}"


def test_mv_renames_to_names_that_mkdir_would_refuse(session):
    assert session("mv('f.txt', 'a|b')") == "{\"result\": \"'f.txt' moved to 'a|b'\"}"
    assert session("mv('.hidden', 'd')") == "{\"result\": \"'.hidden' moved to 'd/.hidden'\"}"
    assert session("ls()") == '{"current_directory_content": ["d", "a|b"]}'


def test_a_copied_directory_shares_the_files_below_its_first_level(session):
    session.run("cd('d')", "cd('sub')", "touch('deep')", "cd('/')", "cp('d', 'e')")
    session.run("cd('d')", "cd('sub')", "echo('both', 'deep')", "cd('/')", "cd('e')", "cd('sub')")
    assert session("cat('deep')") == '{"file_content": "both"}'


def test_below_a_moved_directory_the_old_path_is_shown(session):
    session.run("mkdir('e')", "mv('d', 'e')", "cd('e')", "cd('d')")
    assert session("pwd()") == '{"current_working_directory": "/ws/e/d"}'
    assert session.run("cd('sub')", "pwd()") == '{"current_working_directory": "/ws/d/sub"}'
    assert session.run("cd('..')", "pwd()") == '{"current_working_directory": "/ws/d"}'


def test_an_entry_named_dot_resolves_to_the_current_directory(session):
    assert session("cat('.')") == '{"error": "cat: \'.\': No such file or directory"}'
    session("touch('.')")
    assert session("cat('.')") == '{"error": "cat: \'.\': Is a directory"}'
    assert session("rmdir('.')") == '{"error": "rmdir: cannot remove \'.\': Directory not empty"}'
    assert session("rm('.')") == '{"result": "\'.\' removed"}'


def test_rm_is_recursive_and_rmdir_is_not(session):
    assert session("rmdir('d')") == '{"error": "rmdir: cannot remove \'d\': Directory not empty"}'
    assert session("rmdir('f.txt')") == '{"error": "rmdir: cannot remove \'f.txt\': Not a directory"}'
    assert session("rm('d')") == '{"result": "\'d\' removed"}'
    assert session("rm('d')") == '{"error": "rm: cannot remove \'d\': No such file or directory"}'


def test_a_directory_inside_itself_is_an_error_text_and_matches_its_own_copy_alone(session):
    assert session("cp('d', 'd')") == "{\"result\": \"'d' copied to 'd/d'\"}"
    detail = " while calling a Python object" if sys.version_info < (3, 12) else ""
    assert session("find()") == f"Error during execution: maximum recursion depth exceeded{detail}"
    assert session("du()") == "Error during execution: maximum recursion depth exceeded"
    assert session.run("cd('d')", "cd('d')", "cd('d')", "pwd()") == '{"current_working_directory": "/ws/d/d"}'
    assert session.files.matches(session.files.snapshot())
    assert '{"type": "cycle"}' in json.dumps(session.files.describe())


def test_comparing_directories_that_are_shared_many_times_over_stays_quick(session):
    for _ in range(60):
        session.run("cp('d', 'x')", "mkdir('n')", "mv('d', 'n')", "mv('x', 'n')", "mv('n', 'd')")
    assert session.files.matches(session.files.snapshot())


def test_matches_ignores_the_current_directory_and_the_order_of_entries(session):
    snapshot = session.files.snapshot()
    session.run("mv('f.txt', 'tmp')", "mv('tmp', 'f.txt')", "cd('d')")
    assert session.files.matches(snapshot)
    session("touch('x')")
    assert not session.files.matches(snapshot)
    session("rm('x')")
    assert session.files.matches(snapshot)
    session("echo('new', 'f.txt')")
    assert not session.files.matches(snapshot)


def test_a_file_does_not_match_a_directory_of_the_same_name(session):
    session.run("rm('f.txt')", "mkdir('f.txt')")
    assert not session.files.matches(Session().files.snapshot())


def test_two_instances_never_share_state():
    for config in (CONFIG, {}):
        first, second = Session(config), Session(config)
        before = second.files.snapshot()
        first.run("mkdir('only here')", "rm('f.txt')", "cp('d', 'd')")
        assert second.files.matches(before)
        assert not first.files.matches(before)


def test_a_snapshot_stays_and_survives_pickling(session):
    snapshot = pickle.loads(pickle.dumps(session.files.snapshot()))
    session("echo('changed', 'f.txt')")
    assert not session.files.matches(snapshot)
    assert Session().files.matches(snapshot)


def test_describe_is_the_first_root_of_the_config(session):
    assert session.files.describe() == {"root": {"ws": CONFIG["root"]["ws"]}, "long_context": False}


def test_long_context_extends_files_and_fills_the_innermost_directories():
    padding = {name: [] for name in LongContext.__dataclass_fields__}
    padding |= {"file_content_extension": "+more", "files_tail_used": [".hidden"], "populate_file_extension": ["p"]}
    files = GorillaFileSystem(copy.deepcopy(CONFIG), LongContext(**padding))
    contents = files.describe()["root"]["ws"]["contents"]
    assert contents["f.txt"]["content"] == "b\na\nc+more"
    assert contents[".hidden"]["content"] == ""
    assert contents["d"]["contents"]["sub"]["contents"] == {"p": {"type": "file", "content": ""}}
    assert "p" not in contents["d"]["contents"]
    assert files.long_context is True
