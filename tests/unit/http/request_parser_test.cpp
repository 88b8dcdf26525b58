#include "daemon/http/request_parser.h"

#include <gtest/gtest.h>

#include <random>

namespace deepserve::daemon {
namespace {

constexpr HttpLimits kLimits;

// Feeds `text` in pieces of `piece` bytes; the error, or the complete request.
Result<HttpRequest> parse(std::string_view text, size_t piece = 1 << 20, const HttpLimits& limits = kLimits,
                          size_t* taken_all = nullptr) {
  RequestParser parser(limits);
  size_t taken_bytes = 0;
  while (taken_bytes < text.size() && !parser.complete()) {
    TRY_ASSIGN(const size_t taken, parser.feed(text.substr(taken_bytes, piece)));
    taken_bytes += taken;
  }
  if (taken_all != nullptr) *taken_all = taken_bytes;
  if (!parser.complete()) return fail(Code::kIo, "incomplete");
  return parser.take();
}

Code code_of(std::string_view text, const HttpLimits& limits = kLimits) {
  const auto whole = parse(text, 1 << 20, limits);
  const auto bytewise = parse(text, 1, limits);
  const Code code = whole ? Code::kCount : whole.error().code;
  EXPECT_EQ(code, bytewise ? Code::kCount : bytewise.error().code) << text;
  return code;
}

const std::string kPost =
    "POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nX-One:  two \r\nContent-Length: 5\r\n\r\nhello";
const std::string kChunked =
    "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    "5\r\nhello\r\nA;name=value\r\n0123456789\r\n0\r\nX-Late: yes\r\n\r\n";

TEST(RequestParser, ReadsARequestHoweverItIsCut) {
  for (size_t piece = 1; piece <= kPost.size(); ++piece) {
    const auto request = parse(kPost, piece);
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_EQ(request->method, "POST");
    EXPECT_EQ(request->path, "/a/b");
    EXPECT_EQ(request->query, "c=d");
    EXPECT_EQ(request->body, "hello");
    EXPECT_EQ(*request->field("x-one"), "two");
    EXPECT_TRUE(request->keep_alive);
  }
}

TEST(RequestParser, ReadsChunksHoweverTheyAreCut) {
  for (size_t piece = 1; piece <= kChunked.size(); ++piece) {
    const auto request = parse(kChunked, piece);
    ASSERT_TRUE(request) << piece << ": " << request.error().message;
    EXPECT_EQ(request->body, "hello0123456789");
  }
}

TEST(RequestParser, ReadsAnEmptyChunkedBodyHoweverItIsCut) {
  const std::string text = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  for (size_t piece = 1; piece <= text.size(); ++piece) EXPECT_TRUE(parse(text, piece)) << piece;
}

TEST(RequestParser, LetsATrailerAddNothingToTheHead) {
  const auto request = parse(kChunked);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->field("x-late"), nullptr);
}

TEST(RequestParser, StopsWhereTheRequestEnds) {
  for (const std::string& first : {kPost, kChunked}) {
    for (const size_t piece : {size_t{1}, size_t{7}, size_t{1000}}) {
      size_t taken = 0;
      ASSERT_TRUE(parse(first + "GET / HTTP/1.1\r\n", piece, kLimits, &taken));
      EXPECT_EQ(taken, first.size()) << piece;
    }
  }
}

TEST(RequestParser, IgnoresBlankLinesBeforeARequest) {
  EXPECT_TRUE(parse("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(code_of("\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"), Code::kInvalidRequest);
}

TEST(RequestParser, KnowsWhatKeepsAConnectionAlive) {
  EXPECT_FALSE(parse("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")->keep_alive);
  EXPECT_FALSE(parse("GET / HTTP/1.0\r\n\r\n")->keep_alive);
  EXPECT_FALSE(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")->keep_alive);
}

TEST(RequestParser, TakesATargetInAbsoluteForm) {
  const auto request = parse("GET http://host:1/x?y HTTP/1.1\r\nHost: host\r\n\r\n");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->path, "/x");
  EXPECT_EQ(request->query, "y");
}

TEST(RequestParser, RefusesOtherProtocols) {
  EXPECT_EQ(code_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Code::kHttpVersion);
  EXPECT_EQ(code_of("GET / HTTP/3\r\n\r\n"), Code::kHttpVersion);
  EXPECT_EQ(code_of("GET / HTTP/1.2\r\n\r\n"), Code::kHttpVersion);
  EXPECT_EQ(code_of("GET /\r\n"), Code::kInvalidRequest);
  EXPECT_EQ(code_of("\x16\x03\x01\x02"), Code::kInvalidRequest);  // TLS
  EXPECT_EQ(code_of("{\"model\": 1}"), Code::kInvalidRequest);
}

TEST(RequestParser, RefusesWhatSmugglersUse) {
  const std::string post = "POST / HTTP/1.1\r\nHost: x\r\n";
  const char* const bad_heads[] = {
      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
      "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
      "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
      "Content-Length: 5, 5\r\n\r\nhello",
      "Content-Length: +5\r\n\r\nhello",
      "Content-Length: -5\r\n\r\nhello",
      "Content-Length: 0x5\r\n\r\nhello",
      "Content-Length: 5 5\r\n\r\nhello",
      "Content-Length:\r\n\r\n",
      "Content-Length: 99999999999999999999999\r\n\r\n",
      "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: identity\r\n\r\n",
      "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
      "Content-Length : 5\r\n\r\nhello",
      " Content-Length: 5\r\n\r\nhello",
      "X: a\r\n folded\r\n\r\n",
      "X: a\r\n\tfolded\r\n\r\n",
      "X: a\nContent-Length: 5\r\n\r\nhello",
      "X: a\rContent-Length: 5\r\n\r\nhello",
      "X: a\r\n\nGET / HTTP/1.1\r\n\r\n",
      "X\r\n\r\n",
      ": no name\r\n\r\n",
      "X Y: z\r\n\r\n",
      "X: a\x01z\r\n\r\n",
      "Host: y\r\n\r\n",
      "X-Deepserve-Client: a\r\nX-Deepserve-Client: b\r\n\r\n",
      "Expect: 200-maybe\r\n\r\n",
  };
  for (const char* head : bad_heads) EXPECT_EQ(code_of(post + head), Code::kInvalidRequest) << head;
  EXPECT_EQ(code_of(std::string("GET / HTTP/1.1\r\nHost: x\r\nX: a") + '\0' + "b\r\n\r\n"),
            Code::kInvalidRequest);
  EXPECT_EQ(code_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), Code::kInvalidRequest);
  EXPECT_EQ(code_of("GET / HTTP/1.1\r\n\r\n"), Code::kInvalidRequest);  // no Host
  EXPECT_EQ(code_of("GET / HTTP/1.1\nHost: x\n\n"), Code::kInvalidRequest);
  EXPECT_EQ(code_of("GET  / HTTP/1.1\r\nHost: x\r\n\r\n"), Code::kInvalidRequest);
  EXPECT_EQ(code_of("GET / x HTTP/1.1\r\nHost: x\r\n\r\n"), Code::kInvalidRequest);
  EXPECT_EQ(code_of("GET * HTTP/1.1\r\nHost: x\r\n\r\n"), Code::kInvalidRequest);
  EXPECT_EQ(code_of("CONNECT host:1 HTTP/1.1\r\nHost: x\r\n\r\n"), Code::kInvalidRequest);
}

TEST(RequestParser, RefusesBadChunks) {
  const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  const char* const bad_bodies[] = {
      "x\r\n\r\n",
      "-5\r\nhello\r\n",
      "+5\r\nhello\r\n",
      " 5\r\nhello\r\n",
      "0x5\r\nhello\r\n\r\n",
      "5\nhello\r\n0\r\n\r\n",
      "5\r\nhelloX\r\n0\r\n\r\n",
      "5\r\nhello\n0\r\n\r\n",
      "\r\n\r\n\r\n",
      "11111111111111111\r\n",
      "5;a\nb\r\nhello\r\n0\r\n\r\n",
      "5;\x01\r\nhello\r\n0\r\n\r\n",
      "0\r\nContent-Length: 7\r\n\r\n",
      "0\r\nX: a\nb\r\n\r\n",
      "0;a\nb\r\n\r\n",
  };
  for (const char* body : bad_bodies) EXPECT_EQ(code_of(head + body), Code::kInvalidRequest) << body;
  EXPECT_EQ(code_of(head + "5;" + std::string(20'000, 'a')), Code::kInvalidRequest);
}

// Bent requests: whatever comes out, it does not depend on how the bytes were cut.
TEST(RequestParser, ReadsBentRequestsTheSameHoweverTheyAreCut) {
  const uint32_t seed = 20'261'122;
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string pieces[] = {"\r\n",
                                "\n",
                                "\r",
                                ":",
                                " ",
                                "\t",
                                "0",
                                "5",
                                ";",
                                "a",
                                "\xff",
                                ",",
                                "\0",
                                "\r\n\r\n",
                                "Content-Length: 3\r\n",
                                "Transfer-Encoding: chunked\r\n"};
  for (int round = 0; round < 20'000; ++round) {
    std::string text = round % 2 == 0 ? kPost : kChunked;
    for (uint32_t bends = 1 + random() % 3; bends != 0; --bends) {
      const size_t at = random() % text.size();
      if (random() % 2 == 0) {
        text.erase(at, 1 + random() % 3);
      } else {
        text.insert(at, pieces[random() % std::size(pieces)]);
      }
    }
    size_t taken_whole = 0;
    size_t taken_cut = 0;
    const auto whole = parse(text, 1 << 20, kLimits, &taken_whole);
    const auto cut = parse(text, 1 + random() % 4, kLimits, &taken_cut);
    ASSERT_EQ(whole.has_value(), cut.has_value()) << text;
    if (!whole) continue;
    ASSERT_EQ(taken_whole, taken_cut) << text;
    ASSERT_EQ(whole->body, cut->body) << text;
    ASSERT_EQ(whole->fields, cut->fields) << text;
  }
}

TEST(RequestParser, HoldsItsLimits) {
  HttpLimits limits;
  limits.head_bytes_max = 200;
  limits.head_fields_max = 3;
  limits.body_bytes_max = 10;
  const std::string post = "POST / HTTP/1.1\r\nHost: x\r\n";
  EXPECT_EQ(code_of("GET /" + std::string(300, 'a'), limits), Code::kHeaderTooLarge);
  EXPECT_EQ(code_of("GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(300, 'a'), limits),
            Code::kHeaderTooLarge);
  EXPECT_EQ(code_of(post + "A: 1\r\nB: 2\r\nC: 3\r\n\r\n", limits), Code::kHeaderTooLarge);
  EXPECT_EQ(code_of(post + "A: 1\r\nB: 2\r\n\r\n", limits), Code::kCount);
  EXPECT_EQ(code_of(post + "Content-Length: 11\r\n\r\n", limits), Code::kPayloadTooLarge);
  EXPECT_EQ(code_of(post + "Content-Length: 10\r\n\r\n0123456789", limits), Code::kCount);
  EXPECT_EQ(code_of(post + "Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n", limits),
            Code::kPayloadTooLarge);
  EXPECT_EQ(code_of(post + "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n012345\r\n", limits),
            Code::kPayloadTooLarge);
}

}  // namespace
}  // namespace deepserve::daemon
