// Small tokenisers of every family's pipeline give the ids and the text that Hugging Face's `tokenizers`
// gives (tests/oracle/tokenizers_fixtures.py).
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <sstream>

#include "runner/model/huggingface/hf_vocabulary.h"
#include "runner/model/tokenizer/text_stream.h"
#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner {
namespace {

namespace json = boost::json;
using Specials = Tokenizer::Specials;
using Ids = std::vector<TokenId>;

const json::value& expected() {
  static const json::value value = [] {
    std::ifstream file(TOKENIZER_FIXTURES "/expected.json");
    std::stringstream text;
    text << file.rdbuf();
    return json::parse(text.str());
  }();
  return value;
}

std::vector<std::string> families() {
  std::vector<std::string> names;
  for (const auto& [name, _] : expected().at("families").as_object()) names.emplace_back(name);
  return names;
}

Ids ids_of(const json::value& list) {
  Ids ids;
  for (const json::value& id : list.as_array()) ids.push_back(id.to_number<TokenId>());
  return ids;
}

class HfIdentity : public testing::TestWithParam<std::string> {
 protected:
  HfIdentity() {
    Result<Vocabulary> vocabulary =
        read_hf_vocabulary(std::filesystem::path(TOKENIZER_FIXTURES) / GetParam());
    EXPECT_TRUE(vocabulary) << (vocabulary ? "" : vocabulary.error().message);
    auto made = Tokenizer::make(*std::move(vocabulary));
    EXPECT_TRUE(made) << (made ? "" : made.error().message);
    tokenizer = *std::move(made);
  }
  const json::value& family() const { return expected().at("families").at(GetParam()); }

  std::unique_ptr<Tokenizer> tokenizer;
};

TEST_P(HfIdentity, IdsAndTextAreTheLibrarys) {
  const json::array& strings = expected().at("strings").as_array();
  ASSERT_GE(strings.size(), 200u);
  for (size_t i = 0; i < strings.size(); ++i) {
    const std::string_view text = strings[i].as_string();
    const Ids parsed = ids_of(family().at("parsed").at(i));
    EXPECT_EQ(tokenizer->encode(text, Specials::kParse), parsed) << i << ": " << text;
    EXPECT_EQ(tokenizer->encode(text, Specials::kPlainText), ids_of(family().at("typed").at(i)))
        << i << ": " << text;
    const std::string_view decoded = family().at("decoded").at(i).as_string();
    EXPECT_EQ(tokenizer->decode(parsed), decoded) << i;
    TextStream stream(*tokenizer, true);
    std::string streamed;
    for (const TokenId token : parsed) streamed += stream.append(token);
    EXPECT_EQ(streamed + stream.finish(), decoded) << i;
  }
}

TEST_P(HfIdentity, ThePartsOfATextGiveTheIdsOfTheWhole) {
  for (const json::value& string : expected().at("strings").as_array()) {
    const std::string_view text = string.as_string();
    const size_t half = text.size() / 2;
    const Tokenizer::Part parts[] = {{text.substr(0, half), Specials::kPlainText},
                                     {text.substr(half), Specials::kPlainText}};
    EXPECT_EQ(tokenizer->encode_parts(parts), tokenizer->encode(text, Specials::kPlainText)) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, HfIdentity, testing::ValuesIn(families()), [](const auto& given) {
  std::string name = given.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace deepserve::runner
