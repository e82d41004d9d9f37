"""A server on this machine that scores: the two forms that the engines speak, and every fault that a server can have."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LogProbs = Callable[[Sequence[int]], list[float]]
Fault = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    protocol_version = "HTTP/1.1"
    server: Scorer

    def do_GET(self) -> None:
        if self.server.models is None:
            self.reply(404, {"detail": "Not Found"})
        else:
            self.reply(200, {"object": "list", "data": self.server.models})

    def do_POST(self) -> None:
        self.answered = False  # One exchange serves all requests of a connection.
        content = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.requests.append((self.path, dict(self.headers), content))
            number = len(self.server.requests)
            fault = self.server.faults.pop(0) if self.server.faults else self.server.always
        if fault is not None:
            fault(self)
        if not self.answered:
            refusal = self.server.refuses(content)
            self.reply(
                *((400, {"error": refusal}) if refusal else (200, self.server.change(self.server.answer(content))))
            )
        self.server.finished.append(number)

    def reply(self, status: int, content: object, **headers: str) -> None:
        self.answered = True
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Scorer(ThreadingHTTPServer):
    """Knows log-probabilities of token ids, and which requests came.

    `faults` befall the next requests, one each, `always` those after them; `change` distorts answers; `refuses` gives
    a reason to refuse a request. `model` gives the tokenizer whose ids it knows.
    """

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no fault of the server."""

    def __init__(self, kind: str, log_probs: LogProbs, word: Callable[[int], str], model: str) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.kind, self.log_probs, self.word, self.model = kind, log_probs, word, model
        self.lock, self.released = threading.Lock(), threading.Event()
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.finished: list[int] = []
        self.models: list[dict[str, Any]] | None = None
        self.faults: list[Fault] = []
        self.always: Fault | None = None
        self.change: Callable[[Any], Any] = lambda answer: answer
        self.refuses: Callable[[dict[str, Any]], str | None] = lambda content: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{'/v1' if self.kind == 'completions' else ''}"

    def answer(self, content: dict[str, Any]) -> Any:
        return self._completion(content) if self.kind == "completions" else self._generation(content)

    def _completion(self, content: dict[str, Any]) -> dict[str, Any]:
        assert content["echo"] is True and content["logprobs"] >= 1 and content["model"]
        prompt = content["prompt"]
        texts = prompt if isinstance(prompt[0], list) else [prompt]
        choices = []
        for index, ids in enumerate(texts):
            found, words = [None, *self.log_probs(ids)], [self.word(i) for i in ids]
            for _ in range(content["max_tokens"]):
                found, words = [*found, -0.5], [*words, "!"]
            logprobs = {"token_logprobs": found, "tokens": words, "text_offset": [], "top_logprobs": None}
            choices.append({"index": index, "text": "".join(words), "logprobs": logprobs, "finish_reason": "length"})
        return {"id": "1", "object": "text_completion", "choices": choices[::-1], "usage": {}}

    def _generation(self, content: dict[str, Any]) -> Any:
        assert content["return_logprob"] is True
        ids = content["input_ids"]
        if not isinstance(ids[0], list):
            return self._generated(ids, content["logprob_start_len"], content)
        return [
            self._generated(*each, content) for each in zip(ids, content["logprob_start_len"], strict=True)
        ]  # fmt: skip

    def _generated(self, ids: list[int], start: int, content: dict[str, Any]) -> dict[str, Any]:
        words = [self.word(i) if content["return_text_in_logprobs"] else None for i in ids]
        found = list(zip([None, *self.log_probs(ids)], ids, words, strict=True))[start:]
        found[0] = (None, *found[0][1:])  # As SGLang: what comes before it may have come from the cache.
        return {"text": "", "meta_info": {"prompt_tokens": len(ids), "input_token_logprobs": found}}


@contextmanager
def serving(kind: str, log_probs: LogProbs, word: Callable[[int], str], model: str) -> Iterator[Scorer]:
    scorer = Scorer(kind, log_probs, word, model)
    thread = threading.Thread(target=scorer.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield scorer
    finally:
        scorer.released.set()
        scorer.shutdown()
        thread.join()
        scorer.server_close()


def says(status: int, content: object = "", **headers: str) -> Fault:
    """Answers so, whatever was asked."""
    return lambda exchange: exchange.reply(status, content, **headers)


def unpacks_without_end(exchange: Exchange) -> None:
    """Answers with a thousand times as much as it sends."""
    exchange.answered = exchange.close_connection = True
    packed = gzip.compress(b" " * (300 << 20), 1)
    exchange.send_response(200)
    exchange.send_header("content-encoding", "gzip")
    exchange.send_header("content-length", str(len(packed)))
    exchange.end_headers()
    with suppress(OSError):  # Whoever asked has had enough.
        exchange.wfile.write(packed)


def resets(exchange: Exchange) -> None:
    """Cuts the connection."""
    exchange.answered = exchange.close_connection = True
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.connection.shutdown(socket.SHUT_RD)
    exchange.rfile.close()
    exchange.connection.close()


def hangs(exchange: Exchange) -> None:
    """Answers nothing until the test is over."""
    exchange.answered = exchange.close_connection = True
    exchange.server.released.wait(60)
