"""A provider and a deployment in processes of their own, and one conversation on them.

What the tests of failing and of stopped replies share.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from deployment_fixture import DeploymentProcess, deployment_process

__all__ = ["ReplyStage", "reply_stage", "scripted_process"]


@dataclass
class ReplyStage:
    """The processes, and the conversation of one test. `open` begins another one."""

    deployment: DeploymentProcess
    provider: str
    task_id: str = ""
    prompt: str = ""

    def open(self) -> ReplyStage:
        task_id = self.deployment.value("mutation", "tasks:create", {"title": "t"})
        return ReplyStage(self.deployment, self.provider, task_id)

    def request(self, model: str, prompt: str = "Hello", **more: Any) -> dict[str, Any]:
        """Arguments that ask for a reply, with a prompt of their own."""
        self.prompt = f"{prompt} {uuid.uuid4().hex}"
        return {"taskId": self.task_id, "prompt": self.prompt, "model": model, **more}

    def ask(self, model: str, prompt: str = "Hello", **more: Any) -> dict[str, Any]:
        """A reply, once it has ended."""
        args = self.request(model, prompt, **more)
        found: dict[str, Any] = self.deployment.value(
            "action", "streaming:streamChatWithTools", args
        )
        return found

    def send(self, model: str, prompt: str = "Hello", **more: Any) -> dict[str, Any]:
        """Begin a reply; its ids."""
        args = self.request(model, prompt, **more)
        found: dict[str, Any] = self.deployment.value(
            "mutation", "streaming:send", args
        )
        return found

    def messages(self) -> list[dict[str, Any]]:
        args = {"taskId": self.task_id}
        rows: list[dict[str, Any]] = self.deployment.value(
            "query", "messages:byTask", args
        )
        return rows

    def task(self) -> dict[str, Any]:
        args = {"taskId": self.task_id}
        found: dict[str, Any] = self.deployment.value("query", "tasks:get", args)
        return found

    def chunks(self, stream_id: str) -> list[dict[str, Any]]:
        """What has been accepted of a reply."""
        args = {"streamId": stream_id, "from": 0}
        caught_up = self.deployment.value("query", "streaming:catchUp", args)
        return [chunk for row in caught_up["deltas"] for chunk in row["chunks"]]

    def requests(self) -> list[dict[str, Any]]:
        """What the provider was asked for the last prompt."""
        log = requests.get(f"{self.provider}/log", timeout=30).json()["requests"]
        return [entry for entry in log if self.prompt in entry["prompt"]]


@contextmanager
def reply_stage(data: Path, env: Mapping[str, str]) -> Iterator[ReplyStage]:
    with (
        scripted_process() as url,
        deployment_process(
            data=data, functions=None, env={"KIT_SCRIPTED_URL": url, **env}
        ) as deployment,
    ):
        yield ReplyStage(deployment, url)


@contextmanager
def scripted_process(*options: str) -> Iterator[str]:
    """A scripted provider, as fast as possible unless told otherwise; its URL."""
    command = [sys.executable, "-m", "kit.llm.scripted", "--pace", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
