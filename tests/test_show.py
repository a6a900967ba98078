"""Sources and diffs as a notebook shows them."""

import base64

import pytest

from kit.errors import ConfigError
from kit.show import CHANGE_MIME, Picture, show_diff, show_source, show_source_diff


class Chat:
    def before(self) -> str:
        return "socket"

    def after(self) -> str:
        return "convex"


def test_a_method_is_shown_without_its_indent() -> None:
    assert show_source(Chat.before).text.startswith("def before(self)")


def test_a_diff_names_both_sides_and_what_changed() -> None:
    diff = show_source_diff(Chat.before, Chat.after).text
    assert f"--- {__name__}:Chat.before" in diff
    assert '-    return "socket"' in diff
    assert '+    return "convex"' in diff


def test_no_difference_is_said_in_words() -> None:
    assert "nothing changes" in show_diff("").text


def test_a_change_of_a_step_is_carried_to_the_report() -> None:
    bundle = show_diff("+new\n", step="Option 1, step 1")._repr_mimebundle_()
    assert bundle[CHANGE_MIME] == {
        "step": "Option 1, step 1",
        "language": "diff",
        "text": "+new\n",
    }
    assert "new" in bundle["text/html"]
    assert CHANGE_MIME not in show_diff("+new\n")._repr_mimebundle_()
    with pytest.raises(ConfigError, match="no step"):
        show_diff("", step="Option 9")


def test_a_picture_is_an_image_with_words_for_those_who_do_not_see_it() -> None:
    picture = Picture("<svg>é</svg>", 'Latency, "measured"')
    bundle = picture._repr_mimebundle_()
    assert 'alt="Latency, &quot;measured&quot;"' in bundle["text/html"]
    encoded = bundle["text/html"].split("base64,")[1].split('"')[0]
    assert base64.b64decode(encoded).decode() == "<svg>é</svg>"
    assert 'Latency, "measured"' in bundle["text/plain"]
