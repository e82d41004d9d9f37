"""Every error that qads raises on purpose.

```
QadsError                     all of them; the command line turns each into one readable block
├── InputError  (ValueError)  what the caller gave cannot be used                       exit 2
│   ├── PoolError             a file or row of a pool: where, what was wrong, what was expected
│   ├── ConfigError           a key or value of a configuration, by its dotted path
│   ├── AlignmentError        two arrays that should describe the same rows do not
│   ├── ModelError            a model that cannot be opened or cannot do what was asked
│   └── TooLongError          rows that do not fit the model's context under the policy "error"
├── EngineError (RuntimeError) a server that scores fails, or answers something else    exit 2
├── ClusterError (RuntimeError) a cluster does not answer, or lost a part for good     exit 2
├── SandboxError (RuntimeError) programs cannot be run in isolation here                exit 2
├── StorageError (OSError)     the disk is full, may not be written to, or is gone     exit 2
└── RunError  (RuntimeError)  the run directory does not allow what was asked           exit 2
    ├── DriftError            a finished stage was made with other settings or inputs
    ├── LockedError           another run is using the directory
    └── CorruptError          a file of a finished stage is not what its manifest says
```

A message says where, what was found (with values), what it must be, and what to do next.
"""

from __future__ import annotations

__all__ = [
    "AlignmentError",
    "ClusterError",
    "ConfigError",
    "CorruptError",
    "DriftError",
    "EngineError",
    "InputError",
    "LockedError",
    "ModelError",
    "PoolError",
    "QadsError",
    "RunError",
    "SandboxError",
    "StorageError",
    "TooLongError",
]


class QadsError(Exception):
    """Base of all errors that qads raises on purpose."""


class InputError(QadsError, ValueError):
    """What the caller gave cannot be used."""


class PoolError(InputError):
    """A file or a row of a pool cannot be used.

    Args:
        found: where, and what was wrong.
        advice: what to do about it, where that depends on who reads the file.
    """

    def __init__(self, found: str, *, advice: str = "") -> None:
        super().__init__(f"{found} {advice}".rstrip())
        self.found, self.advice = found, advice


class ConfigError(InputError):
    """A configuration holds an unknown key or an impossible value."""


class AlignmentError(InputError):
    """Two arrays that should describe the same rows do not."""


class ModelError(InputError):
    """A model cannot be opened, or cannot do what was asked of it."""


class TooLongError(InputError):
    """Rows do not fit the model's context and the policy is ``"error"``."""


class EngineError(QadsError, RuntimeError):
    """A server that scores cannot be reached, fails, or answers something else than what was asked."""


class ClusterError(QadsError, RuntimeError):
    """A cluster does not answer, or a part of it was lost and is not started anew any more."""


class SandboxError(QadsError, RuntimeError):
    """Programs that a model wrote cannot be run in isolation here."""


class StorageError(QadsError, OSError):
    """The system does not let a file be written: the disk is full, may not be written to, or is gone.

    `errno` is the system's number.
    """

    def __str__(self) -> str:
        """The message alone; the number is in it as words."""
        return str(self.args[-1])


class RunError(QadsError, RuntimeError):
    """The run directory does not allow what was asked."""


class DriftError(RunError):
    """A finished stage was made with other settings or inputs than the ones asked for now."""


class LockedError(RunError):
    """Another run is using the directory."""


class CorruptError(RunError):
    """A file of a finished stage is not what its manifest says."""
