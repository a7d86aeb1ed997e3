"""A model of this project behind the protocol that every client of language models speaks.

`chat` is the server, `local` runs one inside a process, `cli` is ``env-tuning serve``. Nothing is imported here;
FastAPI and uvicorn come with the extra ``cpu``.
"""
