"""A model of transformers as a GGUF file, in the manner of llama.cpp's convert_hf_to_gguf.py."""
import math

import gguf
import numpy as np

ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2,
                 "qwen3": gguf.MODEL_ARCH.QWEN3}
TYPES = {"torch.float32": gguf.GGMLQuantizationType.F32, "torch.float16": gguf.GGMLQuantizationType.F16,
         "torch.bfloat16": gguf.GGMLQuantizationType.BF16}


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def adjacent_pairs(rows, heads):
    """Rows of a query or key projection: pairs (x[i], x[i + n/2]) of each head become neighbours."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def llama3_factors(rope, dims):
    """The divisors of the frequencies that Llama 3.1's scaling comes to."""
    frequencies = rope["rope_theta"] ** (-np.arange(0, dims, 2, dtype=np.float64) / dims)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    periods = rope["original_max_position_embeddings"] * frequencies / (2 * math.pi)  # in the old context
    smooth = np.clip((periods - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)


def add_rope(writer, rope, dims):
    writer.add_rope_dimension_count(dims)
    writer.add_rope_freq_base(rope["rope_theta"])
    kind = rope.get("rope_type", "default")
    if kind == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(rope, dims))
        return
    if kind == "default":
        return
    writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
    writer.add_rope_scaling_factor(rope["factor"])
    if kind != "yarn":
        return
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if "beta_fast" in rope:
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
    if "attention_factor" in rope:  # llama.cpp takes it times what YaRN prescribes for the factor
        writer.add_rope_scaling_attn_factors(rope["attention_factor"] / (1 + 0.1 * math.log(rope["factor"])))


def add_shape(writer, config, head_dim):
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if head_dim * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)


def convert(model, file, split_tensors=0):
    """Writes `file`; with `split_tensors`, files of so many tensors each, named after it."""
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer = gguf.GGUFWriter(file, config.model_type, split_max_tensors=split_tensors)
    add_shape(writer, config, head_dim)
    names = gguf.get_tensor_name_map(ARCHITECTURES[config.model_type], config.num_hidden_layers)
    heads = {".q_proj.": config.num_attention_heads, ".k_proj.": config.num_key_value_heads}
    for name, parameter in model.named_parameters():  # a tied head is not among them
        values = parameter.detach().float().numpy()
        for part, count in heads.items():
            if config.model_type == "llama" and part in name:
                values = adjacent_pairs(values, count)
        kind = TYPES[str(parameter.dtype)] if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), gguf.quants.quantize(values, kind),
                          raw_dtype=kind)
    add_rope(writer, config.rope_parameters, head_dim)
    write(writer)
