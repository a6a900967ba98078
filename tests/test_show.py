"""Sources and diffs as a notebook shows them."""

from kit.show import show_diff, show_source, show_source_diff


class Chat:
    def before(self) -> str:
        return "socket"

    def after(self) -> str:
        return "convex"


def test_a_method_is_shown_without_its_indent() -> None:
    assert show_source(Chat.before).data.startswith("def before(self)")


def test_a_diff_names_both_sides_and_what_changed() -> None:
    diff = show_source_diff(Chat.before, Chat.after).data
    assert f"--- {__name__}:Chat.before" in diff
    assert '-    return "socket"' in diff
    assert '+    return "convex"' in diff


def test_no_difference_is_said_in_words() -> None:
    assert "nothing changes" in show_diff("").data
