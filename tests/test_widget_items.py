"""Lists and tables, apart into what is complete and what still grows."""

from kit.widget.items import Items, is_loose, loosened
from kit.widget.markdown import parse_blocks, render_tokens


def items_of(text: str) -> Items | None:
    return Items.of(parse_blocks(text)[-1])


def test_the_last_item_of_a_list_is_open() -> None:
    items = items_of("text\n\n1. one\n2. two\n   more\n3. three\n")
    assert items is not None
    assert items.head == "<ol>\n"
    assert render_tokens(items.frozen) == "<li>one</li>\n<li>two\nmore</li>\n"
    assert render_tokens(items.open) == "<li>three</li>\n"
    assert (items.count, items.open_line, items.prefix_lines) == (2, 3, 0)


def test_nested_items_belong_to_their_item() -> None:
    items = items_of("- a\n  - b\n  - c\n- d\n")
    assert items is not None
    assert (items.count, items.open_line) == (1, 3)


def test_all_rows_of_a_table_are_complete() -> None:
    items = items_of("| a |\n|---|\n| 1 |\n| 2 |\n")
    assert items is not None
    assert render_tokens(items.frozen).count("<tr>") == 2
    assert items.open == []
    assert items.head.endswith("<tbody>\n")
    assert (items.count, items.open_line, items.prefix_lines) == (2, 4, 2)


def test_other_blocks_have_no_items() -> None:
    assert items_of("text\n") is None
    assert items_of("| a |\n|---|\n") is None


def test_items_of_a_loose_list_have_paragraphs() -> None:
    tight, loose = items_of("- a\n- b\n"), items_of("- a\n\n- b\n")
    assert tight is not None
    assert loose is not None
    assert not is_loose(tight.frozen)
    assert is_loose(loose.frozen)
    assert render_tokens(loosened(tight.frozen, True)) == render_tokens(loose.frozen)
