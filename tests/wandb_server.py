"""A stand-in for W&B's server: it takes what is uploaded to it, and forgets it with the test."""

import gzip
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from warm import run_script

KEY = "x" * 40


class Server(ThreadingHTTPServer):
    """What it has been told of one run: rows by their line, a summary, the names of files."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.lines: dict[int, dict[str, Any]] = {}
        self.summary: dict[str, Any] = {}
        self.files: set[str] = set()
        self.exit_code: int | None = None

    def environment(self) -> dict[str, str]:
        """Variables by which W&B finds it."""
        return {"WANDB_BASE_URL": self.address, "WANDB_API_KEY": KEY}

    def rows(self) -> list[dict[str, Any]]:
        """Its history; fails where a line of it is missing."""
        return [self.lines[number] for number in range(len(self.lines))]

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """To a question in GraphQL."""
        project = {"id": "p", "name": variables.get("project"), "entity": {"id": "e", "name": "me"}}
        run = {
            "id": "r", "name": variables.get("name"), "displayName": variables.get("displayName"),
            "description": None, "config": "{}", "sweepName": None, "project": project,
            "historyLineCount": len(self.lines), "logLineCount": 0, "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(row) for row in self.rows()[-1:]]),
            "eventsTail": "[]", "summaryMetrics": json.dumps(self.summary), "tags": [],
            "notes": None, "wandbConfig": '{"t": 1}',
        }  # fmt: skip
        if operation == "RunResumeStatus":
            return {"model": {**project, "bucket": run if self.lines else None}}
        if operation == "UpsertBucket":
            return {"upsertBucket": {"bucket": run, "inserted": not self.lines}}
        if operation == "CreateRunFiles":
            urls = [{"name": f, "uploadUrl": f"{self.address}/to/{f}"} for f in variables["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": urls}}
        if operation == "Viewer":
            viewer = {"id": "v", "entity": "me", "username": "me", "email": "", "flags": "{}"}
            return {"viewer": {**viewer, "teams": {"edges": []}}}
        return {"serverInfo": {"features": []}}

    def take(self, stream: dict[str, Any]) -> None:
        """A part of the history, or the summary, or the end."""
        files = stream.get("files", {})
        if history := files.get("wandb-history.jsonl"):
            for number, line in enumerate(history["content"], start=history["offset"]):
                self.lines[number] = json.loads(line)
        if summary := files.get("wandb-summary.json"):
            self.summary |= json.loads(summary["content"][-1])
        self.exit_code = stream.get("exitcode", self.exit_code)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        reply: dict[str, Any] = {}
        if self.path == "/graphql":
            asked = json.loads(body)
            reply = {"data": self.server.answer(asked["operationName"], asked["variables"] or {})}
        elif self.path.endswith("/file_stream"):
            self.server.take(json.loads(body))
        elif self.path.startswith("/to/"):
            self.server.files.add(self.path.removeprefix("/to/"))
        self.send_response(200)
        content = json.dumps(reply).encode()
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST

    def log_message(self, *args: Any) -> None:
        """Nothing on the terminal."""


@contextmanager
def wandb_server() -> Iterator[Server]:
    """The server, while the block runs."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def synced(folder: Path) -> Server:
    """What arrives of a run folder where one types what the run said: `wandb sync ...`."""
    wandb = Path(sys.executable).parent / "wandb"
    halves = sorted(folder.glob("wandb/offline-run-*"))
    with wandb_server() as server:
        said = run_script(
            [wandb, "sync", *halves], env=os.environ | server.environment(), timeout=60
        )
        assert said.returncode == 0, said.stderr
        assert said.stderr.count("Finished syncing") == len(halves), said.stderr
    return server
