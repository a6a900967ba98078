"""Models: one adapter per wire format, one shape of chunks out.

`kit.llm.route` decides who is asked, with which key, over which wire; `open_wire`
there gives a `Wire`; a `Wire` starts a `Conversation` (`kit.llm.wire`), whose
`step()` streams one model call as the chunks of `kit.parts`. `kit.llm.scripted` is a
provider that needs no account and no network.

Only the modules below this package know a provider's field names, and only the one
adapter in use imports its SDK: importing this package, `kit.llm.route` or
`kit.llm.wire` imports none.
"""
