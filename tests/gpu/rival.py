"""transformers' `generate` on the same GPU: random weights of the shape of Qwen2-7B, batch 1 and 32, beside
what gpu_bench has told of the same (the log of the stage "bench"). Exit status 77 where transformers, torch
with CUDA or that log is missing.

usage: rival.py BENCH_LOG
"""

import json
import statistics
import sys
import time

import report
from stages import CANNOT_BE_TRIED

SHAPE = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
         "num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 32768}
CONTEXT_TOKENS = 64  # gpu_bench's
NEW_TOKENS = 64
REPEATS = 5


def ours(log_path):
    """Tokens a second by batch size, as gpu_bench told them."""
    with open(log_path) as log:
        told = {one["name"]: one["value"] for one in report.read_figures(log.read(), {})}
    return {batch: told[f"decode 7B batch {batch}"] for batch in (1, 32)}


def make_model():
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config
    if not torch.cuda.is_available():
        raise ImportError("torch sees no GPU")
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(Qwen2Config(**SHAPE), torch_dtype=torch.bfloat16)
    return model.eval()


def rates(model, batch):
    """Tokens a second of each repeat; the first generate is not counted."""
    import torch
    prompt = torch.randint(0, SHAPE["vocab_size"], (batch, CONTEXT_TOKENS), device="cuda")
    found = []
    for repeat in range(REPEATS + 1):
        torch.cuda.synchronize()
        started = time.monotonic()
        with torch.inference_mode():
            model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, pad_token_id=0,
                           min_new_tokens=NEW_TOKENS, max_new_tokens=NEW_TOKENS)
        torch.cuda.synchronize()
        if repeat > 0:
            found.append(batch * NEW_TOKENS / (time.monotonic() - started))
    return found


def figures(own, found):
    """Of each batch size how many times theirs we are, and theirs. A ratio's spread is that of theirs."""
    told = []
    for batch, theirs in found.items():
        ratio, name = own[batch] / statistics.median(theirs), f"decode 7B batch {batch}"
        told.append({"name": f"{name}, of transformers", "value": ratio, "unit": "x", "n": len(theirs),
                     "spread": f"{own[batch] / max(theirs):.3g}-{own[batch] / min(theirs):.3g}"})
        told.append({"name": f"transformers {name}", "value": statistics.median(theirs), "unit": "tokens/s",
                     "n": len(theirs), "spread": f"{min(theirs):.4g}-{max(theirs):.4g}"})
    return told


def main():
    try:
        own = ours(sys.argv[1])
        model = make_model()
    except (ImportError, OSError, report.BadFigures, KeyError) as error:
        print(f"{type(error).__name__}: {error}")
        sys.exit(CANNOT_BE_TRIED)
    print(json.dumps({"figures": figures(own, {batch: rates(model, batch) for batch in (1, 32)})}))


if __name__ == "__main__":
    main()
