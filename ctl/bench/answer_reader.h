// Reads the answers that come over one connection: HTTP/1.1 heads, bodies and event streams, in pieces of any
// size. Knows no sockets and no clock. All of Boost.Beast is behind it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace deepserve::ctl::bench {

class AnswerReader {
 public:
  enum class State { kHead, kBody, kDone, kBroken };

  AnswerReader();
  AnswerReader(AnswerReader&&) noexcept;
  AnswerReader& operator=(AnswerReader&&) noexcept;
  ~AnswerReader();

  // The next answer starts here.
  void restart();
  State feed(std::string_view bytes);
  // The connection has ended: kDone where the answer ends with it, else kBroken.
  State end_of_connection();
  // Whether anything of an answer has come.
  bool has_some() const;

  State state() const;

  // From kBody on.
  unsigned status() const;
  std::optional<uint64_t> retry_after_ms() const;  // of retry-after-ms, else of Retry-After
  std::string ticket() const;                      // X-Deepserve-Ticket
  std::string degradation() const;                 // X-Deepserve-Degraded

  // Events that carried text since this was last asked.
  unsigned take_text_events();

  // At the end. Whether a stream went all the way: a finish_reason and [DONE], and no error.
  bool is_whole() const;
  bool keeps_connection() const;
  // Of an error, in the body or in the stream: its reason, else its code, else "http_503". At most 64 bytes.
  std::string reason() const;
  uint32_t prompt_tokens() const;      // of the usage; 0: not told
  uint32_t completion_tokens() const;  // the same

 private:
  struct Parts;
  void take_body();

  std::unique_ptr<Parts> parts_;
};

}  // namespace deepserve::ctl::bench
