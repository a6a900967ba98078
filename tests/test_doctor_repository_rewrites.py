"""Whole messages that are written again and again while they stream."""

from pathlib import Path

import pytest
from reviewed import SERVER, codes, found_in

LOOP = """
let content = "";
const parts: Part[] = [];
async function run() {
  for await (const chunk of stream) {
    %s
  }
}
"""

REWRITES = {
    "prisma": "content += chunk.text; await prisma.m.update({ data: { content } });",
    "in a class": "content += c; await this.prisma.m.update({ data: { content } });",
    "a transaction": "content += c; await tx.m.upsert({ update: { text: content } });",
    "patch": "content = content + c; await ctx.db.patch(id, { content });",
    "template": "content = `${content}${c}`; await ctx.db.replace(id, { content });",
    "a mutation": "content += c; await ctx.runMutation(internal.m.set, { content });",
    "from outside": "content += c; await client.mutation(api.m.set, { content });",
    "drizzle": "content += c; await db.update(messages).set({ content }).where(x);",
    "parts": "parts.push(c); await prisma.m.update({ data: { metadata: { parts } } });",
    "in a branch": "content += c; if (a) { b; } else await ctx.db.patch(i, {content});",
}


@pytest.mark.parametrize("body", REWRITES.values(), ids=REWRITES)
def test_a_rewrite_is_found(tmp_path: Path, body: str) -> None:
    (finding,) = found_in(tmp_path, {SERVER: LOOP % body})
    assert (finding.code, finding.level) == ("whole-rewrite", "warning")


OTHERS = {
    "a delta": "await ctx.runMutation(internal.m.append, { text: chunk.text });",
    "a buffer": "content += c; await client.mutation(api.m.a, {content}); content='';",
    "emptied": "parts.push(c); await client.mutation(api.m.add, {parts}); "
    "parts.length = 0;",
    "made anew": "let text = ''; text += c; await client.mutation(api.m.a, {text});",
    "created once": "content += c; await prisma.m.create({ data: { content } });",
    "a count": "tokens += chunk.n; await prisma.m.update({ data: { tokens } });",
    "its length": "content += c; await ctx.db.patch(id, { size: content.length });",
    "another's": "content += c; hash.update(content); cache.patch(content);",
    "not in a loop": "content += c;",
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_what_is_no_rewrite_is_left(tmp_path: Path, body: str) -> None:
    assert codes(tmp_path, LOOP % body) == []


def test_a_write_after_the_loop_is_none(tmp_path: Path) -> None:
    source = LOOP % "content += chunk.text;" + "await ctx.db.patch(id, { content });"
    assert codes(tmp_path, source) == []


def test_a_loop_over_something_finished_is_none(tmp_path: Path) -> None:
    body = "content += c; await prisma.m.update({ data: { content } });"
    assert codes(tmp_path, (LOOP % body).replace("for await", "for")) == []


def test_at_intervals_it_is_a_note(tmp_path: Path) -> None:
    body = """content += c;
    if (Date.now() - last > 500) { await ctx.db.patch(id, { content }); }"""
    (finding,) = found_in(tmp_path, {SERVER: LOOP % body})
    assert (finding.code, finding.level) == ("whole-rewrite", "note")
    assert finding.line == 7
