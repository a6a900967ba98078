"""A model provider on this machine: no account, no network, no chance.

One aiohttp server that streams Anthropic Messages, OpenAI Responses and Chat
Completions (in OpenRouter's dialect) with their full event sequences, so that the
real SDKs talk to it. The same request always gets the same reply, token by token at
a set pace. Run it with `python -m kit.llm.scripted --port 0 --pace 50`.

Routes, below the paths that `kit.llm.providers.PROVIDERS` names:

| | |
|---|---|
| POST /anthropic/v1/messages, GET /anthropic/v1/models[/{id}] | Anthropic |
| POST /openai/v1/responses, GET /openai/v1/models | OpenAI |
| POST /openrouter/api/v1/chat/completions, GET /openrouter/api/v1/key | OpenRouter |
| GET /log?since=N | requests seen after number N, see `journal` |
| PUT /pace | tokens per second, for the replies that begin from now on |
| GET /health | `{"ok": true}` |

Of requests for a reply, only streaming ones are answered. A key that starts with
`refused`, or none, gets 401. What a real provider would refuse is refused: a tool
result that answers no call, reasoning that came back changed, a missing `max_tokens`,
arguments of past calls that are no JSON object.

**Models.** A well-known name (`claude-opus-5-5`, `gpt-6.2-sol`, `vendor/model` for
the usual vendors) gets a Markdown reply that mentions the prompt, after some
reasoning. If tools are offered and the last prompt contains the name of one, or the
word "tool", that tool is called first. Any other name is 404. A name
`scripted-SCENARIO`, optionally after `claude-`, `gpt-` or `vendor/`, and optionally
followed by `:option=value,…`, plays a scenario:

| scenario | plays |
|---|---|
| text | text alone |
| think | reasoning, a redacted block where the wire has them, text |
| tool, tools2 | one call, or two at once; then, given the results, an answer |
| broken-tool | a call whose arguments are not JSON |
| wrong-tool | a call whose arguments are JSON, but of the wrong types |
| length, refusal | text that ends at the token limit, or in the provider's refusal |
| error-mid | half-way, an error in the stream |
| drop | half-way, the connection is cut |
| eof | half-way, a clean end without the last event |
| stall | half-way, silence |
| http-400 … http-599 | that status before anything else |
| flaky | a 429 or 529 the first time, then a reply |
| slow | the first token late, keep-alives before it |

| option | means | default |
|---|---|---|
| tokens | length of the text | 60 |
| pace | tokens per second, 0 for as fast as possible | the server's |
| at | number of tokens before the fault | half of them |
| delay | seconds before the first token | slow: 1, else 0 |
| fails | how often `flaky` fails before it answers | 1 |
| retry-after | that header, with http-… and flaky | flaky: 0.05, else none |
| rounds | how often tools are called before the answer | 1 |
| context | tokens that a request may have; more is refused as too long | any |
| echo | 1: errors quote the key, as no provider should | 0 |
"""

from kit.llm.scripted.server import create_app, main

__all__ = ["create_app", "main"]
