"""A warm interpreter that forks for every program it is sent, and reports what became of it.

Requests come through standard input, replies go through standard output (`qads.sandbox.guest.frames`). Neither file is
open in the process of a program.
"""

from __future__ import annotations

import codecs
import gc
import importlib
import json
import os
import resource
import select
import signal
import site
import struct
import sys
import time
from contextlib import suppress

from qads.sandbox.guest import confinement, program
from qads.sandbox.guest.frames import MESSAGE_CHARS, REQUEST, Limits, Reply, cut, pack_reply

__all__ = ["main"]

_VERDICT = struct.Struct("<id")  # How the program's process ended (as wait(2) says it), and its seconds of CPU.
_STANDARD = (
    "asyncio cmath collections copy dataclasses datetime decimal enum fractions functools heapq inspect itertools math"
    " operator random re statistics string typing"
)
"""What programs import, so that it is there when they do."""


def main(settings: str) -> None:
    """Serve until no request comes any more.

    Args:
        settings: JSON of our own parent: ``limits``, the fields of `Limits`; ``packages`` to import beforehand.
    """
    given = json.loads(settings)
    limits = Limits(**given["limits"])
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    for name in (*_STANDARD.split(), *given["packages"]):
        importlib.import_module(name)
    site.setquit()  # Programs call exit().
    gc.collect()
    gc.freeze()  # What is here already is neither looked at nor copied by the collector of a program.
    base = confinement.address_space()
    os.write(replies, pack_reply(0, Reply("ok", "", None, "ready")))
    os.dup2(null, 2)
    number = 0
    while header := _read(requests, REQUEST.size):
        number = REQUEST.unpack(header)[1]
        source = _read(requests, REQUEST.unpack(header)[2])
        if not (pid := os.fork()):
            os.close(requests)
            _watch(source, limits=limits, base=base, number=number, replies=replies)
        del source
        if os.waitpid(pid, 0)[1]:
            sys.exit("a watcher was killed")  # Nobody knows how much of a reply it wrote.


def _read(file: int, n_bytes: int) -> bytes:
    parts: list[bytes] = []
    while n_bytes and (part := os.read(file, min(n_bytes, 1 << 20))):
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)


def _watch(source: bytes, *, limits: Limits, base: int, number: int, replies: int) -> None:
    """The watcher of one program: start it, listen, give the verdict, and end."""
    try:
        confinement.die_with_parent()
        if limits.isolated:
            confinement.enter_namespaces()
        pipes = [os.pipe() for _ in range(4)]
        first = os.fork()
        if not first:
            os.close(replies)
            _be_first_process(source, limits, base, [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        reply = _Watch(first, [read for read, _ in pipes], limits).reply()
    except OSError as error:  # Of our own steps: a program is told by its verdict.
        reply = Reply("killed", "", None, cut(f"the sandbox could not start it: {error}", 400))
    os.write(replies, pack_reply(number, reply))
    os._exit(0)


def _be_first_process(source: bytes, limits: Limits, base: int, pipes: list[int]) -> None:
    """The first process of the program's namespaces: it starts the program and waits, for orphans too."""
    output, errors, record, verdict = pipes
    os.setsid()  # Of the keeper's process group it could be a signaller.
    confinement.die_with_parent()
    if limits.isolated:
        confinement.mount_scratch(limits.scratch)
        os.chdir("/tmp")
        confinement.drop_capabilities()
    pid = os.fork()
    if not pid:
        confinement.die_with_parent()
        os.dup2(output, 1)
        os.dup2(errors, 2)
        confinement.close_all_but(record)
        confinement.limit(limits, base)
        program.run(source, record=record, answer_chars=limits.output_chars)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for file in (output, errors, record):
        os.close(file)
    ended, status, usage = os.wait4(-1, 0)
    while ended != pid:
        ended, status, usage = os.wait4(-1, 0)
    os.write(verdict, _VERDICT.pack(status, usage.ru_utime + usage.ru_stime))
    os._exit(0)


class _Watch:
    """What is seen of one program from outside."""

    def __init__(self, first: int, pipes: list[int], limits: Limits) -> None:
        self.first, self.limits = first, limits
        self.output, self.errors, self.record, self.verdict = pipes
        self.decoders = {
            file: codecs.getincrementaldecoder("utf-8")("backslashreplace") for file in (self.output, self.errors)
        }
        self.printed: list[str] = []
        self.n_chars = 0
        self.found = {self.record: b"", self.verdict: b""}

    def reply(self) -> Reply:
        """Listen until the program ends or must end, end all that is left of it, and judge."""
        for file in (self.output, self.errors, self.record, self.verdict):
            os.set_blocking(file, False)
        late = self._listen(time.monotonic() + self.limits.wall_seconds)
        self._end()
        for file in (self.output, self.errors, self.record, self.verdict):
            while not self._is_over() and self._hear(file):
                pass
        return self._judge(late)

    def _is_over(self) -> bool:
        return self.n_chars > self.limits.output_chars

    def _listen(self, deadline: float) -> bool:
        """Whether the time ran out."""
        poll = select.poll()
        for file in (self.output, self.errors, self.record, self.verdict):
            poll.register(file, select.POLLIN)
        while not self._is_over():
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            for file, _ in poll.poll(1000 * left):
                if not self._hear(file):
                    poll.unregister(file)
                    if file == self.verdict:
                        return False
                elif file == self.verdict:
                    return False
        return False

    def _hear(self, file: int) -> bool:
        """Take what a pipe has; False: nothing more at present or for good."""
        try:
            data = os.read(file, 1 << 16)
        except BlockingIOError:
            return False
        if file in self.decoders:
            text = self.decoders[file].decode(data, final=not data)
            self.n_chars += len(text)
            if file == self.output:
                self.printed.append(text)
        elif len(self.found[file]) <= 4 * self.limits.output_chars + 4096:
            self.found[file] += data
        return bool(data)

    def _end(self) -> None:
        """Kill the first process: in isolation all in its namespace die with it, else those of its session do."""
        with suppress(ProcessLookupError):
            if self.limits.isolated:
                os.kill(self.first, signal.SIGKILL)
            else:
                os.killpg(self.first, signal.SIGKILL)
        os.waitpid(self.first, 0)

    def _judge(self, late: bool) -> Reply:
        output = "".join(self.printed)
        shown = cut(output, self.limits.output_chars)
        if self._is_over():
            return Reply("output", shown, None, f"printed more than {self.limits.output_chars} characters")
        if late:
            return Reply("timeout", shown, None, f"ran for more than {self.limits.wall_seconds:g} seconds")
        verdict, record = self.found[self.verdict], self.found[self.record]
        if len(verdict) != _VERDICT.size:
            return Reply("killed", shown, None, "all its processes were killed")
        if (status := _read_status(verdict, self.limits.seconds)) is not None:
            return Reply(status[0], shown, None, status[1])
        return self._read_record(record, output, shown)

    def _read_record(self, record: bytes, output: str, shown: str) -> Reply:
        kind, text = record[:1], record[1:].decode("utf-8", "backslashreplace")
        if kind == program.MEMORY:
            return Reply("memory", shown, None, f"needed more than {self.limits.memory >> 20} MiB of memory")
        if kind == program.ERROR:
            return Reply("error", shown, None, cut(" ".join(text.split()), MESSAGE_CHARS))
        if kind == program.ANSWER:
            return Reply("ok", shown, cut(text, self.limits.output_chars), "")
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        if not lines:
            return Reply("nothing", shown, None, "neither printed, returned nor named an answer")
        return Reply("ok", shown, lines[-1], "")


def _read_status(verdict: bytes, seconds: float) -> tuple[str, str] | None:
    """How a process ended that did not end well."""
    status, used = _VERDICT.unpack(verdict)
    code = os.waitstatus_to_exitcode(status)
    if -code == signal.SIGXCPU or (-code == signal.SIGKILL and used >= seconds):
        return "timeout", f"used more than {seconds:g} seconds of CPU"
    if code < 0:
        return "killed", f"killed by signal {-code} ({signal.strsignal(-code) or 'unnamed'})"
    return ("error", f"ended with exit code {code}") if code else None


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main(sys.argv[1])
