// A compiled grammar: which byte strings an answer may be.
//
// Made from GBNF (the notation of llama.cpp's grammars/README.md), from a JSON schema, or as "any JSON
// object". Pure: source text in, an automaton or a named refusal out, in bounded time and memory whatever the
// source says (hostile input; the bounds are in limits.h). Immutable: any number of threads may share one.
//
// What text a token stands for comes later: matcher.h walks the automaton with a model's vocabulary.
#pragma once

#include <memory>
#include <string_view>

#include "ipc/base/result.h"

namespace deepserve::runner {

class GrammarAutomaton;

class Grammar {
 public:
  // Rules, literals, classes of characters, groups, alternatives, * + ? {m} {m,} {m,n}, comments; `root` is
  // the whole answer. kInvalidRequest names line and column of what is no GBNF; kNotSupported what is GBNF
  // but cannot be followed: left recursion, a repetition or a grammar beyond the bounds, tokens in <>.
  static Result<Grammar> from_gbnf(std::string_view source);

  // Every answer is valid by the schema (JSON Schema 2020-12; json_schema.h lists what is honoured).
  // kInvalidRequest names the JSON pointer of what is no schema or what nothing can satisfy; kNotSupported
  // the keyword that cannot be honoured exactly, and its place. No keyword is ignored.
  static Result<Grammar> from_json_schema(std::string_view schema);

  // Any JSON object, nested as deeply as the context has room for. No object has the same key twice.
  static Result<Grammar> any_json_object();

  const GrammarAutomaton& automaton() const { return *automaton_; }
  // True when objects may have keys that the grammar does not spell out: whoever follows it has to see to it
  // that none comes twice (unique_keys.h), which no grammar can say.
  bool has_free_keys() const { return has_free_keys_; }

 private:
  Grammar(std::shared_ptr<const GrammarAutomaton> automaton, bool has_free_keys)
      : automaton_(std::move(automaton)), has_free_keys_(has_free_keys) {}

  std::shared_ptr<const GrammarAutomaton> automaton_;  // shared by the copies of a grammar
  bool has_free_keys_;
};

}  // namespace deepserve::runner
