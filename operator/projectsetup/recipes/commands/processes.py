"""Child processes, git among them, whose output is read within limits."""

from __future__ import annotations

import os
import resource
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from projectsetup.recipes.commands.errors import CommandError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Consumer = Callable[[bytes], None]
"""Takes a piece of output of at most 64 KiB. An exception from it ends the pipeline."""

ERROR_BYTES = 65_536
"""Limit on the standard error that is kept of each command; the rest is read and dropped."""

_PIECE = 65_536
_TICK = 0.01
"""Seconds between checks whether a command has ended."""

_READER_ENDED = -signal.SIGPIPE


class CommandFailed(Exception):
    """A command of a pipeline failed; the message is its standard error."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, its whole environment and its memory limit in bytes.

    `echo_errors`: pass its standard error on to ours.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    memory: int | None = None
    echo_errors: bool = False


def run_pipeline(
    *commands: Command,
    folder: Path,
    consume: Consumer,
    stdin: bytes = b"",
    channels: Mapping[Path, Consumer] | None = None,
) -> None:
    """Run commands in `folder` as a pipeline; the first one reads `stdin`, 4 KiB at most.

    `consume` takes the output of the last one. Each consumer in `channels` takes what is written to a named pipe, which
    is created at its path. Raises CommandFailed, TemporaryError if a command was killed, and whatever a consumer
    raises; no command is left running.
    """
    with ExitStack() as stack:
        pipes = {stack.enter_context(_named_pipe(path)): consumer for path, consumer in (channels or {}).items()}
        processes: list[subprocess.Popen[bytes]] = []
        source = _pipe_with(stdin)
        for command in commands:
            reading, writing = os.pipe()
            try:
                processes.append(_start(command, folder, source, writing))
            finally:
                os.close(source)
                os.close(writing)
                source = reading
            stack.callback(_end, processes[-1])
        keepers = [_Errors(echo_errors=command.echo_errors) for command in commands]
        output = stack.enter_context(open(source, "rb", buffering=0))  # noqa: PTH123
        _listen(output, processes, consume, keepers, pipes)
        errors = [keeper.kept for keeper in keepers]
        _check_exit_codes(commands, [process.wait() for process in processes], errors)


def _pipe_with(content: bytes) -> int:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return reading


def _start(command: Command, folder: Path, source: int, target: int) -> subprocess.Popen[bytes]:
    with _allocating(command.memory):
        return subprocess.Popen(
            command.arguments,
            cwd=folder,
            env=command.environment,
            stdin=source,
            stdout=target,
            stderr=subprocess.PIPE,
        )


@contextmanager
def _allocating(most: int | None) -> Iterator[None]:
    """Limit the memory of processes started within, and of their children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (most, soft, hard) if limit is not None and limit != resource.RLIM_INFINITY]
    if most is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextmanager
def _named_pipe(path: Path) -> Iterator[int]:
    """Create a named pipe and open it without waiting for a writer."""
    os.mkfifo(path, mode=0o600)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    finally:
        path.unlink()


def _listen(
    output: IO[bytes],
    processes: Sequence[subprocess.Popen[bytes]],
    consume: Consumer,
    errors: Sequence[_Errors],
    pipes: Mapping[int, Consumer],
) -> None:
    """Read all output until the commands have ended."""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ, consume)
        for process, keeper in zip(processes, errors, strict=True):
            if process.stderr is not None:
                selector.register(process.stderr, selectors.EVENT_READ, keeper.take)
        for pipe, consumer in pipes.items():
            selector.register(pipe, selectors.EVENT_READ, consumer)
        while len(selector.get_map()) > len(
            pipes
        ):  # the named pipes never reach their end: we hold them open for writing
            for key, _ in selector.select():
                piece = os.read(key.fd, _PIECE)
                if piece:
                    key.data(piece)
                else:
                    selector.unregister(key.fileobj)
        while pipes and any(process.poll() is None for process in processes):
            for key, _ in selector.select(_TICK):
                key.data(os.read(key.fd, _PIECE))
    for pipe, consumer in pipes.items():
        with suppress(BlockingIOError):
            consumer(os.read(pipe, _PIECE))  # a full pipe holds no more than this


@dataclass(slots=True)
class _Errors:
    """Keeps the beginning of a command's standard error."""

    echo_errors: bool
    kept: bytearray = field(default_factory=bytearray)

    def take(self, piece: bytes) -> None:
        left = ERROR_BYTES - len(self.kept)
        self.kept.extend(piece[:left])
        if self.echo_errors and left > 0:
            sys.stderr.buffer.write(piece[:left])
            sys.stderr.buffer.flush()


def _check_exit_codes(commands: Sequence[Command], codes: Sequence[int], errors: Sequence[bytearray]) -> None:
    """Raise the error of the first failed command, ignoring one that ended because its reader did."""
    failed = [number for number, code in enumerate(codes) if code != 0]
    if not failed:
        return
    first = next((number for number in failed if codes[number] != _READER_ENDED), failed[0])
    if codes[first] < 0:
        name = signal.Signals(-codes[first]).name
        raise TemporaryError(f"{' '.join(commands[first].arguments[:2])} was killed by {name}")
    raise CommandFailed(errors[first].decode("utf-8", "replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


PLAIN = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
"""Environment variables for every git command: no terminal, no translations, no configuration but the repository's."""

_OUTPUT_BYTES = 65_536


def git_output(folder: Path, *arguments: str, environment: Mapping[str, str]) -> str:
    """The output of git, run in `folder`. Raises CommandFailed, TemporaryError, or CommandError beyond 64 KiB."""
    printed = bytearray()

    def consume(piece: bytes) -> None:
        if len(printed) + len(piece) > _OUTPUT_BYTES:
            raise CommandError(f"git {arguments[0]} printed more than {_OUTPUT_BYTES} bytes")
        printed.extend(piece)

    run_pipeline(Command(["git", *arguments], environment), folder=folder, consume=consume)
    return printed.decode("utf-8", "replace").strip()


def local_git(repository: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
    """The output of a git command that only touches the workspace. Raises CommandError if it fails."""
    try:
        return git_output(repository, *arguments, environment={**os.environ, **PLAIN, **(variables or {})})
    except CommandFailed as exc:
        raise CommandError(f"git {arguments[0]} failed: {' '.join(str(exc).split())}") from exc
