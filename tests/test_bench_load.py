"""What is streamed, in words and as a model's name."""

from kit.bench.load import Load
from kit.llm.scripted.scenario import parse_model


def test_the_scripted_provider_understands_the_model() -> None:
    scenario = parse_model("openrouter", Load(tokens=321, pace=12.5).model)
    assert scenario is not None
    assert (scenario.shape, scenario.tokens, scenario.pace) == ("text", 321, 12.5)


def test_a_load_says_what_is_not_ordinary_about_it() -> None:
    assert str(Load()) == "200 tokens, 50/s"
    crowd = Load(2_000, 0.0, streams=3, viewers=2, delay=0.025, history=10_000)
    assert str(crowd) == (
        "2,000 tokens, as fast as possible, 3 replies, 2 viewers, 25 ms of network "
        "each way, after 10,000 messages"
    )


def test_a_longer_reply_has_more_time() -> None:
    assert Load(tokens=20_000).time_limit > 20_000 / 50
    assert Load(tokens=20_000, pace=0).time_limit > Load(pace=0).time_limit
