"""The network: a small Llama (RMSNorm, grouped-query attention, SwiGLU, tied embeddings).

The rotation of RoPE turns adjacent pairs (x0,x1), (x2,x3), ... which is what the GGUF architecture "llama"
means by its rope, so that weights go to the file without a permutation.
"""
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Shape:
    vocab: int = 4096
    width: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 4
    feed_forward: int = 768
    context: int = 1024
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5

    @property
    def head_dim(self):
        return self.width // self.heads

    def as_dict(self):
        return asdict(self)


def rope_tables(shape, length):
    """cos, sin: [length, head_dim / 2], float32."""
    pair = torch.arange(0, shape.head_dim, 2, dtype=torch.float64)
    position = torch.arange(length, dtype=torch.float64)
    angle = torch.outer(position, shape.rope_base ** (-pair / shape.head_dim))
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    """x: [batch, heads, tokens, head_dim]; turns each adjacent pair by its position's angle."""
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.q = nn.Linear(shape.width, shape.heads * shape.head_dim, bias=False)
        self.k = nn.Linear(shape.width, shape.kv_heads * shape.head_dim, bias=False)
        self.v = nn.Linear(shape.width, shape.kv_heads * shape.head_dim, bias=False)
        self.output = nn.Linear(shape.heads * shape.head_dim, shape.width, bias=False)

    def forward(self, x, cos, sin):
        batch, tokens, _ = x.shape
        split = lambda y, heads: y.view(batch, tokens, heads, self.shape.head_dim).transpose(1, 2)
        q = rotate(split(self.q(x), self.shape.heads), cos, sin)
        k = rotate(split(self.k(x), self.shape.kv_heads), cos, sin)
        v = split(self.v(x), self.shape.kv_heads)
        group = self.shape.heads // self.shape.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.output(y.transpose(1, 2).reshape(batch, tokens, -1))


class FeedForward(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.gate = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.up = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.attention = Attention(shape)
        self.feed_forward_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.feed_forward = FeedForward(shape)

    def forward(self, x, cos, sin):
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Llama(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        cos, sin = rope_tables(shape, shape.context)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                into_residual = name.endswith(("output.weight", "down.weight"))
                scale = 0.02 / (2 * shape.layers) ** 0.5 if into_residual else 0.02
                nn.init.normal_(parameter, std=scale)

    def forward(self, ids):
        """ids: [batch, tokens] -> logits [batch, tokens, vocab]."""
        x = self.embedding(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, cos, sin)
        return F.linear(self.norm(x), self.embedding.weight)

    def parameter_count(self):
        return sum(parameter.numel() for parameter in self.parameters())


NOT_LEARNED = -100


def token_losses(model, ids, targets):
    """ids, targets: [batch, tokens] -> each target's loss in nats, [batch, tokens]; 0 for NOT_LEARNED."""
    logits = model(ids)
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none",
                           ignore_index=NOT_LEARNED).view(ids.shape[0], -1)


@torch.no_grad()
def greedy(model, ids, count, stop=()):
    """The `count` (or fewer, with `stop`) most probable tokens after `ids`, one at a time."""
    made = []
    for _ in range(count):
        logits = model(torch.tensor([(ids + made)[-model.shape.context:]]))[0, -1]
        made.append(int(logits.argmax()))
        if made[-1] in stop:
            break
    return made
