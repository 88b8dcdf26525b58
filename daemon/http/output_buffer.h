// Bytes on their way out, and the framing of chunked bodies (RFC 9112 section 7.1) around them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace deepserve::daemon {

class OutputBuffer {
 public:
  std::string& bytes() { return bytes_; }  // append only
  std::string_view unsent() const { return std::string_view(bytes_).substr(sent_); }
  size_t unsent_bytes() const { return bytes_.size() - sent_; }

  void mark_sent(size_t count) {
    sent_ += count;
    if (sent_ == bytes_.size()) {
      sent_ = 0;
      bytes_.clear();
    } else if (sent_ > bytes_.size() / 2 && sent_ > kWorthMoving_bytes) {
      bytes_.erase(0, sent_);
      sent_ = 0;
    }
  }

  // What is appended between the two becomes one chunk; nothing, if nothing was.
  void begin_chunk() {
    bytes_.append(kHeader);
    chunk_begin_ = bytes_.size();
  }
  void end_chunk() {
    size_t size = bytes_.size() - chunk_begin_;
    if (size == 0) {
      bytes_.resize(chunk_begin_ - kHeader.size());
      return;
    }
    for (size_t at = chunk_begin_ - 3; size != 0; --at, size >>= 4)
      bytes_[at] = "0123456789abcdef"[size & 15];
    bytes_.append("\r\n");
  }
  void end_chunks() { bytes_.append("0\r\n\r\n"); }

  // Gives the memory back unless it is little.
  void shrink(size_t bytes_kept) {
    if (bytes_.empty() && bytes_.capacity() > bytes_kept) bytes_ = std::string();
  }

 private:
  static constexpr std::string_view kHeader = "00000000\r\n";  // a chunk's size, written when it is known
  static constexpr size_t kWorthMoving_bytes = 64 * 1024;

  std::string bytes_;
  size_t sent_ = 0;
  size_t chunk_begin_ = 0;
};

}  // namespace deepserve::daemon
