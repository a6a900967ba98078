"""The static face: self-contained, safe, complete."""

import re
from html.parser import HTMLParser

from fake_chat import FakeChat, text_chunks, tool_chunks

from kit.widget import ChatView

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
        *("withheld", "&lt;tool&gt;", "&lt;i&gt;", "&lt;u&gt;", "Head</h1>", "x = "),
        *("it &lt;broke&gt;", "&lt;script&gt;", "claude-opus-5-5"),
    ):
        assert said in rendered, said
    assert "secret" not in rendered


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
