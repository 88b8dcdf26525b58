add_library(ds_tokenizer STATIC
  added_tokens.cpp byte_alphabet.cpp byte_level_bpe.cpp character_bpe.cpp character_set.cpp
  chat_family.cpp chat_template.cpp chat_variables.cpp normalizer.cpp pair_merger.cpp pattern_parser.cpp
  piece_scanner.cpp pre_tokenizer.cpp sentencepiece.cpp special_tokens.cpp split_pattern.cpp
  text_stream.cpp tokenizer.cpp tokenizer_base.cpp unicode_categories.cpp unicode_normalization.cpp
  unicode_ranges.cpp utf8.cpp)
target_link_libraries(ds_tokenizer PUBLIC ds_ipc PRIVATE PkgConfig::utf8proc)
add_subdirectory(jinja)
