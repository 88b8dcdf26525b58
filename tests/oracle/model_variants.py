"""The models of models.py: one for each architecture and switch that the runner says it computes."""
from collections.abc import Callable
from dataclasses import dataclass

import torch

# A width that no vector register divides (44), few enough weights to be committed.
SMALL = {"vocab_size": 80, "hidden_size": 32, "intermediate_size": 44, "num_hidden_layers": 2,
         "max_position_embeddings": 256, "rms_norm_eps": 0.02, "bos_token_id": 1, "eos_token_id": 2}
TWO_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2}       # of 16
FOUR_ON_TWO = {"num_attention_heads": 4, "num_key_value_heads": 2}     # of 8
PLAIN_ROPE = {"rope_theta": 10_000.0}


@dataclass
class Variant:
    name: str
    architecture: str
    config: dict
    dtype: torch.dtype = torch.float32
    shard_bytes: int = 0         # of a file of a sharded directory; 0: one file
    with_gguf: bool = True
    gguf_split_tensors: int = 0  # of a file of a split GGUF; 0: one file
    # What config.json says in the words of older transformers, as nearly all published models do.
    published_config: Callable[[dict], dict] | None = None


def variant(name, architecture, heads, *, rope=None, **settings):
    config = SMALL | {"tie_word_embeddings": False, "rope_parameters": rope or PLAIN_ROPE} | heads
    fields = {key: settings.pop(key) for key in list(settings) if key in Variant.__dataclass_fields__}
    return Variant(name, architecture, config | settings, **fields)


def older_words(scaling_of):
    """rope_theta beside rope_scaling, torch_dtype instead of dtype."""
    def rewrite(config):
        rope = config.pop("rope_parameters")
        config["torch_dtype"] = config.pop("dtype")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = scaling_of(rope)
        return config
    return rewrite


def typed(rope):  # as Qwen2's page tells its users to write it
    kind = rope.pop("rope_type")
    return rope | {"type": kind}


LINEAR = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
# One frequency as it is, one between, the others divided.
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 64}
YARN_BETAS = YARN | {"rope_theta": 1000.0, "beta_fast": 4.0, "beta_slow": 0.5, "attention_factor": 1.3}
# What GGUF has no words for: a ramp from and to fractions of a pair, and DeepSeek's weights.
YARN_EXACT = YARN | {"rope_theta": 1000.0, "truncate": False, "beta_fast": 4.0, "mscale": 1.0,
                     "mscale_all_dim": 0.5}

VARIANTS = [
    variant("llama", "llama", TWO_HEADS),
    variant("llama-tied-gqa", "llama", FOUR_ON_TWO, tie_word_embeddings=True),
    variant("llama-biases", "llama", FOUR_ON_TWO, attention_bias=True),
    variant("llama-head-dim", "llama", FOUR_ON_TWO, head_dim=12),
    variant("llama-rope-linear", "llama", TWO_HEADS, rope=LINEAR, tie_word_embeddings=True,
            published_config=older_words(typed)),
    variant("llama-rope-llama3", "llama", TWO_HEADS, rope=LLAMA3, published_config=older_words(dict)),
    variant("llama-rope-yarn", "llama", TWO_HEADS, rope=YARN, tie_word_embeddings=True),
    variant("llama-sharded", "llama", FOUR_ON_TWO, shard_bytes=30_000, gguf_split_tensors=8),
    variant("llama-f16", "llama", FOUR_ON_TWO, dtype=torch.float16),
    variant("qwen2", "qwen2", FOUR_ON_TWO, rope={"rope_theta": 1_000_000.0},
            published_config=older_words(lambda rope: None)),
    variant("qwen2-rope-yarn", "qwen2", TWO_HEADS, rope=YARN, tie_word_embeddings=True,
            published_config=older_words(typed)),
    variant("qwen2-rope-yarn-betas", "qwen2", TWO_HEADS, rope=YARN_BETAS, tie_word_embeddings=True),
    variant("qwen2-tied-bf16", "qwen2", FOUR_ON_TWO, tie_word_embeddings=True, dtype=torch.bfloat16),
    variant("qwen3", "qwen3", FOUR_ON_TWO, head_dim=12),
    variant("qwen3-tied-bf16", "qwen3", FOUR_ON_TWO, head_dim=16, tie_word_embeddings=True,
            dtype=torch.bfloat16),
    variant("qwen3-rope-yarn-exact", "qwen3", TWO_HEADS, head_dim=16, rope=YARN_EXACT, with_gguf=False,
            tie_word_embeddings=True),
]
