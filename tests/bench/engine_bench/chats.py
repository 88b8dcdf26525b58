"""Several chats at once over HTTP: each sends token ids to /v1/completions and reads its stream."""

import json
import random
import threading
import time

ENDPOINT = "/v1/completions"
TOKEN_MIN = 1_000  # above the special and single-byte tokens of every vocabulary in use


def prompt(seed, count, vocabulary):
    chosen = random.Random(seed)
    return [chosen.randrange(min(TOKEN_MIN, vocabulary // 2), vocabulary) for _ in range(count)]


def completion_tokens(server, tokens, count):
    """Runs one chat to its end; the number of tokens that its usage tells."""
    connection = server.connection()
    try:
        connection.request("POST", ENDPOINT, json.dumps(server.body(tokens, count)), server.headers)
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {response.read()[:300]!r}")
        told = 0
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(event["error"])
            if event.get("usage"):
                told = event["usage"]["completion_tokens"]
        return told
    finally:
        connection.close()


def tokens_per_second(server, seed, chats, prompt_tokens, answer_tokens, vocabulary):
    """All chats begin together; answered tokens of all of them by the time until the last has ended."""
    told, errors = [0] * chats, []

    def run(chat):
        try:
            tokens = prompt(seed * 1000 + chat, prompt_tokens, vocabulary)
            told[chat] = completion_tokens(server, tokens, answer_tokens)
        except (OSError, RuntimeError, ValueError) as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(chat,)) for chat in range(chats)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begin
    if errors:
        raise SystemExit(f"engine_bench: a chat failed: {errors[0]}")
    if any(count != answer_tokens for count in told):
        raise SystemExit(f"engine_bench: answers of {sorted(set(told))} tokens instead of {answer_tokens}")
    return sum(told) / seconds
