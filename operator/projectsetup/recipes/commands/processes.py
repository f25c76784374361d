"""Child processes, git among them, whose output is read within bounds however much they print."""

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
"""Takes a piece of output, at most 64 KiB. May raise, which ends the pipeline."""

ERROR_BYTES = 65_536
"""What is kept of that which a command prints on standard error; the rest is read and dropped."""

_PIECE = 65_536
_TICK = 0.01
"""How long the end of a command may go unnoticed, in seconds."""

_READER_ENDED = -signal.SIGPIPE


class Failed(Exception):
    """A command of a pipeline failed; the message is what it printed on standard error."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, all of its environment, and the most memory it may allocate, in bytes.

    `audible`: what is kept of its errors is also passed on to our own standard error.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    memory: int | None = None
    audible: bool = False


def run_pipeline(
    *commands: Command,
    folder: Path,
    consume: Consumer,
    feed: bytes = b"",
    channels: Mapping[Path, Consumer] | None = None,
) -> None:
    """Run commands in `folder`, each reading what the one before it prints; the first reads `feed`, 4 KiB at most.

    `consume` is given what the last one prints, and each consumer of `channels` what is written to a named pipe, which
    is made at its path. Raises Failed, TemporaryError when a command was killed, and what a consumer raises; no command
    runs any more then.
    """
    with ExitStack() as stack:
        pipes = {stack.enter_context(_named_pipe(path)): consumer for path, consumer in (channels or {}).items()}
        processes: list[subprocess.Popen[bytes]] = []
        source = _pipe_with(feed)
        for command in commands:
            reading, writing = os.pipe()
            try:
                processes.append(_start(command, folder, source, writing))
            finally:
                os.close(source)
                os.close(writing)
                source = reading
            stack.callback(_end, processes[-1])
        keepers = [_Errors(audible=command.audible) for command in commands]
        output = stack.enter_context(open(source, "rb", buffering=0))  # noqa: PTH123
        _listen(output, processes, consume, keepers, pipes)
        errors = [keeper.kept for keeper in keepers]
        _judge(commands, [process.wait() for process in processes], errors)


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
    """What is started meanwhile may allocate no more than that, and neither may what it starts."""
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
    """A new named pipe, opened for reading without waiting for who writes to it."""
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
    """Read everything that is printed, to its end."""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ, consume)
        for process, keeper in zip(processes, errors, strict=True):
            if process.stderr is not None:
                selector.register(process.stderr, selectors.EVENT_READ, keeper.take)
        for pipe, consumer in pipes.items():
            selector.register(pipe, selectors.EVENT_READ, consumer)
        while len(selector.get_map()) > len(pipes):  # a pipe that is open for writing here never ends
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
            consumer(os.read(pipe, _PIECE))  # which is all that a pipe holds


@dataclass(slots=True)
class _Errors:
    """What a command prints on standard error, of which a part is kept."""

    audible: bool
    kept: bytearray = field(default_factory=bytearray)

    def take(self, piece: bytes) -> None:
        room = ERROR_BYTES - len(self.kept)
        self.kept.extend(piece[:room])
        if self.audible and room > 0:
            sys.stderr.buffer.write(piece[:room])
            sys.stderr.buffer.flush()


def _judge(commands: Sequence[Command], codes: Sequence[int], errors: Sequence[bytearray]) -> None:
    """The first command that failed says why, unless it ended because the next one did not read on."""
    failed = [number for number, code in enumerate(codes) if code != 0]
    if not failed:
        return
    first = next((number for number in failed if codes[number] != _READER_ENDED), failed[0])
    if codes[first] < 0:
        name = signal.Signals(-codes[first]).name
        raise TemporaryError(f"{' '.join(commands[first].arguments[:2])} was killed by {name}")
    raise Failed(errors[first].decode("utf-8", "replace"))


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
"""Variables of every run of git."""

_OUTPUT_BYTES = 65_536


def git_output(folder: Path, *arguments: str, environment: Mapping[str, str]) -> str:
    """What git prints, run in `folder`: 64 KiB at most. Raises Failed, TemporaryError, or CommandError for more."""
    printed = bytearray()

    def consume(piece: bytes) -> None:
        if len(printed) + len(piece) > _OUTPUT_BYTES:
            raise CommandError(f"git {arguments[0]} printed more than {_OUTPUT_BYTES} bytes")
        printed.extend(piece)

    run_pipeline(Command(["git", *arguments], environment), folder=folder, consume=consume)
    return printed.decode("utf-8", "replace").strip()


def local_git(repository: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
    """The output of a git command that only touches the workspace. Raises CommandError when it fails."""
    try:
        return git_output(repository, *arguments, environment={**os.environ, **PLAIN, **(variables or {})})
    except Failed as exc:
        raise CommandError(f"git {arguments[0]} failed: {' '.join(str(exc).split())}") from exc
