#include "runner/grammar/grammar.h"

#include "runner/grammar/automaton_writer.h"
#include "runner/grammar/gbnf.h"
#include "runner/grammar/json_schema.h"
#include "runner/grammar/json_text.h"
#include "runner/grammar/limits.h"

namespace deepserve::runner {
namespace {

Result<void> check_size(std::string_view source, std::string_view what) {
  if (source.size() <= kGrammarBytesMax) return {};
  return fail(Code::kNotSupported, "the {} has {} bytes, at most {} are supported", what, source.size(),
              kGrammarBytesMax);
}

}  // namespace

Result<Grammar> Grammar::from_gbnf(std::string_view source) {
  TRY(check_size(source, "grammar"));
  Expressions expressions;
  TRY_ASSIGN(const RuleId root, parse_gbnf(source, expressions));
  TRY_ASSIGN(auto automaton, AutomatonWriter::write(expressions, root));
  return Grammar(std::move(automaton), false);
}

Result<Grammar> Grammar::from_json_schema(std::string_view schema) {
  TRY(check_size(schema, "schema"));
  Expressions expressions;
  TRY_ASSIGN(const SchemaRoot root, parse_json_schema(schema, expressions));
  TRY_ASSIGN(auto automaton, AutomatonWriter::write(expressions, root.rule));
  return Grammar(std::move(automaton), root.has_free_keys);
}

Result<Grammar> Grammar::any_json_object() {
  Expressions expressions;
  JsonText text(expressions);
  const RuleId root = expressions.new_rule("root");
  expressions.define(root, text.any_object());
  TRY_ASSIGN(auto automaton, AutomatonWriter::write(expressions, root));
  return Grammar(std::move(automaton), true);
}

}  // namespace deepserve::runner
