// The tokeniser of a model, driven line by line over standard input by tests/oracle/tokenizers.py and
// tokenizer_bench.py:
//
//   parse HEX   the ids of a text, control tokens in it found, then a tab and what they decode to in hex
//   plain HEX   the same of a text that a user typed
//   text HEX    keeps a text beside those before: how many there are
//   pass        encodes the kept texts, one after the other: the ids' number, and the processor's nanoseconds
#include <fmt/format.h>

#include <cstdio>
#include <ctime>
#include <iostream>
#include <string>

#include "runner/model/gguf/gguf.h"
#include "runner/model/gguf/gguf_vocabulary.h"
#include "runner/model/huggingface/hf_vocabulary.h"
#include "runner/model/mapped_file.h"
#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner {
namespace {

using Specials = Tokenizer::Specials;

// A directory, or a GGUF file.
Result<Vocabulary> read_vocabulary(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) return read_hf_vocabulary(path);
  TRY_ASSIGN(const MappedFile file, MappedFile::open(path));
  TRY_ASSIGN(const Gguf gguf, Gguf::parse(file.bytes(), path.string()));
  TRY_ASSIGN(const auto tokens, gguf.find_strings("tokenizer.ggml.tokens"));
  return read_gguf_vocabulary(gguf, tokens ? tokens->size() : 0);
}

// Of this thread: what a core gave it, however many others wanted it.
int64_t processor_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

int digit(char c) {
  return c <= '9' ? c - '0' : c - 'a' + 10;
}

std::string bytes_of_hex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1]));
  return bytes;
}

std::string hex_of_bytes(std::string_view bytes) {
  std::string hex;
  for (char byte : bytes) fmt::format_to(std::back_inserter(hex), "{:02x}", static_cast<uint8_t>(byte));
  return hex;
}

void answer(const Tokenizer& tokenizer) {
  std::string line;
  std::vector<std::string> texts;
  while (std::getline(std::cin, line)) {
    const size_t space = std::min(line.find(' '), line.size());
    const std::string word = line.substr(0, space);
    const std::string bytes = bytes_of_hex(std::string_view(line).substr(std::min(space + 1, line.size())));
    if (word == "text") {
      texts.push_back(bytes);
      fmt::print("{}\n", texts.size());
    } else if (word == "pass") {
      const int64_t begin_ns = processor_ns();
      size_t ids = 0;
      for (const std::string& text : texts) ids += tokenizer.encode(text, Specials::kParse).size();
      fmt::print("{} {}\n", ids, processor_ns() - begin_ns);
    } else {
      const auto ids = tokenizer.encode(bytes, word == "plain" ? Specials::kPlainText : Specials::kParse);
      fmt::print("{}\t{}\n", fmt::join(ids, " "), hex_of_bytes(tokenizer.decode(ids)));
    }
    std::fflush(stdout);
  }
}

int run(const std::filesystem::path& path) {
  const int64_t begin_ns = processor_ns();
  Result<Vocabulary> vocabulary = read_vocabulary(path);
  const int64_t read_ns = processor_ns();
  auto tokenizer = vocabulary ? Tokenizer::make(*std::move(vocabulary))
                              : tl::unexpected<Error>(std::move(vocabulary.error()));
  if (!tokenizer) {
    fmt::print("refused: {}\n", tokenizer.error().message);
    return 1;
  }
  fmt::print("ready {} {}\n", read_ns - begin_ns, processor_ns() - read_ns);
  std::fflush(stdout);
  answer(**tokenizer);
  return 0;
}

}  // namespace
}  // namespace deepserve::runner

int main(int count, char** words) {
  if (count == 2) return deepserve::runner::run(words[1]);
  fmt::print(stderr, "Usage: tokenizer_tool DIRECTORY|FILE.gguf\n");
  return 2;
}
