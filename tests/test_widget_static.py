"""The static face: self-contained, safe, complete."""

import re
from html.parser import HTMLParser

import pytest
from fake_chat import FakeChat, text_chunks, tool_chunks

from kit.widget import ChatView
from kit.widget.static import Face, to_html, to_text
from kit.widget.transcript import Transcript

ANSWER = (
    "# Head\n\n| a |\n|--|\n| 1 |\n\n```py\nx = 1\n```\n\n[l](https://x.org) <script>"
)


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def chat() -> FakeChat:
    source = FakeChat()
    source.ask('<b onclick="x">hi</b>')
    source.begin()
    source.feed(*text_chunks("why *not*", part_id="reasoning-0", kind="reasoning"))
    source.feed({"type": "reasoning-start", "id": "r", "redactedData": "secret"})
    source.feed(*tool_chunks("c", "<tool>", '{"a": "<i>"}', '"<u>"'))
    source.feed(*text_chunks(ANSWER))
    source.feed(
        {"type": "error", "id": "error-0", "errorText": "it <broke>", "kind": "server"}
    )
    source.end("failed")
    return source


def test_the_html_needs_nothing_and_runs_nothing() -> None:
    rendered = ChatView(chat(), title="<T>").as_html()
    page = Balanced()
    page.feed(rendered)
    assert page.open == []
    assert page.attributes <= {
        *("style", "href", "rel", "target", "border", "cellpadding", "start"),
        *("role", "aria-level"),
    }
    assert not re.search(
        r"<(script|style|link|img|iframe|b|i|u|tool|broke)\b", rendered
    )
    assert "class=" not in rendered
    assert "url(" not in rendered


def test_the_html_holds_all_that_was_said() -> None:
    rendered = ChatView(chat(), title="<T>").as_html()
    for said in (
        *("&lt;T&gt;", "user", "assistant", "Failed", "&lt;b onclick=", "why <em>not"),
        *("withheld", "&lt;tool&gt;", "&lt;i&gt;", "&lt;u&gt;", "Head</p>", "x = "),
        *("it &lt;broke&gt;", "&lt;script&gt;", "claude-opus-5-5"),
    ):
        assert said in rendered, said
    assert "secret" not in rendered


def test_headings_stay_out_of_the_table_of_contents() -> None:
    rendered = ChatView(chat()).as_html()
    assert not re.search(r"</?h[1-6]", rendered)
    assert 'role="heading" aria-level="1"' in rendered


def shown_of(source: FakeChat, limit: int) -> tuple[str, str]:
    transcript = Transcript(lambda: 0.0)
    transcript.show_messages(source.messages)
    faces = [Face("", "Done", list(transcript.messages.values()))]
    return to_html(faces, limit=limit), to_text(faces, limit=limit)


def test_of_many_messages_the_newest_are_kept() -> None:
    source = FakeChat()
    for number in range(10):
        source.ask(f"question {number} " + "x" * 150)
    for face in shown_of(source, 1000):
        assert "question 9" in face
        assert "question 0" not in face
        assert re.search(r"\d earlier messages are not shown here", face)
        assert len(face) < 2000
    for face in shown_of(source, 100_000):
        assert "question 0" in face
        assert "not shown" not in face


@pytest.mark.parametrize("unit", ["a paragraph\n\n", "one line, "])
def test_of_a_long_message_the_beginning_is_kept(unit: str) -> None:
    source = FakeChat()
    source.begin()
    source.feed(*text_chunks("BEGIN " + unit * 1000 + " END", size=1000))
    source.end()
    page, text = shown_of(source, 1000)
    for face in (page, text):
        assert "BEGIN" in face
        assert "END" not in face
        assert len(face) < 2000
    assert "not shown here" in page
    assert "more characters" in text
    checker = Balanced()
    checker.feed(page)
    assert checker.open == []


def test_the_text_holds_all_that_was_said() -> None:
    assert ChatView(chat(), title="T").as_text() == "\n".join(
        [
            *("T [Failed]", "", "user:", '<b onclick="x">hi</b>', "", "assistant:"),
            *("(reasoning) why *not*", "(reasoning withheld by the provider)"),
            *('(tool <tool>) {"a": "<i>"}', '(result of <tool>) "<u>"', ANSWER),
            "(error) it <broke>",
        ]
    )


def test_before_anything_was_said_it_says_so() -> None:
    view = ChatView(FakeChat())
    assert "No messages yet." in view.as_html()
    assert view.as_text() == "[Ready]"


def test_a_reply_that_is_being_written_is_shown_so_far() -> None:
    source = FakeChat()
    source.begin()
    view = ChatView(source)
    source.feed(*text_chunks("```py\nx = 1", size=100)[:-1])
    assert "x = 1" in view.as_html()
    assert "Streaming" in view.as_text()
