"""A process that is spoken to in lines: started, listened to, ended for certain."""

import asyncio
import sys

import msgspec
import pytest

from kit.deployment.executor_process import ExecutorProcess
from kit.deployment.executor_protocol import Answer, FromExecutor, Ready


async def start(program: str) -> ExecutorProcess:
    return await ExecutorProcess.start([sys.executable, "-c", program])


async def said(process: ExecutorProcess) -> list[FromExecutor]:
    return [message async for message in process.messages()]


async def test_it_is_heard_until_it_falls_silent() -> None:
    process = await start('print(\'{"type":"Ready"}\')')
    assert await said(process) == [Ready()]
    await process.stop()
    assert process.ending == "exit code 0\nIt said nothing on stderr."


async def test_its_last_words_are_kept_and_passed_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    process = await start(
        "import sys; [print(n, file=sys.stderr) for n in range(100)]; sys.exit('π')"
    )
    assert await said(process) == []
    await process.stop()
    lines = process.ending.splitlines()
    assert lines[0] == "exit code 1"
    assert lines[1:] == [*map(str, range(86, 100)), "π"]
    assert "0\n1\n2\n" in capsys.readouterr().err


async def test_what_is_no_message_is_an_error() -> None:
    process = await start("print('hello')")
    with pytest.raises(msgspec.MsgspecError):
        await said(process)
    await process.stop()


async def test_it_is_told_by_the_end_of_its_stdin() -> None:
    process = await start("import sys; sys.stdin.read(); sys.exit(7)")
    async with asyncio.timeout(2):
        await process.stop()
    assert process.ending.startswith("exit code 7\n")


async def test_it_is_killed_when_it_does_not_listen() -> None:
    process = await start(
        'import time; print(\'{"type":"Ready"}\', flush=True); time.sleep(60)'
    )
    async for _ in process.messages():
        break
    async with asyncio.timeout(10):
        await process.stop()
    assert process.ending.startswith("killed by SIGKILL\n")


async def test_speaking_to_one_that_has_ended_does_nothing() -> None:
    process = await start("")
    assert await said(process) == []
    await process.stop()
    process.send(Answer(0))
    await process.stop()


async def test_a_program_that_is_not_there_is_an_oserror() -> None:
    with pytest.raises(OSError, match="no-such-program"):
        await ExecutorProcess.start(["/no-such-program"])
