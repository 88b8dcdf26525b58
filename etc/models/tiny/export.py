"""Writes the weights and tokenizer.json as one GGUF file: architecture "llama", matrices Q8_0, norms F32."""
import argparse
import json
from pathlib import Path

import gguf
import torch
from gguf.quants import quantize

from model import Llama, Shape
from tokenizer import SPECIAL

END_OF_TEXT, TURN_START, TURN_END = SPECIAL
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
BLOCK_TENSORS = {
    "attention_norm": "attn_norm", "attention.q": "attn_q", "attention.k": "attn_k", "attention.v": "attn_v",
    "attention.output": "attn_output", "feed_forward_norm": "ffn_norm", "feed_forward.gate": "ffn_gate",
    "feed_forward.up": "ffn_up", "feed_forward.down": "ffn_down"}


def gguf_name(name):
    """"blocks.3.attention.q.weight" -> "blk.3.attn_q.weight"."""
    if name == "embedding.weight":
        return "token_embd.weight"
    if name == "norm.weight":
        return "output_norm.weight"
    _, number, rest = name.split(".", 2)
    return f"blk.{number}.{BLOCK_TENSORS[rest.removesuffix('.weight')]}.weight"


def add_shape(writer, shape):
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


def add_tokenizer(writer, tokenizer):
    model = tokenizer["model"]
    by_id = {id: token for token, id in model["vocab"].items()}
    special = {entry["id"]: entry["content"] for entry in tokenizer["added_tokens"]}
    by_id.update(special)
    ids = range(len(by_id))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([by_id[id] for id in ids])
    writer.add_token_types([gguf.TokenType.CONTROL if id in special else gguf.TokenType.NORMAL for id in ids])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    id_of = {content: id for id, content in special.items()}
    writer.add_eos_token_id(id_of[TURN_END])
    writer.add_pad_token_id(id_of[END_OF_TEXT])
    writer.add_eot_token_id(id_of[TURN_END])
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def add_weights(writer, weights):
    for name, weight in weights.items():
        values = weight.float().numpy()
        if values.ndim == 1:
            writer.add_tensor(gguf_name(name), values)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(gguf_name(name), quantize(values, kind), raw_dtype=kind)


def write(path, model, tokenizer):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_description("The small model that comes with deepserve")
    writer.add_size_label(f"{model.parameter_count() / 1e6:.1f}M")
    add_shape(writer, model.shape)
    add_tokenizer(writer, tokenizer)
    add_weights(writer, model.state_dict())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path, help="folder with STAGE.pt and tokenizer.json")
    arguments.add_argument("--stage", default="polish")
    arguments.add_argument("gguf", type=Path, help="the file to write")
    arguments.add_argument("--untrained", action="store_true", help="random weights: tests the format")
    given = arguments.parse_args()
    if given.untrained:
        torch.manual_seed(1)
        model = Llama(Shape())
    else:
        saved = torch.load(given.work / f"{given.stage}.pt")
        model = Llama(Shape(**saved["shape"]))
        model.load_state_dict(saved["model"])
    write(given.gguf, model, json.loads((given.work / "tokenizer.json").read_text()))
    print(f"{given.gguf}: {given.gguf.stat().st_size} bytes, {model.parameter_count()} parameters")


if __name__ == "__main__":
    main()
