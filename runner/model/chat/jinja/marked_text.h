// Text of which every byte knows who wrote it: the template, or a user whose words must never become control
// tokens. Whatever a template does to its texts (joins, cuts, replaces), the marks stay with the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace deepserve::runner::jinja {

enum class Author : uint8_t { kTemplate, kUser };

class MarkedText {
 public:
  // Bytes from the previous run's end up to `end` have one author; neighbours have different ones.
  struct Run {
    size_t end;
    Author author;
  };

  MarkedText() = default;
  MarkedText(std::string_view bytes, Author author) { append(bytes, author); }

  std::string_view bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  // What a copy of it takes.
  size_t memory_bytes() const { return bytes_.size() + runs_.size() * sizeof(Run); }
  bool empty() const { return bytes_.empty(); }
  std::span<const Run> runs() const { return runs_; }

  void append(std::string_view bytes, Author author);
  void append(const MarkedText& other) { append(other, 0, other.size()); }
  // Bytes `begin` to `end` of `other`, which must be within it.
  void append(const MarkedText& other, size_t begin, size_t end);
  MarkedText slice(size_t begin, size_t end) const;
  // The part of this text that `part`, a view into bytes(), is.
  MarkedText slice(std::string_view part) const;

 private:
  std::string bytes_;
  std::vector<Run> runs_;
};

}  // namespace deepserve::runner::jinja
