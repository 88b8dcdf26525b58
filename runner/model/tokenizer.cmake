add_library(ds_tokenizer STATIC
  byte_alphabet.cpp byte_level_bpe.cpp chat_style.cpp chat_template.cpp pre_tokenizer.cpp sentencepiece.cpp
  special_tokens.cpp text_stream.cpp tokenizer.cpp tokenizer_base.cpp utf8.cpp)
target_link_libraries(ds_tokenizer PUBLIC ds_ipc PRIVATE PkgConfig::pcre2)
