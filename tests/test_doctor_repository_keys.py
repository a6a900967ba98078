"""Keys in logs, in scheduled functions, in browsers and in arguments."""

from pathlib import Path

import pytest
from reviewed import SERVER, VIEW, codes, found_in

LOGGED = {
    "by itself": "console.log(apiKey);",
    "in words": "console.warn('failed', context.apiKeys);",
    "in a template": "console.error(`key ${apiKeys.openai} refused`);",
    "in an object": "logger.info({ taskId, apiKeys });",
    "under another name": "this.logger.debug({ given: { k: openaiApiKey } });",
    "as JSON": "console.log(JSON.stringify({ ...context.getApiKeys() }));",
    "what a getter gives": "console.log(context.getApiKeys().anthropic);",
    "of the environment": "console.log('key: ' + process.env.ANTHROPIC_API_KEY);",
    "with a default": "console.log(apiKey ?? 'none');",
    "cast": "console.log((apiKey as string)!);",
    "over lines": "console\n  .log(\n    'x',\n    apiKey,\n  );",
    "at the end of a long text": f"console.log({' + '.join(['x'] * 3000)} + apiKey);",
    "by index": "console.log(apiKeys[provider]);",
}


@pytest.mark.parametrize("source", LOGGED.values(), ids=LOGGED)
def test_a_key_in_the_log_is_found(tmp_path: Path, source: str) -> None:
    assert codes(tmp_path, source) == ["key-logged"]


NOT_LOGGED = {
    "whether there is one": "console.log(!!apiKey, Boolean(apiKey), hasApiKey);",
    "its length": "console.log(apiKey.length, apiKeys.length);",
    "a choice by it": "console.log(apiKey ? 'set' : 'missing');",
    "the names": "console.log(Object.keys(apiKeys));",
    "a comparison": "console.log(apiKey === undefined, typeof apiKey);",
    "a comparison in a choice": "console.log(apiKey === undefined || 'set');",
    "masked": "console.log(mask(apiKey), redact(apiKeys.openai));",
    "a text about it": "console.log('ANTHROPIC_API_KEY is not set', 'apiKey');",
    "another key": "console.log(cacheKey, key, keys, primaryKeys, sortKey);",
    "a field of one": "console.log(apiKey.id, apiKey.name);",
    "no logger": "save(apiKey); catalog.log(apiKey); math.log(apiKey);",
    "a comment": "// console.log(apiKey)\nconsole.log(/* apiKey */ 'x');",
}


@pytest.mark.parametrize("source", NOT_LOGGED.values(), ids=NOT_LOGGED)
def test_what_shows_no_key_is_none(tmp_path: Path, source: str) -> None:
    assert codes(tmp_path, source) == []


def test_a_key_in_a_view_is_found(tmp_path: Path) -> None:
    source = """
    export function Settings({ apiKey }: { apiKey: string }) {
      return <button onClick={() => console.log({ apiKey })}>Save {apiKey}</button>;
    }
    """
    (finding,) = found_in(tmp_path, {VIEW: source})
    assert (finding.code, finding.level, finding.line) == ("key-logged", "error", 3)
    assert "apiKey" in finding.seen


def test_a_function_that_logs_what_it_is_given(tmp_path: Path) -> None:
    source = """
    function trace(what: string, given: unknown) { console.log(what, given); }
    const safe = (given: unknown) => console.log(typeof given);
    class Service {
      private note(options: object) { logger.info(JSON.stringify(options)); }
      run(context: Context) {
        trace("run", context.getApiKeys());
        this.note({ apiKeys: context.getApiKeys() });
        trace(context.getApiKeys().anthropic ? "key" : "none", 1);
        safe(context.apiKeys);
        other.trace("run", context.apiKeys);
      }
    }
    """
    lines = [finding.line for finding in found_in(tmp_path, {SERVER: source})]
    assert lines == [7, 8]


def test_of_two_functions_of_a_name_none_is_taken(tmp_path: Path) -> None:
    source = """
    class A { note(x: unknown) { console.log(x); } }
    class B { note(x: unknown) {} run() { this.note(this.apiKeys); } }
    """
    assert codes(tmp_path, source) == []


def test_a_key_that_is_scheduled(tmp_path: Path) -> None:
    with_key = """
    await ctx.scheduler.runAfter(0, internal.streaming.generate, {
      taskId, options: { apiKeys: args.apiKeys },
    });
    """
    assert codes(tmp_path, with_key) == ["key-scheduled"]
    without = """
    await ctx.scheduler.runAfter(0, internal.streaming.generate, { taskId });
    await ctx.runAction(internal.streaming.generate, { apiKeys });
    timers.runAfter(0, task, { apiKeys });
    """
    assert codes(tmp_path, without) == []


def test_keys_as_arguments_of_an_action_are_a_note(tmp_path: Path) -> None:
    source = """
    await client.action(api.other.run, { taskId, apiKeys: { openai: key } });
    await client.action(api.other.run, { taskId, apiKeys: {} });
    await client.action(api.other.run, { taskId });
    redux.action(run, { apiKeys });
    """
    (finding,) = found_in(tmp_path, {SERVER: source})
    expected = ("key-in-arguments", "note", 2)
    assert (finding.code, finding.level, finding.line) == expected


def test_a_providers_key_in_the_browser(tmp_path: Path) -> None:
    source = """
    const client = new OpenAI({ apiKey: process.env.NEXT_PUBLIC_OPENAI_API_KEY });
    const maps = process.env.NEXT_PUBLIC_MAPS_API_KEY;
    const own = process.env.OPENAI_API_KEY;
    """
    (finding,) = found_in(tmp_path, {VIEW: source})
    assert (finding.code, finding.line) == ("key-in-browser", 2)


def test_the_environments_own_text_is_never_shown(tmp_path: Path) -> None:
    source = 'const apiKey = "sk-ant-0123456789";\nconsole.log(apiKey);\n'
    (finding,) = found_in(tmp_path, {SERVER: source})
    assert "sk-ant" not in str(finding.as_data())
