// What a body may be before anybody looks at its fields.
#include "daemon/api/json_body.h"

#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

std::string repeated(size_t times, const std::string& text) {
  std::string all;
  all.reserve(times * text.size());
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

// {"a": [item, item, ...]}
std::string list_of(size_t count, const std::string& item) {
  return "{\"a\":[" + repeated(count - 1, item + ",") + item + "]}";
}

std::string object_with_keys(size_t count) {
  std::string text = "{";
  for (size_t i = 0; i < count; ++i) text += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":0";
  return text + "}";
}

Parsed<boost::json::object> parsed(std::string body, const JsonLimits& limits = {}) {
  HttpRequest request;
  request.body = std::move(body);
  return parse_json_body(request, limits);
}

std::string complaint(const std::string& body, const JsonLimits& limits = {}) {
  const auto result = parsed(body, limits);
  return result ? "" : result.error().error.message;
}

TEST(JsonBody, IsAJsonObject) {
  std::string deep = R"({"metadata": )";
  for (int i = 0; i < 100; ++i) deep += R"({"a": )";
  const std::string bads[] = {"",
                              "[]",
                              "5",
                              "{",
                              "{\"a\": }",
                              "{\"a\": 1,}",
                              "{} {}",
                              "{}x",
                              "{'a': 1}",
                              "nul",
                              "{\"a\": NaN}",
                              "{\"a\": Infinity}",
                              "{\"a\": -Infinity}",
                              "{\"a\": 01}",
                              "{/**/}",
                              "\xef\xbb\xbf{}",
                              deep,
                              "{\"prompt\": \"\\ud800\"}",
                              std::string("{\"prompt\": \"a\0b\"}", 16)};
  for (const std::string& body : bads) {
    const auto result = parsed(body);
    ASSERT_FALSE(result) << body;
    EXPECT_EQ(result.error().error.code, Code::kInvalidRequest) << body;
    EXPECT_EQ(result.error().param, "") << body;
  }
  EXPECT_TRUE(parsed(" {} \r\n"));
  EXPECT_EQ(parsed(R"({"a": [1, {"b": "\u0041\n"}]})")->at("a").at(1).at("b").as_string(), "A\n");
}

TEST(JsonBody, ThatIsNotUtf8IsRefusedWithItsByte) {
  EXPECT_EQ(complaint("{\"prompt\": \"a\xff\"}"), "the body is not UTF-8 at byte 13");
}

TEST(JsonBody, AKeyThatComesTwiceIsRefusedByItsName) {
  const std::pair<const char*, const char*> bads[] = {
      {R"({"a": 1, "a": 2})", "a"},
      {R"({"a": 1, "b": {"c": 1}, "a": {"c": 2}})", "a"},
      {R"({"a": [{"x": 1, "y": {"deep": 0}, "x": 2}]})", "x"},
      {R"({"temperature": 0, "temper\u0061ture": 2})", "temperature"},
  };
  for (const auto& [body, key] : bads) {
    const auto result = parsed(body);
    ASSERT_FALSE(result) << body;
    EXPECT_EQ(result.error().param, key) << body;
    EXPECT_NE(result.error().error.message.find("'" + std::string(key) + "' is there twice"),
              std::string::npos)
        << result.error().error.message;
  }
  EXPECT_NE(complaint(R"({"": 1, "": 2})").find("twice"), std::string::npos);
  EXPECT_EQ(complaint(R"({"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}], "c": {}})"), "");
}

TEST(JsonBody, AKeyThatComesTwiceIsFoundAmongMany) {
  std::string body = object_with_keys(5000);
  body.insert(body.size() - 1, ",\"k1234\":1");
  EXPECT_NE(complaint(body).find("'k1234' is there twice"), std::string::npos);
}

TEST(JsonBody, EachLimitHoldsToTheLastElement) {
  JsonLimits limits;
  limits.depth_max = 4;
  limits.values_max = 12;
  limits.containers_max = 6;
  limits.strings_max = 5;
  limits.keys_max = 8;
  limits.object_keys_max = 7;
  const std::pair<std::string, std::string> bounds[] = {
      {list_of(10, "1"), list_of(11, "1")},
      {list_of(4, "[]"), list_of(5, "[]")},
      {list_of(4, "{}"), list_of(5, "{}")},
      {list_of(5, "\"\""), list_of(6, "\"\"")},
      {object_with_keys(7), object_with_keys(8)},
      {R"({"a":{"b":0,"c":0,"d":0},"e":{"f":0,"g":0,"h":0}})",
       R"({"a":{"b":0,"c":0,"d":0},"e":{"f":0,"g":0,"h":0,"i":0}})"},
      {R"({"a":{"b":[0]}})", R"({"a":{"b":[[[0]]]}})"},
  };
  for (const auto& [within, beyond] : bounds) {
    EXPECT_EQ(complaint(within, limits), "") << within;
    EXPECT_NE(complaint(beyond, limits), "") << beyond;
  }
}

TEST(JsonBody, APromptOf350000TokensIsTaken) {
  EXPECT_EQ(complaint(list_of(350'000, "12345")), "");
}

// What a client may cost everybody: the worst bodies of 8 MiB that were thought of, with what they took.
TEST(JsonBody, TheWorstOfEightMebibytesIsCutOffEarly) {
  constexpr size_t kBytes = 8 << 20;
  const auto filled = [](const std::string& item) { return list_of((kBytes - 8) / (item.size() + 1), item); };
  const std::pair<const char*, std::string> worst[] = {
      {"numbers", filled("1")},
      {"doubles", filled("1e9")},
      {"long doubles", filled("0.1234567890123456789")},
      {"empty lists", filled("[]")},
      {"lists of one", filled("[0]")},
      {"objects of one", filled(R"({"a":0})")},
      {"empty strings", filled("\"\"")},
      {"long strings", filled("\"a string that needs memory of its own\"")},
      {"escapes", "{\"a\":\"" + repeated(kBytes / 6, "\\u20ac") + "\"}"},
      {"one text", "{\"a\":\"" + std::string(kBytes, 'x') + "\"}"},
      {"objects of 8,000 keys", "{\"a\":[" + repeated(24, object_with_keys(8000) + ",") + "0]}"},
      {"one object of keys", object_with_keys(600'000)},
  };
  for (const auto& [name, body] : worst) {
    const uint64_t begin_ns = monotonic_ns();
    { const auto result = parsed(body); }
    const auto milliseconds = static_cast<double>(monotonic_ns() - begin_ns) / kMillisecond_ns;
    RecordProperty(name, std::to_string(milliseconds));
    std::printf("%-24s %6.1f ms\n", name, milliseconds);
    EXPECT_LT(milliseconds, 1000) << name;  // generous: a sanitizer's build on a busy host
  }
}

TEST(JsonBody, AnotherContentTypeIsRefused) {
  ApiServer test;
  const auto answer_to = [&test](const std::string& field) {
    Client client = test.connect();
    EXPECT_TRUE(
        client.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + field + "Content-Length: 2\r\n\r\n{}"));
    return client.answer();
  };
  const Answer answer = answer_to("Content-Type: text/plain\r\n");
  EXPECT_EQ(answer.status, 415);
  EXPECT_EQ(json_of(answer.body).at_pointer("/error/code").as_string(), "unsupported_media_type");
  EXPECT_EQ(answer_to("Content-Type: Application/JSON; charset=utf-8\r\n").status, 400);  // no prompt
  EXPECT_EQ(answer_to("").status, 400);
  EXPECT_EQ(answer_to("Content-Encoding: gzip\r\n").status, 415);
}

}  // namespace
}  // namespace deepserve::daemon
