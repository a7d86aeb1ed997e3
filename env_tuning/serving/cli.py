"""`env-tuning serve`: a model of this project, or of its size, as a server.

Owns: arguments, the port, the line that says where the server is. Refuses: answering (`chat.py`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import socket
from pathlib import Path
from typing import Annotated

import typer

from env_tuning.errors import UserError

_SHUTDOWN_SECONDS = 5


def serve(
    model: Annotated[str, typer.Argument(help="A Hugging Face folder or hub id, a checkpoint, or a finished run.")],
    host: Annotated[str, typer.Option(help="The address to listen on; whoever reaches it may ask.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000,
    name: Annotated[str, typer.Option(help="What requests call the model; the folder's name if absent.")] = "",
    threads: Annotated[int, typer.Option(help="Threads of torch's operators.", min=1)] = 1,
    slots: Annotated[int, typer.Option(help="Requests computed at once; others wait.", min=1)] = 8,
    context: Annotated[int | None, typer.Option(help="Tokens of prompt and answer; the model's own.", min=2)] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The longest answer; the context if absent.", min=1)] = None,
    max_requests: Annotated[int, typer.Option(help="Under way at once; further ones get status 429.", min=1)] = 64,
    max_body_kib: Annotated[int, typer.Option(help="The largest request, in KiB.", min=1)] = 4096,
    timeout: Annotated[float, typer.Option(help="Seconds for one request.", min=0.01)] = 600.0,
) -> None:
    """Answer OpenAI's chat completions, with tools and streaming, on the CPU, until interrupted."""
    if missing := [package for package in ("fastapi", "uvicorn") if importlib.util.find_spec(package) is None]:
        raise UserError(f"env-tuning serve needs {', '.join(missing)}: pip install -e '.[cpu]'")
    from env_tuning.evaluation.sources import find_model_or_id

    folder = Path(find_model_or_id(model))
    with _listener(host, port) as listener:
        # Loading takes a while; a port that is taken is told before it.
        import uvicorn

        from env_tuning.serving.chat import chat_app, load_model
        from env_tuning.serving.limits import Limits

        limits = Limits(body_bytes=max_body_kib * 1024, tokens=max_tokens, requests=max_requests, seconds=timeout)
        served = load_model(
            folder, name=name or Path(model).resolve().name, slots=slots, max_length=context or 0, threads=threads
        )
        try:
            typer.echo(f"[env-tuning] {served.name} answers at http://{host}:{listener.getsockname()[1]}/v1")
            config = uvicorn.Config(
                chat_app(served, limits), log_level="warning", timeout_graceful_shutdown=_SHUTDOWN_SECONDS
            )
            with contextlib.suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            served.thread.close()


def _listener(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Raises:
        UserError: it cannot be had.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise UserError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}); give another --port"
        ) from None
    return listener
