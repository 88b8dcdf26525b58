"""What the campaign asks: a menu of distinct requests out of a seed, each the same whenever it is asked.

Lengths, several choices, logprobs, greedy and seeded sampling, both endpoints, prompts that share their
beginning and prompts that do not.
"""

import dataclasses

WORDS = ("once upon a time there was little bird king farmer river old morning said the and house forest "
         "went home with her his mother saw big tree happy day night dog cat boy girl sun rain door").split()
# A first token may wait for a runner to be loaded several times over, on a busy host for a minute.
PATIENT = {"X-Deepserve-Deadline-Ms": "600000"}


@dataclasses.dataclass(frozen=True)
class Request:
    number: int
    endpoint: str
    body: dict

    @property
    def scored(self):
        return bool(self.body.get("logprobs"))

    @property
    def choices(self):
        return self.body.get("n", 1)


def prose(random, words):
    return " ".join(random.choice(WORDS) for _ in range(words)).capitalize()


def generation(random, tokens_max):
    tokens = random.choice([random.randint(1, 8), random.randint(20, tokens_max // 2),
                            random.randint(tokens_max // 2, tokens_max)])
    body = {"max_tokens": tokens, "ignore_eos": True, "n": random.choice([1, 1, 1, 2, 3])}
    if random.random() < 0.4:
        body["temperature"] = 0
    else:
        body |= {"temperature": random.choice([0.7, 1.0, 1.3]), "seed": random.randint(0, 2**31),
                 "top_p": random.choice([1.0, 0.9]), "top_k": random.choice([0, 40])}
    if random.random() < 0.2:
        body |= {"presence_penalty": 0.5, "frequency_penalty": 0.2}
    return body


def menu(random, count, tokens_max, model=None):
    """`count` requests whose choices have up to `tokens_max` tokens each."""
    shared = prose(random, 60)
    requests = []
    for number in range(count):
        body = generation(random, tokens_max)
        if model:
            body["model"] = model
        beginning = shared + ". " if random.random() < 0.3 else ""
        text = beginning + prose(random, random.choice([3, 10, 40, 120]))
        scored = random.random() < 0.4
        if random.random() < 0.5:
            body |= {"prompt": text}
            if scored:
                body["logprobs"] = 2
            endpoint = "/v1/completions"
        else:
            body["messages"] = [{"role": "user", "content": text}]
            if scored:
                body |= {"logprobs": True, "top_logprobs": 2}
            endpoint = "/v1/chat/completions"
        requests.append(Request(number, endpoint, body))
    return requests
