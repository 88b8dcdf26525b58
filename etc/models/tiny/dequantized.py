"""The model as the GGUF file holds it: shape from its metadata, weights dequantised to float32."""
import gguf
import torch
from gguf.quants import dequantize

from export import gguf_name
from model import Llama, Shape


def value(reader, key):
    return reader.fields[key].contents()


def shape_of(reader):
    return Shape(
        vocab=value(reader, "llama.vocab_size"), width=value(reader, "llama.embedding_length"),
        layers=value(reader, "llama.block_count"), heads=value(reader, "llama.attention.head_count"),
        kv_heads=value(reader, "llama.attention.head_count_kv"),
        feed_forward=value(reader, "llama.feed_forward_length"),
        context=value(reader, "llama.context_length"),
        rope_base=value(reader, "llama.rope.freq_base"),
        norm_epsilon=value(reader, "llama.attention.layer_norm_rms_epsilon"))


def load(path):
    reader = gguf.GGUFReader(path)
    model = Llama(shape_of(reader))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    weights = {}
    for name, weight in model.state_dict().items():
        tensor = tensors.pop(gguf_name(name))
        values = dequantize(tensor.data, tensor.tensor_type).copy()
        weights[name] = torch.from_numpy(values).view(weight.shape)
    assert not tensors, f"unknown tensors: {list(tensors)}"
    model.load_state_dict(weights)
    return model.eval()
