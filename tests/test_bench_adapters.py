"""What the adapters add to the SDKs."""

from pathlib import Path

from kit.bench.adapters import adapter_costs
from kit.bench.lab import Lab


async def test_adapters_are_compared_with_their_sdks(tmp_path: Path) -> None:
    async with Lab(tmp_path, names=()) as lab:
        found = await adapter_costs(lab.provider.url, tokens=50, rounds=2)
        requests = await lab.provider_log()
    assert [cost.wire for cost in found] == [
        *("chat-completions", "anthropic-messages", "responses")
    ]
    for cost in found:
        assert cost.sdk > 0
        assert cost.ratio == cost.adapter / cost.sdk
    # Each wire: once to warm up, then twice by the SDK and twice by the adapter.
    assert len(requests) == 15
    assert {len(request["tokens"]) for request in requests} == {50}
