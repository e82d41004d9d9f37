"""Requests to a server that scores: repeated where that can help, and explained where it cannot.

What the server sent is quoted in errors, so it is cut, freed of control characters, and searched for the key. The
requests run on an event loop in a thread of its own: a synchronous caller can be interrupted at once, and a caller
that has a loop already (a notebook) can wait here as well.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import json
import logging
import os
import random
import re
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2

from qads.cluster import Execution
from qads.errors import EngineError, InputError

__all__ = ["Connection", "Refusal", "check_key_variable", "check_url", "read_key"]

logger = logging.getLogger(__name__)

_QUOTED = 200
"""Characters of an answer that an error shows."""
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
"""Seconds before the first repetition, doubled before each further one, up to the second number."""
_PATIENCE = 600.0
"""Seconds that a server may ask us to wait."""
_LONGEST_ANSWER = 256 << 20
"""Bytes of an answer, unpacked."""
_Found = TypeVar("_Found")


class Refusal(EngineError):
    """The server understood the request and will not serve it; to repeat it would not help."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _Passing(Exception):
    """A failure that may be over in a while, and the seconds that the server asks to wait."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


def check_url(url: str) -> None:
    """Refuse an address that is none of a web server, or that holds what should stay secret.

    Raises:
        InputError: says what is wrong, without showing what may be a password.
    """
    try:
        parts = urlsplit(url)
        plain = bool(parts.hostname) and httpx2.URL(url).host != "" and parts.port != 0
    except (ValueError, httpx2.InvalidURL):
        raise InputError("engine.url: is no address; it must be like http://127.0.0.1:8000/v1.") from None
    if "@" in url:
        host = parts.netloc.rpartition("@")[2]
        raise InputError(
            f"engine.url: holds a name or password for {host or 'its host'}; addresses end up in logs. Put the key "
            "into an environment variable and name that in engine.api_key_variable."
        )
    if parts.query or parts.fragment:
        raise InputError(
            f"engine.url: {re.split('[?#]', url)[0]} is followed by ? or #; give the address alone, and a key in the "
            "variable that engine.api_key_variable names."
        )
    if parts.scheme not in ("http", "https") or not plain:
        raise InputError(f"engine.url: {url!r} must begin with http:// or https:// and name a host.")


def check_key_variable(name: str) -> None:
    """Refuse what is no name of a variable; it is not shown, since it may be the key itself.

    Raises:
        InputError: says so.
    """
    if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise InputError(
            "engine.api_key_variable: must be the name of an environment variable (not the key), or empty to send none."
        )


def read_key(variable: str) -> str | None:
    """The key that the environment holds; None where it holds none.

    Raises:
        EngineError: it cannot be sent in a header.
    """
    key = os.environ.get(variable, "").strip() if variable else ""
    if not (key.isascii() and key.isprintable() and " " not in key) and key:
        raise EngineError(f"{variable}: holds spaces or characters that no key has; set it anew.")
    return key or None


class Connection:
    """Sends requests to one server; close it after use.

    Args:
        url: checked by `check_url`.
        key: sent as a bearer token to this server alone.
        execution: requests at once, seconds for each, repetitions.
        hint: what to look at where the server says that there is nothing at an address.
    """

    def __init__(self, url: str, key: str | None, execution: Execution, *, hint: str = "") -> None:
        self.url = url.rstrip("/")
        self._key, self._hint = key, hint
        self._timeout, self._retries = execution.timeout, execution.retries
        self._random = random.SystemRandom()  # Many clients that wait equally long would come back together.
        near = _is_loopback(urlsplit(url).hostname or "")
        if key and url.startswith("http:") and not near:
            logger.warning("%s: the key goes over the network unencrypted; use https.", self.url)
        try:
            self._client = httpx2.AsyncClient(
                headers={"Authorization": f"Bearer {key}"} if key else None,
                limits=httpx2.Limits(max_connections=execution.concurrency),
                timeout=None,  # The whole request is timed, not each part of it.
                follow_redirects=False,
                trust_env=not near,  # No proxy stands between this machine and itself.
            )
        except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
            raise self.error(
                f"cannot be reached as the environment says ({type(error).__name__}: {_without_login(str(error))}). "
                "Set HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR right, or unset them."
            ) from None
        self._slots = asyncio.Semaphore(execution.concurrency)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qads-engine", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _Found]) -> _Found:
        """Wait for `work` on the loop of this connection; an interruption cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End what is under way and let go of the server."""
        if self._loop.is_closed():
            return
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.aclose()

    async def ask(self, method: str, path: str, content: Any = None) -> Any:
        """The JSON that the server answers.

        Raises:
            Refusal: the server will not do it.
            EngineError: it could not be reached or failed as often as we tried, or sent what is no JSON.
        """
        for attempt in itertools.count():
            try:
                async with self._slots:
                    return await self._ask_once(method, path, content)
            except _Passing as failure:
                if attempt >= self._retries:
                    raise self.error(
                        f"{failure} Tried {attempt + 1} times. Is the server up, and not overloaded "
                        "(execution.concurrency, execution.timeout)? Finished shards of a run are kept."
                    ) from failure.__cause__
                # The server asks for the least: its 0, or a date of a clock behind ours, would wear out all tries.
                wait = max(self._backoff(attempt), failure.wait)
                if failure.wait > _PATIENCE:
                    raise self.error(f"{failure} It asks to come back in {wait:.0f} s; start again then.") from None
                logger.info("%s: %s Again in %.1f s (%d of %d).", self.url, failure, wait, attempt + 1, self._retries)
            await asyncio.sleep(wait)
        raise AssertionError

    def error(self, message: str) -> EngineError:
        """An error that names the server, and shows neither the key nor control characters."""
        return EngineError(f"{self.url}: {self._clean(message)}")

    def _backoff(self, attempt: int) -> float:
        return min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt) * self._random.uniform(0.5, 1.0)

    async def _ask_once(self, method: str, path: str, content: Any) -> Any:
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream(method, f"{self.url}{path}", json=content) as response,
            ):
                text = await self._text(path, response)
        except TimeoutError:
            raise _Passing(f"gave no answer within {self._timeout:g} s.") from None
        except httpx2.RequestError as error:
            reason = self.quote(str(error))
            raise _Passing(f"cannot be reached ({type(error).__name__}{f': {reason}' if reason else ''}).") from error
        if response.is_success:
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                what = f"{path} answered {response.status_code} with something that is no JSON"
                if text.lstrip()[:1] in ("{", "["):
                    raise _Passing(f"{what}, but begins as if: it was cut short.") from None
                raise self.error(
                    f"{what}: {self.quote(text)!r}. Is this the address of a server that scores?"
                ) from None
        raise self._failure(path, response, text)

    async def _text(self, path: str, response: httpx2.Response) -> str:
        """The answer, unpacked; what is sent may hold a thousand times as much as its length."""
        answer = bytearray()
        async for part in response.aiter_bytes():
            answer += part
            if len(answer) > _LONGEST_ANSWER:
                raise self.error(
                    f"{path} answered {response.status_code} with more than {_LONGEST_ANSWER >> 20} MiB, unpacked. Is "
                    "this the address of a server that scores?"
                )
        return answer.decode("utf-8", "replace")

    def _failure(self, path: str, response: httpx2.Response, text: str) -> Exception:
        """What a status other than success means."""
        status, body = response.status_code, self.quote(text)
        reason = self.quote(response.reason_phrase)
        what = f"{path} answered {status} {reason}{f': {body!r}' if body else ''}."
        if response.has_redirect_location:
            target = _without_login(response.headers["location"])
            return self.error(
                f"{path} redirects to {self.quote(target)!r}; redirects are not followed, since the key and the texts "
                "would go there. If that is your server, give its address as url."
            )
        if status in (408, 429) or (status >= 500 and status != 501):
            return _Passing(what, _seconds(response.headers.get("retry-after", "")))
        advice = ""
        if status in (401, 403):
            sent = "The key that was sent is not accepted." if self._key else "No key was sent."
            advice = f" {sent} Set the variable that engine.api_key_variable names."
        elif status == 404:
            advice = f" {self._hint}"
        return Refusal(str(self.error(f"{what}{advice}")), status)

    def quote(self, text: str) -> str:
        """The beginning of a foreign text, on one line."""
        return " ".join(self._clean(text).split())[:_QUOTED]

    def _clean(self, text: str) -> str:
        text = text.replace(self._key, "[key]") if self._key else text
        return "".join(c if c.isprintable() else " " for c in text)


def _without_login(text: str) -> str:
    """A text without the names and passwords of its addresses."""
    return re.sub(r"//[^/@]*@", "//", text)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _seconds(retry_after: str) -> float:
    """The seconds of a Retry-After header, which states them or a date; 0 where it states neither."""
    if re.fullmatch(r"\d{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        date = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return 0.0
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
