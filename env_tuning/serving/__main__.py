"""``python -m env_tuning.serving FOLDER``: a model of this project, or of its size, as a server.

Owns: arguments. Refuses: logic of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    folder: Annotated[Path, typer.Argument(help="A Hugging Face folder: configuration, weights, tokenizer.")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8000,
    name: Annotated[str, typer.Option(help="What requests call the model; the folder's name if absent.")] = "",
    threads: Annotated[int, typer.Option(help="Threads of torch's operators.", min=1)] = 1,
) -> None:
    """Answer /v1/models and /v1/chat/completions until interrupted."""
    import uvicorn

    from env_tuning.serving.chat import chat_app, load_model

    model = load_model(folder, name=name, threads=threads)
    try:
        uvicorn.run(chat_app(model), host=host, port=port, log_level="info")
    finally:
        model.thread.close()


if __name__ == "__main__":
    typer.run(serve)
