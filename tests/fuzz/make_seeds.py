"""Writes the seeds of the fuzz targets: small valid inputs, and ones that are wrong in one way.

    python3 tests/fuzz/make_seeds.py

Run it again after a format grows; what a campaign finds is added to seeds/ by hand, under a name that says
what it broke.
"""
import json
import struct
from pathlib import Path

SEEDS = Path(__file__).parent / "seeds"

# GGUF's type numbers.
U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def gguf_value(kind, value):
    if kind == STRING:
        return text(value)
    if kind == ARRAY:
        element, items = value
        return struct.pack("<IQ", element, len(items)) + b"".join(gguf_value(element, item) for item in items)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q"}[kind], value)


def gguf(metadata, tensors, version=3, tensor_count=None):
    """tensors: (name, dimensions, type number, bytes)."""
    head = struct.pack("<4sIQQ", b"GGUF", version, len(tensors) if tensor_count is None else tensor_count,
                       len(metadata))
    for key, (kind, value) in metadata.items():
        head += text(key) + struct.pack("<I", kind) + gguf_value(kind, value)
    offset, data = 0, b""
    for name, dimensions, number, content in tensors:
        head += text(name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
        head += struct.pack("<IQ", number, offset)
        padded = content + bytes(-len(content) % 32)
        data += padded
        offset += len(padded)
    return head + bytes(-len(head) % 32) + data


def byte_alphabet():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (b for b in range(256) if b not in plain)
    table = {b: chr(b) for b in plain}
    table.update({b: chr(256 + i) for i, b in enumerate(others)})
    return [table[b] for b in range(256)]


def byte_level_vocabulary():
    tokens = byte_alphabet() + ["he", "ll", "hell", "<|im_end|>"]
    return {"tokenizer.ggml.model": (STRING, "gpt2"), "tokenizer.ggml.pre": (STRING, "qwen2"),
            "tokenizer.ggml.tokens": (ARRAY, (STRING, tokens)),
            "tokenizer.ggml.token_type": (ARRAY, (I32, [1] * 259 + [3])),
            "tokenizer.ggml.merges": (ARRAY, (STRING, ["h e", "l l", "he ll"])),
            "tokenizer.ggml.eos_token_id": (U32, 259), "tokenizer.ggml.add_bos_token": (BOOL, False),
            "tokenizer.chat_template": (STRING, "{% for m in messages %}{{ m.role }}{% endfor %}")}


def sentencepiece_vocabulary():
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "\u2581", "a", "\u2581a", "ab"]
    kinds = [2, 3, 3] + [6] * 256 + [1] * 4
    scores = [0.0] * 259 + [-1.0, -2.0, -1.5, -3.0]
    return {"tokenizer.ggml.model": (STRING, "llama"), "tokenizer.ggml.tokens": (ARRAY, (STRING, tokens)),
            "tokenizer.ggml.token_type": (ARRAY, (I32, kinds)),
            "tokenizer.ggml.scores": (ARRAY, (F32, scores)),
            "tokenizer.ggml.bos_token_id": (U32, 1), "tokenizer.ggml.eos_token_id": (U32, 2),
            "tokenizer.ggml.unknown_token_id": (U32, 0)}


def tiny_llama(vocabulary, extra=None):
    """One layer of width 32 in Q8_0, whose blocks of 32 take 34 bytes."""
    tokens = len(vocabulary["tokenizer.ggml.tokens"][1][1])
    metadata = {"general.architecture": (STRING, "llama"), "llama.block_count": (U32, 1),
                "llama.context_length": (U32, 64), "llama.embedding_length": (U32, 32),
                "llama.feed_forward_length": (U32, 32), "llama.attention.head_count": (U32, 2),
                "llama.attention.head_count_kv": (U32, 1), "llama.rope.freq_base": (F32, 10000.0),
                "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5), **vocabulary, **(extra or {})}
    norm = lambda name: (name, [32], 0, struct.pack("<32f", *[1.0] * 32))
    matrix = lambda name, rows: (name, [32, rows], 8, (b"\x00\x3c" + bytes(range(32))) * rows)
    tensors = [matrix("token_embd.weight", tokens), norm("output_norm.weight"),
               norm("blk.0.attn_norm.weight"), matrix("blk.0.attn_q.weight", 32),
               matrix("blk.0.attn_k.weight", 16),
               matrix("blk.0.attn_v.weight", 16), matrix("blk.0.attn_output.weight", 32),
               norm("blk.0.ffn_norm.weight"), matrix("blk.0.ffn_gate.weight", 32),
               matrix("blk.0.ffn_up.weight", 32), matrix("blk.0.ffn_down.weight", 32)]
    return metadata, tensors


def gguf_seeds():
    metadata, tensors = tiny_llama(byte_level_vocabulary())
    whole = gguf(metadata, tensors)
    yarn = {"llama.rope.scaling.type": (STRING, "yarn"), "llama.rope.scaling.factor": (F32, 4.0),
            "llama.rope.scaling.original_context_length": (U32, 16)}
    return {"byte_level": whole, "sentencepiece": gguf(*tiny_llama(sentencepiece_vocabulary())),
            "yarn": gguf(*tiny_llama(byte_level_vocabulary(), yarn)), "truncated": whole[:-40],
            "version_2": gguf(metadata, tensors, version=2), "no_tensors": gguf(metadata, []),
            "more_tensors_than_there_are": gguf(metadata, tensors, tensor_count=1 << 40),
            "split": gguf({**metadata, "split.no": (U32, 0), "split.count": (U32, 3)}, tensors),
            "array_of_arrays": gguf({"a": (ARRAY, (ARRAY, [(U32, [1]), (U32, [2])]))}, [])}


def safetensors(header, data=b"", header_bytes=None):
    body = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(body) if header_bytes is None else header_bytes) + body + data


def safetensors_seeds():
    two = {"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
           "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]}}
    one = lambda **fields: {"a": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8], **fields}}
    index = {"metadata": {"total_size": 22}, "weight_map": {"a": "model-00001-of-00002.safetensors",
                                                            "b": "model-00002-of-00002.safetensors"}}
    return {"two": safetensors(two, bytes(22)), "empty": safetensors({}), "hole": safetensors(two, bytes(23)),
            "overlap": safetensors({**one(), "b": one()["a"]}, bytes(8)),
            "outside": safetensors(one(data_offsets=[0, 1 << 62]), bytes(8)),
            "dtype_lie": safetensors(one(dtype="F64"), bytes(8)),
            "shape_bomb": safetensors(one(shape=[1 << 32, 1 << 32]), bytes(8)),
            "deep": safetensors(b"[" * 10_000),
            "header_beyond_the_file": safetensors({}, header_bytes=1 << 63),
            "fp8": safetensors({"a.weight": {"dtype": "F8_E4M3", "shape": [2, 3], "data_offsets": [0, 6]},
                                "a.weight_scale_inv": {"dtype": "F32", "shape": [1, 1],
                                                       "data_offsets": [6, 10]}}, bytes(10)),
            "index": json.dumps(index).encode(),
            "index_outside": json.dumps({"weight_map": {"a": "../x.safetensors"}}).encode()}


def config_seeds():
    llama = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 256,
             "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
             "hidden_act": "silu", "rope_theta": 10000.0, "tie_word_embeddings": False,
             "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": [2, 3]}
    scaled = lambda **scaling: {**llama, "rope_scaling": scaling}
    qwen = {**llama, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
            "use_sliding_window": False, "sliding_window": 131072, "max_window_layers": 28}
    seeds = {"llama": llama, "linear": scaled(rope_type="linear", factor=4.0),
             "llama3": scaled(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                              original_max_position_embeddings=64),
             "yarn": scaled(type="yarn", factor=4.0, original_max_position_embeddings=128, beta_fast=32.0,
                            beta_slow=1.0, attention_factor=1.2),
             "rope_parameters": {**llama, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
             "longrope": scaled(rope_type="longrope", short_factor=[1.0], long_factor=[2.0]), "qwen2": qwen,
             "qwen3": {**qwen, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"},
             "negative": {**llama, "num_hidden_layers": -1}, "huge": {**llama, "hidden_size": 1 << 62},
             "quantised": {**llama, "quantization_config": {"quant_method": "fp8"}}, "list": [llama],
             "fp8_blocks": {**llama, "quantization_config": {"quant_method": "fp8", "fmt": "e4m3",
                                                             "weight_block_size": [128, 128]}},
             "fp8_odd_blocks": {**llama, "quantization_config": {"quant_method": "fp8",
                                                                 "weight_block_size": [1 << 62, -1]}},
             "generation": {"eos_token_id": [151645, 151643], "bos_token_id": 151643, "temperature": 0.7}}
    return {name: json.dumps(seed).encode() for name, seed in seeds.items()}


def tokenizer_seeds():
    alphabet = {character: number for number, character in enumerate(byte_alphabet())}
    special = {"id": 260, "content": "<|im_end|>", "special": True, "lstrip": False, "rstrip": False,
               "single_word": False, "normalized": False}
    split = {"type": "Split", "behavior": "Isolated", "invert": False,
             "pattern": {"Regex": "(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+"}}
    bytes_alone = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    qwen = {"version": "1.0", "added_tokens": [special], "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, bytes_alone]},
            "post_processor": bytes_alone, "decoder": bytes_alone,
            "model": {"type": "BPE", "byte_fallback": False, "ignore_merges": False,
                      "vocab": {**alphabet, "he": 256, "ll": 257, "hell": 258},
                      "merges": ["h e", ["l", "l"], "he ll"]}}
    llama_vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{b:02X}>": 3 + b for b in range(256)},
                   "\u2581": 259, "a": 260, "\u2581a": 261}
    llama = {"added_tokens": [{**special, "id": i, "content": text} 
                              for i, text in enumerate(["<unk>", "<s>"])],
             "normalizer": {"type": "Sequence", "normalizers": [
                 {"type": "Prepend", "prepend": "\u2581"},
                 {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
             "pre_tokenizer": None,
             "post_processor": {"type": "TemplateProcessing", "pair": [], "single": [
                 {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                 "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
             "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
             "model": {"type": "BPE", "byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>",
                       "vocab": llama_vocab, "merges": ["\u2581 a"]}}
    metaspace = {**llama, "normalizer": None, "pre_tokenizer": {
        "type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}}
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": "{{ messages }}"}
    bad = lambda **model: json.dumps({**qwen, "model": {**qwen["model"], **model}}).encode()
    return {"qwen": json.dumps(qwen).encode(), "llama": json.dumps(llama).encode(),
            "metaspace": json.dumps(metaspace).encode() + b"\0" + json.dumps(config).encode(),
            "merge_of_nothing": bad(merges=["x y"]), "hole": bad(vocab={**alphabet, "z": 4000}),
            "same_id": bad(vocab={**alphabet, "he": 0}), "unigram": bad(type="Unigram"),
            "hostile_pattern": json.dumps({**qwen, "pre_tokenizer": {
                **split, "pattern": {"Regex": "(a*)*(a*)*(a*)*b"}}}).encode()}


def template_seeds():
    chatml = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message.content }}"
              "{{ '<|im_end|>\\n' }}{% endfor %}"
              "{% if add_generation_prompt %}<|im_start|>assistant\\n{% endif %}")
    tools = ("{%- if tools %}{{- '# Tools\\n' }}{%- for tool in tools %}"
             "{{- tool | tojson(indent=2) }}{%- endfor %}"
             "{%- endif %}{%- set ns = namespace(last=messages|length - 1) %}{%- for m in messages[::-1] %}"
             "{%- if loop.first and m.content is string and not m.content.startswith('<x>') %}"
             "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}{{- ns.last }}"
             "{%- for m in messages if m.tool_calls %}{%- for c in m.tool_calls %}{{- c.function.name }}"
             "{{- c.function.arguments | tojson }}{%- endfor %}{%- else %}none{%- endfor %}")
    macro = ("{% macro say(x, y='d') %}[{{ x | trim | upper }}:{{ y }}]{% endmacro %}"
             "{{ say(messages[0].content) }}"
             "{{ raise_exception('no') if messages | length > 99 else bos_token }}{{ 'a,b'.split(',')[-1] }}")
    bomb = "{% for i in range(100000) %}{% for j in range(100000) %}{{ i * j }}{% endfor %}{% endfor %}"
    grow = ("{% set ns = namespace(s='a') %}{% for i in range(64) %}"
            "{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}")
    return {name: source.encode() for name, source in {
        "chatml": chatml, "tools": tools, "macro": macro, "loop_bomb": bomb, "growing_text": grow,
        "deep": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "unclosed": "{% for m in messages %}"}.items()}


def grammar_seeds():
    json_like = ('root ::= object\nobject ::= "{" ws (pair ("," ws pair)*)? "}"\n'
                 'pair ::= string ":" ws value\n'
                 'value ::= object | string | [0-9]+ # a number\n'
                 'string ::= "\\"" [^"\\\\\\x00-\\x1F]{0,9} "\\""\n'
                 'ws ::= [ \\t\\n]?\n')
    schema = {"type": "object", "properties": {
        "a": {"type": "integer", "minimum": -5, "maximum": 120},
        "b": {"type": ["string", "null"], "maxLength": 4},
        "c": {"enum": ["x", 1, None, True]},
        "d": {"type": "array", "items": {"$ref": "#/$defs/e"}, "minItems": 1},
        "f": {"type": "string", "pattern": "^[a-z]{2,3}-[0-9]+$"}, "g": {"type": "string", "format": "date"},
        "h": {"anyOf": [{"type": "number"}, {"const": "none"}]}},
        "$defs": {"e": {"type": "object", "properties": {"e": {"$ref": "#/$defs/e"}},
                        "additionalProperties": False}}, "required": ["a", "d"]}
    refused = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
    sources = {"g json": json_like, "g left recursion": "root ::= root \"a\" | \"b\"",
               "g repetition bomb": "root ::= ((\"a\"{1,1000}){1,1000}){1,1000}", "g escapes":
               'root ::= "\\n\\x41\\u00e9\\U0001F600" [^\\u4e00-\\u9fff] .',
               "g undefined": "root ::= missing",
               "s object": json.dumps(schema), "s refused": json.dumps(refused), "s true": "true",
               "s all of": json.dumps({"allOf": [{"type": "integer"}, {"minimum": 3}, {"maximum": 9}]}),
               "s loop": json.dumps({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}})}
    return {name.replace(" ", "_"): name[0].encode() + source.encode() for name, source in sources.items()}


def api_seeds():
    message = {"role": "user", "content": "Hi \u00e9"}
    weather = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
    call = {"id": "call_1", "type": "function",
            "function": {"name": "weather", "arguments": "{\"city\":\"x\"}"}}
    chat = {"model": "tiny", "messages": [message]}
    sampling = {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "seed": -1, "n": 2,
                "presence_penalty": -1, "frequency_penalty": 1.5, "repetition_penalty": 1.1,
                "logit_bias": {"1": -100, "2": 3.5}, "stop": ["a", "b", "\n"], "stop_token_ids": [1, 2],
                "max_tokens": 4, "min_tokens": 1, "ignore_eos": True}
    labels = {"user": "u", "metadata": {"k": "v"}, "service_tier": "flex", "priority": "batch",
              "store": False, "stream": True, "stream_options": {"include_usage": True}}
    bodies = {
        "c chat": chat, "c sampling": {**chat, **sampling}, "c labels": {**chat, **labels},
        "c parts": {"messages": [{"role": "system", "content": [{"type": "text", "text": "a"}]}, message]},
        "c tools": {"messages": [message, {"role": "assistant", "content": None, "tool_calls": [call]},
                                 {"role": "tool", "tool_call_id": "call_1", "content": "21"}],
                    "tools": [weather], "tool_choice": "auto"},
        "c schema": {**chat, "response_format": {"type": "json_schema", "json_schema": {
            "name": "n", "strict": True, "schema": {
                "type": "object", "properties": {"a": {"type": "integer"}},
                                                    "required": ["a"], "additionalProperties": False}}}},
        "c json": {**chat, "response_format": {"type": "json_object"}},
        "c grammar": {**chat, "grammar": "root ::= [a-z]+"},
        "c logprobs": {**chat, "logprobs": True, "top_logprobs": 3},
        "c unknown": {**chat, "frobnicate": 1}, "c wrong types": {"messages": "hi", "n": "two"},
        "t text": {"prompt": "a", **sampling}, "t tokens": {"prompt": [1, 2, 3], "echo": True, "logprobs": 2},
        "t several": {"prompt": ["a", "b"], "best_of": 3, "n": 2}, "t lists": {"prompt": [[1], [2, 3]]},
        "t suffix": {"prompt": "a", "suffix": "b"}, "e text": {"input": "a", "model": "tiny"},
        "e list": {"input": ["a", "b"], "dimensions": 8, "encoding_format": "base64"},
        "e tokens": {"input": [[1, 2], [3]], "user": "u"}}
    seeds = {name.replace(" ", "_"): name[0].encode() + json.dumps(body).encode()
             for name, body in bodies.items()}
    seeds["c_deep"] = b"c" + b"[" * 5000
    seeds["c_repeated_key"] = b'c{"n":1,"n":2,"messages":[]}'
    return seeds


def ticket_seeds():
    # Who comes, what becomes of the ticket, when; then the text, or what is added to the good one's bytes.
    def seed(who=0, how=0, later_ms=3000, rest=b""):
        return struct.pack("<BBI", who, how, later_ms) + rest

    return {"good": seed(), "early": seed(later_ms=1000), "a_bit_early": seed(later_ms=2800),
            "at_the_end_of_its_grace": seed(later_ms=8000), "late": seed(later_ms=8001),
            "years_later": seed(later_ms=0xffffffff), "other_client": seed(who=1), "other_model": seed(who=2),
            "other_class": seed(who=4), "other_body": seed(who=8), "longer_body": seed(who=16),
            "other_key": seed(how=4), "other_boot": seed(how=8), "cut": seed(how=2, rest=b"\0" * 40),
            "one_letter": seed(rest=b"\0" * 50 + b"\1"), "version": seed(rest=b"\1"),
            "signature": seed(rest=b"\0" * 95 + b"\1"), "random": seed(how=1, rest=bytes(range(96))),
            "letters": seed(how=1, rest=b"A" * 96), "padding": seed(how=1, rest=b"A" * 94 + b"=="),
            "too_long": seed(how=1, rest=b"A" * 97), "one_byte": seed(how=1, rest=b"x")}


def words(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(data)) + data


def resume_seeds():
    # How much is there; then what is handed over.
    one = "0000000000000001"
    places = [f"whole {one}", f"stream {one}", f"stream {one}:-.-", f"resume {one}:1.1", f"stream {one}:3.1",
              f"stream {one}:3+1.3+1f", f"resume {one}:3+1f.3+1f", f"stream {one}:3+1f.3+1f:u",
              f"resume {one}:0.0", f"stream {one}:2.e1", f"resume {one}:1c1.-",
              f"resume {one}:1+18446744073709551615.3", "stream 0000000000000002:1", "x"]
    return {f"{place.replace(' ', '_').replace(':', '_')}_at_{stage}": bytes([stage]) + place.encode()
            for place in places for stage in (0, 4, 9)}


def answer_blob(embeds=0, key="", version=1, readable_from=1):
    terms = (b"\1" + words(key) + struct.pack("<I", 32) + bytes(32) + struct.pack("<QqQ", 2**64 - 1, 5, 9))
    shape = bytes([1, 1, 1, 0, 0]) + struct.pack("<HB", 2, 0) + words("") + words("tiny") + words("f")
    return (struct.pack("<HH", version, readable_from) + terms + struct.pack("<IB", 0, embeds) + shape
            + struct.pack("<IB", 0, 0))


def peer():
    return struct.pack("<qIIB", 7, 1000, 1000, 1) + words("") + words("/")


def kept_request_seeds():
    def kept(blob, parts=1, version=1, magic=0x51534453):
        return (struct.pack("<IHH", magic, version, 1) + peer() + words("web") + words("chat") + b"\1"
                + words("tiny") + struct.pack("<Q", 4) + words("")
                + struct.pack("<QQBQIQ", 1, 2, 0, 0, parts, 4) + words(blob)
                + struct.pack("<Q", 3) + words("") + struct.pack("<Q", 0))

    good = answer_blob()
    return {"completion": kept(good), "embedding": kept(answer_blob(embeds=1)),
            "key": kept(answer_blob(key="k")), "parts": kept(good, parts=3),
            "many_parts": kept(good, parts=4096), "no_parts": kept(good, parts=0),
            "later_blob": kept(answer_blob(version=2) + b"more"),
            "other_blob": kept(answer_blob(readable_from=9)), "cut_blob": kept(good[:-1]),
            "no_blob": kept(b""), "later": kept(good, version=2) + b"more",
            "strange": kept(good, magic=7), "cut": kept(good)[:-1]}


def handed_state_seeds():
    def record(section, body):
        return struct.pack("<II", section, len(body)) + body

    def connection(fd, phase, answer=b""):
        return record(3, struct.pack("<iIB", fd, 0, phase) + peer() + bytes(3)
                      + struct.pack("<5Q", 1, 2, 3, 0, 9) + words("GET /") + words("HTTP/1.1 200 OK")
                      + struct.pack("<Q", 1) + words("POST")
                      + words("/v1/completions") + bytes([0, 1, 1, 0, 0]) + words(answer))

    booking = struct.pack("<QIBdQ", 1, 0, 1, 2.0, 1003 * 10**9)
    calendar = struct.pack("<QI6dIQII", 2, 6, *[0.5] * 6, 1, 1002 * 10**9, 3, 1) + booking
    desk = (calendar + struct.pack("<QIQQI", 1000 * 10**9, 1, 1007 * 10**9, 9, 1)
            + struct.pack("<QQQIBBQ", 1, 11, 77, 0, 1, 0, 900))
    daemon = record(1, words("1.0") + words("[server]") + struct.pack("<iQQQ", 5, 1, 2, 3) + bytes(32))
    runner = record(5, words("tiny@cpu0") + struct.pack("<Iq", 1, 99)
                    + struct.pack("<IIBQQIQ", 1, 0, 0, 2, 3, 1, 4) + words("error") + words("crash"))
    drains = record(6, b"\1" + struct.pack("<I", 1) + words("tiny") + struct.pack("<I", 0))
    answers = record(7, struct.pack("<IQ", 1, 7) + words("web") + words("key"))
    bookings = record(8, words(desk))
    whole = (daemon + record(2, struct.pack("<iB", 6, 0)) + connection(7, 0)
             + connection(8, 1, b"stream 0000000000000001:5") + record(4, words(b"request")) + runner + drains
             + answers + bookings)
    return {"daemon": daemon, "whole": whole, "later": whole + record(1000, bytes(8)),
            "bookings": daemon + bookings, "twice": daemon + daemon,
            "same_descriptor": daemon + connection(5, 0), "cut": whole[:-1],
            "no_daemon": answers, "bad_phase": daemon + connection(7, 9)}


def rendezvous_seeds():
    def hello(command, magic=0x4C485344, major=3):
        return (struct.pack("<IHHQQQI", magic, major, 1, 5, 4711, 99, len(command))
                + b"".join(words(word) for word in command))

    good = hello(["--model", "tiny", "--threads", "2"])
    return {"hello": good, "no_words": hello([]), "other_abi": hello([], major=9),
            "strange": hello([], magic=1), "cut": good[:-1], "long": good + b"more"}


def main():
    for target, seeds in {"gguf": gguf_seeds(), "safetensors": safetensors_seeds(),
                          "config_json": config_seeds(), "tokenizer_json": tokenizer_seeds(),
                          "chat_template": template_seeds(), "grammar": grammar_seeds(),
                          "api_request": api_seeds(), "ticket": ticket_seeds(),
                          "resume": resume_seeds(), "kept_request": kept_request_seeds(),
                          "handed_state": handed_state_seeds(), "rendezvous": rendezvous_seeds()}.items():
        folder = SEEDS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (folder / name).write_bytes(data)
        print(f"{target}: {len(seeds)} seeds")


if __name__ == "__main__":
    main()
