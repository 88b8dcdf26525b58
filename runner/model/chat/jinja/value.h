// The values that a chat template computes with: Python's, as far as templates use them.
//
// A Value is cheap to copy: texts, lists and dictionaries are shared and never change once made. Namespaces,
// loops and macros belong to the Rendering that made them and are borrowed: no Value that names one outlives
// it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/chat/jinja/budget.h"
#include "runner/model/chat/jinja/marked_text.h"

namespace deepserve::runner::jinja {

class Value;
struct Namespace;
struct Loop;
struct Macro;

struct Undefined {};
struct None {};
// An integer of Python's that no int64 holds, as it was written.
struct BigInteger {
  std::string digits;
};
enum class Function : uint8_t { kNamespace, kRaiseException, kRange, kDict, kMethod };

// How large a list or dictionary is with all that is in it: what is built in a loop stays within bounds.
struct Extent {
  uint32_t depth = 0;
  uint64_t values = 1;
  uint64_t bytes = 0;    // of its texts, as often as they are in it
  bool borrows = false;  // there is a namespace, a loop or a macro in it

  void add(const Value& value);
};
inline constexpr uint32_t kDepthMax = 96;
inline constexpr uint64_t kValuesMax = uint64_t{1} << 22;

class List {
 public:
  // kInvalidRequest when it would be nested or large beyond the bounds above. A tuple is a list that prints
  // with other brackets.
  static Result<std::shared_ptr<const List>> make(std::vector<Value> items, bool is_tuple = false);

  bool is_tuple() const { return is_tuple_; }
  const std::vector<Value>& items() const { return items_; }
  const Extent& extent() const { return extent_; }

 private:
  std::vector<Value> items_;
  bool is_tuple_ = false;
  Extent extent_;
};

// Keys are texts, in the order in which they came first.
class Dict {
 public:
  using Entry = std::pair<MarkedText, Value>;

  // Of a key that is there twice the last value counts. Fails as List::make().
  static Result<std::shared_ptr<const Dict>> make(std::vector<Entry> entries);

  const std::vector<Entry>& entries() const { return entries_; }
  const Value* find(std::string_view key) const;
  const Extent& extent() const { return extent_; }

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string, size_t> index_;
  Extent extent_;
};

class Value {
 public:
  using Data = std::variant<Undefined, None, bool, int64_t, std::shared_ptr<const BigInteger>, double,
                            std::shared_ptr<const MarkedText>, std::shared_ptr<const List>,
                            std::shared_ptr<const Dict>, Namespace*, const Loop*, const Macro*, Function>;

  Value() = default;  // undefined
  explicit Value(None none) : data_(none) {}
  explicit Value(bool boolean) : data_(boolean) {}
  explicit Value(int64_t number) : data_(number) {}
  explicit Value(double number) : data_(number) {}
  explicit Value(MarkedText text) : data_(std::make_shared<const MarkedText>(std::move(text))) {}
  Value(std::string_view text, Author author) : Value(MarkedText(text, author)) {}
  explicit Value(std::shared_ptr<const BigInteger> number) : data_(std::move(number)) {}
  explicit Value(std::shared_ptr<const List> list) : data_(std::move(list)) {}
  explicit Value(std::shared_ptr<const Dict> dict) : data_(std::move(dict)) {}
  explicit Value(Namespace* space) : data_(space) {}
  explicit Value(const Loop* loop) : data_(loop) {}
  explicit Value(const Macro* macro) : data_(macro) {}
  explicit Value(Function function) : data_(function) {}
  template <typename T>
  Value(T*) = delete;  // no pointer is a truth

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  const bool* if_boolean() const { return std::get_if<bool>(&data_); }
  const int64_t* if_integer() const { return std::get_if<int64_t>(&data_); }
  const double* if_float() const { return std::get_if<double>(&data_); }
  const MarkedText* if_text() const { return pointed_at<MarkedText>(); }
  const List* if_list() const { return pointed_at<List>(); }
  const Dict* if_dict() const { return pointed_at<Dict>(); }
  Namespace* if_namespace() const { return pointer<Namespace*>(); }
  const Loop* if_loop() const { return pointer<const Loop*>(); }
  const Macro* if_macro() const { return pointer<const Macro*>(); }
  const Function* if_function() const { return std::get_if<Function>(&data_); }
  const BigInteger* if_big_integer() const { return pointed_at<BigInteger>(); }
  // Booleans count as the integers that they are in Python.
  bool is_number() const { return if_boolean() || if_integer() || if_float() || if_big_integer(); }
  double as_double() const;  // of a number

  bool truth() const;
  std::string_view type_name() const;  // Python's: "str", "dict", ...
  Extent extent() const;               // of itself and all that is in it

 private:
  template <typename T>
  const T* pointed_at() const {
    const auto* pointer = std::get_if<std::shared_ptr<const T>>(&data_);
    return pointer == nullptr ? nullptr : pointer->get();
  }
  template <typename T>
  T pointer() const {
    const T* held = std::get_if<T>(&data_);
    return held == nullptr ? nullptr : *held;
  }

  Data data_;
};

// Python's ==.
bool equal(const Value& a, const Value& b);

// Python's str(): what {{ value }} prints. Undefined prints nothing. kInvalidRequest for what has no text
// here (a namespace, a macro), or when the text is more than `budget` has.
Result<MarkedText> to_text(const Value& value, Budget& budget);

// Python's repr() of a float: the shortest digits that read back the same.
std::string float_text(double number);

}  // namespace deepserve::runner::jinja
