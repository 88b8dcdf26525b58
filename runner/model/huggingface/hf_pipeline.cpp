#include "runner/model/huggingface/hf_pipeline.h"

#include <boost/json/value.hpp>
#include <functional>
#include <utility>

#include "runner/model/stored_tensor.h"
#include "runner/model/tokenizer/piece_scanner.h"

namespace deepserve::runner {
namespace {

namespace json = boost::json;

constexpr uint32_t kNestedMax = 8;

tl::unexpected<Error> not_supported(const JsonFields& component, std::string_view what) {
  return fail(Code::kNotSupported, "{}: {} is not supported", component.where(), what);
}

// "normalizer \"Nmt\"".
std::string named(std::string_view what, std::string_view name) {
  return fmt::format("{} \"{}\"", what, printable(name.substr(0, 64)));
}

Result<std::string> type_of(const JsonFields& component) {
  TRY_ASSIGN(auto type, component.find_string("type"));
  if (!type) return component.bad("type", "it is missing");
  return *std::move(type);
}

Result<std::string> required_string(const JsonFields& component, std::string_view key) {
  TRY_ASSIGN(auto text, component.find_string(key));
  if (!text) return component.bad(key, "it is missing");
  return *std::move(text);
}

Result<bool> find_bool(const JsonFields& component, std::string_view key, bool otherwise) {
  TRY_ASSIGN(const auto found, component.find_bool(key));
  return found.value_or(otherwise);
}

// Visits a component, or the components of a Sequence under `list_key`, in their order.
using Visit = std::function<Result<void>(const JsonFields& component, const std::string& type)>;
Result<void> for_each_step(const JsonFields& component, const char* list_key, uint32_t depth,
                           const Visit& visit) {
  TRY_ASSIGN(const std::string type, type_of(component));
  if (type != "Sequence") return visit(component, type);
  if (depth >= kNestedMax) return not_supported(component, "a Sequence this deep in others");
  const json::value* list = component.find(list_key);
  const json::array* steps = list ? list->if_array() : nullptr;
  if (!steps) return component.bad(list_key, "no list");
  for (size_t i = 0; i < steps->size(); ++i) {
    TRY_ASSIGN(const JsonFields step,
               JsonFields::of((*steps)[i], fmt::format("{}: {} {}", component.where(), list_key, i)));
    TRY(for_each_step(step, list_key, depth + 1, visit));
  }
  return {};
}

struct Pattern {
  bool is_expression;
  std::string text;
};

Result<Pattern> read_pattern(const JsonFields& component) {
  TRY_ASSIGN(const auto pattern, component.find_object("pattern"));
  if (!pattern) return component.bad("pattern", "it is missing");
  TRY_ASSIGN(auto expression, pattern->find_string("Regex"));
  if (expression) return Pattern{true, *std::move(expression)};
  TRY_ASSIGN(auto text, pattern->find_string("String"));
  if (text && !text->empty()) return Pattern{false, *std::move(text)};
  return component.bad("pattern", "neither a Regex nor a String");
}

Result<SplitBehavior> read_behavior(const JsonFields& component) {
  constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"Contiguous", SplitBehavior::kContiguous},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
  };
  TRY_ASSIGN(const std::string name, required_string(component, "behavior"));
  for (const auto& [known, behavior] : kBehaviors) {
    if (known == name) return behavior;
  }
  return not_supported(component, named("behavior", name));
}

Result<void> read_normalizer_step(const JsonFields& component, const std::string& type,
                                  std::vector<NormalizerStep>& steps) {
  using Kind = NormalizerStep::Kind;
  constexpr std::pair<std::string_view, Kind> kForms[] = {
      {"NFC", Kind::kNfc}, {"NFD", Kind::kNfd}, {"NFKC", Kind::kNfkc}, {"NFKD", Kind::kNfkd}};
  for (const auto& [name, kind] : kForms) {
    if (name == type) {
      steps.push_back({.kind = kind});
      return {};
    }
  }
  NormalizerStep step;
  if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    TRY_ASSIGN(step.content, required_string(component, "prepend"));
    steps.push_back(std::move(step));
    return {};
  }
  if (type == "Replace") {
    TRY_ASSIGN(Pattern pattern, read_pattern(component));
    if (pattern.is_expression) return not_supported(component, "normalizer Replace with a Regex");
    step.kind = Kind::kReplace;
    step.pattern = std::move(pattern.text);
    TRY_ASSIGN(step.content, required_string(component, "content"));
    steps.push_back(std::move(step));
    return {};
  }
  return not_supported(component, named("normalizer", type));
}

// One after the other; what changes text must come before what cuts it.
class PreTokenizerReader {
 public:
  explicit PreTokenizerReader(Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  Result<void> read(const JsonFields& component, const std::string& type) {
    if (is_byte_level_) return not_supported(component, "a step after ByteLevel");
    if (type == "ByteLevel") return read_byte_level(component);
    if (type == "Metaspace") return read_metaspace(component);
    SplitStep step;
    if (type == "Split") {
      TRY_ASSIGN(Pattern pattern, read_pattern(component));
      step.kind = pattern.is_expression ? SplitStep::Kind::kExpression : SplitStep::Kind::kText;
      step.pattern = std::move(pattern.text);
      TRY_ASSIGN(step.behavior, read_behavior(component));
      TRY_ASSIGN(step.inverted, find_bool(component, "invert", false));
    } else if (type == "Digits") {
      TRY_ASSIGN(const bool individual, find_bool(component, "individual_digits", false));
      step.kind = SplitStep::Kind::kDigit;
      step.behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
    } else if (type == "Punctuation") {
      step.kind = SplitStep::Kind::kPunctuationMark;
      if (component.has("behavior")) {
        TRY_ASSIGN(step.behavior, read_behavior(component));
      }
    } else {
      return not_supported(component, named("pre_tokenizer", type));
    }
    steps_.push_back(std::move(step));
    return {};
  }

  void finish() {
    vocabulary_.kind = is_byte_level_ ? TokenizerKind::kByteLevelBpe : TokenizerKind::kCharacterBpe;
    vocabulary_.split_steps = std::move(steps_);
  }

 private:
  Result<void> read_byte_level(const JsonFields& component) {
    is_byte_level_ = true;
    TRY_ASSIGN(const bool prefix, find_bool(component, "add_prefix_space", true));
    TRY_ASSIGN(const bool cuts, find_bool(component, "use_regex", true));
    if (prefix && !steps_.empty()) return not_supported(component, "add_prefix_space after another step");
    if (prefix) vocabulary_.prefix = {PrefixRule::When::kAlways, " ", false};
    if (cuts) steps_.push_back({.pattern = std::string(kGpt2Expression)});
    return {};
  }

  Result<void> read_metaspace(const JsonFields& component) {
    using When = PrefixRule::When;
    if (!steps_.empty() || vocabulary_.prefix.replaces_spaces)
      return not_supported(component, "Metaspace after another step");
    TRY_ASSIGN(const std::string mark, required_string(component, "replacement"));
    TRY_ASSIGN(const auto scheme, component.find_string("prepend_scheme"));
    TRY_ASSIGN(const bool prefix, find_bool(component, "add_prefix_space", true));  // of older files
    TRY_ASSIGN(const bool cuts, find_bool(component, "split", true));
    PrefixRule rule{prefix ? When::kAlways : When::kNever, mark, true};
    if (scheme) {
      if (*scheme == "always")
        rule.when = When::kAlways;
      else if (*scheme == "first")
        rule.when = When::kAtStart;
      else if (*scheme == "never")
        rule.when = When::kNever;
      else
        return not_supported(component, named("prepend_scheme", *scheme));
    }
    if (mark.empty()) return component.bad("replacement", "it is empty");
    if (cuts) {
      steps_.push_back(
          {.kind = SplitStep::Kind::kText, .pattern = mark, .behavior = SplitBehavior::kMergedWithNext});
    }
    vocabulary_.prefix = std::move(rule);
    return {};
  }

  Vocabulary& vocabulary_;
  std::vector<SplitStep> steps_;
  bool is_byte_level_ = false;
};

// The token that a SpecialToken of a template stands for.
Result<TokenId> special_token_id(const JsonFields& template_processing, const JsonFields& part) {
  TRY_ASSIGN(const std::string name, required_string(part, "id"));
  TRY_ASSIGN(const auto tokens, template_processing.find_object("special_tokens"));
  if (!tokens) return template_processing.bad("special_tokens", "it is missing");
  TRY_ASSIGN(const auto token, tokens->find_object(name));
  const json::value* list = token ? token->find("ids") : nullptr;
  const json::array* ids = list ? list->if_array() : nullptr;
  if (!ids || ids->size() != 1) return not_supported(part, named("more than one token,", name));
  const int64_t* id = (*ids)[0].if_int64();
  if (!id || *id < 0 || *id >= 0xffffffff) return part.bad("id", "it has no token id");
  return static_cast<TokenId>(*id);
}

Result<void> read_template(const JsonFields& component, Vocabulary& vocabulary) {
  const json::value* single = component.find("single");
  const json::array* parts = single ? single->if_array() : nullptr;
  if (!parts) return component.bad("single", "no list");
  bool after_text = false;
  for (size_t i = 0; i < parts->size(); ++i) {
    TRY_ASSIGN(const JsonFields part,
               JsonFields::of((*parts)[i], fmt::format("{}: single {}", component.where(), i)));
    if (part.has("Sequence")) {
      if (after_text) return not_supported(part, "a template with the text twice");
      after_text = true;
      continue;
    }
    TRY_ASSIGN(const auto special, part.find_object("SpecialToken"));
    if (!special) return not_supported(part, "a part that is neither Sequence nor SpecialToken");
    TRY_ASSIGN(const TokenId token, special_token_id(component, *special));
    bool& adds = after_text ? vocabulary.add_eos : vocabulary.add_bos;
    if (adds) return not_supported(part, "a template with two tokens on one side of the text");
    adds = true;
    (after_text ? vocabulary.eos : vocabulary.bos) = token;
  }
  if (!after_text) return component.bad("single", "there is no Sequence in it");
  return {};
}

Result<void> read_strip(const JsonFields& component, Vocabulary& vocabulary) {
  TRY_ASSIGN(const auto content, component.find_string("content"));
  TRY_ASSIGN(const auto start, component.find_unsigned("start"));
  TRY_ASSIGN(const auto stop, component.find_unsigned("stop"));
  if (content.value_or("") != " " || start.value_or(0) > 1 || stop.value_or(0) > 0)
    return not_supported(component, "decoder Strip of more than one space before");
  if (start.value_or(0) == 1) vocabulary.leading_space = LeadingSpace::kOneDropped;
  return {};
}

}  // namespace

Result<void> read_hf_normalizer(const JsonFields& tokenizer, Vocabulary& vocabulary) {
  TRY_ASSIGN(const auto normalizer, tokenizer.find_object("normalizer"));
  if (!normalizer) return {};
  return for_each_step(*normalizer, "normalizers", 0, [&](const JsonFields& step, const std::string& type) {
    return read_normalizer_step(step, type, vocabulary.normalizer);
  });
}

Result<void> read_hf_pre_tokenizer(const JsonFields& tokenizer, Vocabulary& vocabulary) {
  PreTokenizerReader reader(vocabulary);
  TRY_ASSIGN(const auto pre_tokenizer, tokenizer.find_object("pre_tokenizer"));
  if (pre_tokenizer) {
    TRY(for_each_step(
        *pre_tokenizer, "pretokenizers", 0,
        [&](const JsonFields& step, const std::string& type) { return reader.read(step, type); }));
  }
  reader.finish();
  return {};
}

Result<void> read_hf_post_processor(const JsonFields& tokenizer, Vocabulary& vocabulary) {
  TRY_ASSIGN(const auto processor, tokenizer.find_object("post_processor"));
  if (!processor) return {};
  return for_each_step(*processor, "processors", 0,
                       [&](const JsonFields& step, const std::string& type) -> Result<void> {
                         if (type == "ByteLevel") return {};  // only moves offsets
                         if (type == "TemplateProcessing") return read_template(step, vocabulary);
                         return not_supported(step, named("post_processor", type));
                       });
}

Result<void> read_hf_decoder(const JsonFields& tokenizer, bool byte_fallback, Vocabulary& vocabulary) {
  TRY_ASSIGN(const auto decoder, tokenizer.find_object("decoder"));
  if (!decoder) return not_supported(tokenizer, "a tokenizer without a decoder");
  bool has_bytes = false;
  const auto read_step = [&](const JsonFields& step, const std::string& type) -> Result<void> {
    const bool is_byte_level = vocabulary.kind == TokenizerKind::kByteLevelBpe;
    if (is_byte_level && type == "ByteLevel") return {};
    if (!is_byte_level && type == "Fuse") return {};
    if (!is_byte_level && type == "Strip") return read_strip(step, vocabulary);
    if (!is_byte_level && type == "ByteFallback") {
      has_bytes = true;
      return {};
    }
    if (!is_byte_level && type == "Replace") {
      TRY_ASSIGN(Pattern pattern, read_pattern(step));
      TRY_ASSIGN(const auto content, step.find_string("content"));
      if (pattern.is_expression || content.value_or("") != " " || !vocabulary.space_mark.empty())
        return not_supported(step, "decoder Replace of anything but one mark by a space");
      vocabulary.space_mark = std::move(pattern.text);
      return {};
    }
    if (!is_byte_level && type == "Metaspace") {
      TRY_ASSIGN(vocabulary.space_mark, required_string(step, "replacement"));
      TRY_ASSIGN(const auto scheme, step.find_string("prepend_scheme"));
      TRY_ASSIGN(const bool prefix, find_bool(step, "add_prefix_space", true));
      if (scheme ? *scheme != "never" : prefix)
        vocabulary.leading_space = LeadingSpace::kFirstTokensAllDropped;
      return {};
    }
    return not_supported(step, named("decoder", type));
  };
  TRY(for_each_step(*decoder, "decoders", 0, read_step));
  if (byte_fallback && !has_bytes)
    return not_supported(*decoder, "byte_fallback without decoder ByteFallback");
  return {};
}

}  // namespace deepserve::runner
