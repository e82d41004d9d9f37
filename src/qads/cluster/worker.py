"""What runs in a worker process: `python -m qads.cluster.worker FD NUMBER`, started by `cluster/processes.py`.

It gets its work over a socket that it shares with the driver alone, then part after part, and answers each. Where the
socket is at its end, the driver is gone, and so is this process with all that it started.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue

from qads.cluster.session import Answer, Record, RecordSender, Session, answer, packed, unpacked

__all__ = ["main"]


def main(descriptor: int, number: int) -> None:
    """Do what the driver asks for, until it ends this process."""
    connection, lock, inbox = Connection(descriptor), threading.Lock(), SimpleQueue[bytes]()
    threading.Thread(target=_listen, args=(connection, inbox), daemon=True).start()

    def send(message: Answer | Record | int) -> None:
        with lock:  # Lanes log, too.
            connection.send_bytes(packed(message))

    execution, level = unpacked(inbox.get())
    RecordSender(send, level).install()
    work = inbox.get()
    session: list[Session] = []

    def begin() -> None:
        session.append(Session(unpacked(work), execution, send))
        session[0].open()

    send(begun := answer(begin, number))
    while begun.error is None:
        part = inbox.get()
        send(answer(lambda part=part: session[0](unpacked(part)), number))
    threading.Event().wait()  # The driver ends it.


def _listen(connection: Connection, inbox: SimpleQueue[bytes]) -> None:
    """Take in what comes; the end of the connection is the end of everything here."""
    try:
        while True:
            inbox.put(connection.recv_bytes())
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)  # This process leads its group.


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
