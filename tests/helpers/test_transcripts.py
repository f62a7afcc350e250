"""The replay of transcripts says yes only to what a page really prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.transcripts import Replay, commands, match

PAGE = """# Page
```console
$ echo run 7 of job-12; echo skipped; echo end
run <number> of <job>
…
end
$ echo <job> \\
    again
<job> again
```
## Wrong
```console
$ ls no-such-file  # exit code 2
…No such file or directory
```
"""


def test_a_true_page_passes_and_words_keep_their_meaning(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    replay = Replay(tmp_path)
    replay.page(page)
    assert replay.words == {"number": "7", "job": "job-12"}
    assert (tmp_path / "launch.py").is_file() and (tmp_path / "conf" / "config.yaml").is_file()


@pytest.mark.parametrize(
    ("true", "false", "said"),
    [
        ("\nend\n", "\nEnd\n", "--- printed\nrun 7"),
        ("<job> again", "<number> again", "job-12 again"),
        ("# exit code 2", "", "exit code 2, not 0"),
    ],
)
def test_a_false_page_fails_with_its_place(tmp_path: Path, true: str, false: str, said: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace(true, false))
    with pytest.raises(AssertionError, match=r"page\.md:\d+: \$ ") as caught:
        Replay(tmp_path).page(page)
    assert said in str(caught.value)


def test_a_part_of_a_page() -> None:
    (only,) = commands(PAGE, start="## Wrong")
    assert (only.line, only.exit_code, only.at) == ("ls no-such-file", 2, 13)
    assert [c.line for c in commands(PAGE, end="## Wrong")] == [
        "echo run 7 of job-12; echo skipped; echo end",
        "echo <job> again",
    ]


def test_placeholders() -> None:
    assert match("<a> = <a>", "x = x", {}) == {"a": "x"}
    assert match("<a> = <a>", "x = y", {}) is None
    assert match("took … s", "took 1.5 s", {}) == {}
    assert match("a.c", "abc", {}) is None
    assert match("a  b c", "a     b c", {}) == {} and match("a b", "a  b", {}) is None
