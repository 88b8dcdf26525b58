#!/usr/bin/env python3
"""Makes tiny random models with transformers, in all the shapes that the runner says it computes, and what
transformers computes from them: models/<name>/.

usage: models.py [--to DIR] [NAME...]

Each folder holds a model as `save_pretrained` writes it, the same weights as model.gguf in the manner of
llama.cpp's converter (model_gguf.py), and expected.gguf:
- metadata prompt.<i>.tokens and prompt.<i>.greedy: token ids, the second list what greedy decoding adds;
- tensors prompt.<i>.logits [tokens, vocabulary] and prompt.<i>.hidden [tokens, hidden_size]: at each position
  of the prompt; hidden states behind the final norm.
Everything expected is computed in float32 by the model as `from_pretrained` reads it from the folder.

Weights are random enough to tell right from nearly right: biases and norms are not what a fresh model has, a
scaled rope must move the logits by 5 % against an unscaled one, and prompts are tried until no step of a
greedy path has its two best logits closer than 1 % of the largest. requirements.txt has the versions that
made the committed files.
"""
import argparse
import copy
import json
import shutil
import zlib
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

import model_gguf
from model_variants import VARIANTS

CONFIGS = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
PROMPT_TOKENS = [3, 17, 60]
GREEDY_TOKENS = 64
GAP_MIN = 0.01  # between the two best logits, relative to the largest magnitude
DISTINCT_TOKENS_MIN = 6  # of a greedy path: more than one word again and again
CANDIDATES = 2048


def random_model(variant, seed):
    """A model whose every parameter is drawn from `seed`."""
    config = CONFIGS[variant.architecture](**variant.config)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5, generator=generator)
            else:
                parameter.normal_(0, 0.5 if name.endswith("bias") else 0.3, generator=generator)
    return model.eval().to(variant.dtype)


@torch.no_grad()
def clear_prompt(model, tokens, seed):
    """A prompt of so many tokens and its greedy path, the first of many that is clear and not too dull."""
    generator = torch.Generator().manual_seed(seed)
    prompts = torch.randint(0, model.config.vocab_size, (CANDIDATES, tokens), generator=generator)
    step, cache, paths = prompts, None, []
    clear = torch.ones(CANDIDATES, dtype=torch.bool)
    for _ in range(GREEDY_TOKENS):
        out = model(step, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache, logits = out.past_key_values, out.logits[:, -1]
        best = logits.topk(2)
        clear &= best.values[:, 0] - best.values[:, 1] > GAP_MIN * logits.abs().amax(dim=-1)
        step = best.indices[:, :1]
        paths.append(step)
    for prompt, path, is_clear in zip(prompts.tolist(), torch.cat(paths, dim=1).tolist(), clear.tolist()):
        if is_clear and len(set(path)) >= DISTINCT_TOKENS_MIN:
            return prompt, path
    raise SystemExit(f"none of {CANDIDATES} prompts of {tokens} tokens has a clear greedy path")


@torch.no_grad()
def logits_and_hidden(model, tokens):
    out = model(torch.tensor([tokens]), output_hidden_states=True, use_cache=False)
    return out.logits[0].float().numpy(), out.hidden_states[-1][0].float().numpy()


def check_rope_matters(variant, model, prompts):
    """The same weights without rope scaling must give other logits, or the fixture shows nothing."""
    rope = model.config.rope_parameters
    if rope["rope_type"] == "default":
        return
    config = copy.deepcopy(model.config)
    config.rope_parameters = {"rope_type": "default", "rope_theta": rope["rope_theta"]}
    plain = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    plain.load_state_dict(model.state_dict())
    with_scaling, _ = logits_and_hidden(model, prompts[-1])
    without, _ = logits_and_hidden(plain, prompts[-1])
    difference = np.abs(with_scaling - without)[-1].max() / np.abs(without)[-1].max()
    assert difference > 0.05, f"{variant.name}: scaling the rope moves the logits by {difference:.3f} only"


def save_directory(variant, model, folder):
    model.save_pretrained(folder, **({"max_shard_size": variant.shard_bytes} if variant.shard_bytes else {}))
    if variant.published_config:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(variant.published_config(config), indent=2) + "\n")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def write_expected(file, model, prompts, paths):
    writer = gguf.GGUFWriter(file, "expected")
    for i, (prompt, path) in enumerate(zip(prompts, paths)):
        whole, _ = logits_and_hidden(model, prompt + path)
        assert whole[len(prompt) - 1:-1].argmax(axis=-1).tolist() == path  # also without a cache
        logits, hidden = logits_and_hidden(model, prompt)
        writer.add_array(f"prompt.{i}.tokens", prompt)
        writer.add_array(f"prompt.{i}.greedy", path)
        writer.add_tensor(f"prompt.{i}.logits", logits)
        writer.add_tensor(f"prompt.{i}.hidden", hidden)
    model_gguf.write(writer)


def make(variant, to):
    folder = to / variant.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    seed = zlib.crc32(variant.name.encode())
    made = random_model(variant, seed)
    read = save_directory(variant, made, folder)
    for name, parameter in read.state_dict().items():
        assert torch.equal(parameter, made.state_dict()[name].float()), name
    found = [clear_prompt(read, count, seed + count) for count in PROMPT_TOKENS]
    prompts, paths = [prompt for prompt, _ in found], [path for _, path in found]
    check_rope_matters(variant, read, prompts)
    write_expected(folder / "expected.gguf", read, prompts, paths)
    if variant.with_gguf:
        model_gguf.convert(made, folder / "model.gguf", variant.gguf_split_tensors)
    files = sorted(folder.iterdir())
    print(f"{variant.name}: {sum(file.stat().st_size for file in files)} bytes in {len(files)} "
          f"files, greedy tokens {[len(set(path)) for path in paths]} distinct", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--to", type=Path, default=Path(__file__).parent / "models", metavar="DIR")
    arguments.add_argument("names", nargs="*", metavar="NAME", help="only these")
    given = arguments.parse_args()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    chosen = [variant for variant in VARIANTS if not given.names or variant.name in given.names]
    for variant in chosen:
        make(variant, given.to)


if __name__ == "__main__":
    main()
