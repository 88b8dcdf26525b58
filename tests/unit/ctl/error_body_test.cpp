#include "ctl/error_body.h"

#include <gtest/gtest.h>

namespace deepserve::ctl {
namespace {

TEST(ErrorBody, TheWireCodeDecides) {
  const Failure failure =
      failure_from_answer({.status = 404, .retry_after_ms = {}, .request_id = {}},
                          R"({"error":{"message":"no model x; there are: tiny","code":"model_not_found"}})");
  EXPECT_EQ(failure.error.code, Code::kModelNotFound);
  EXPECT_EQ(failure.error.message, "no model x; there are: tiny");
}

TEST(ErrorBody, AnUnknownCodeIsJudgedByTheStatus) {
  const auto code_of = [](unsigned status) {
    return failure_from_answer({.status = status, .retry_after_ms = {}, .request_id = {}},
                               R"({"error":{"message":"m","code":"brand_new"}})")
        .error.code;
  };
  EXPECT_EQ(error_row(code_of(404)).exit_code, 5);
  EXPECT_EQ(error_row(code_of(503)).exit_code, 4);
  EXPECT_EQ(error_row(code_of(429)).exit_code, 4);
  EXPECT_EQ(error_row(code_of(418)).exit_code, 1);
  EXPECT_EQ(error_row(code_of(599)).exit_code, 1);
}

TEST(ErrorBody, ABodyThatIsNoJsonStillNamesTheStatus) {
  const Failure failure =
      failure_from_answer({.status = 500, .retry_after_ms = {}, .request_id = {}}, "<html>");
  EXPECT_EQ(failure.error.code, Code::kInternal);
  EXPECT_NE(failure.error.message.find("500"), std::string::npos);
}

TEST(ErrorBody, TheHeaderSaysWhenToRetryElseTheBody) {
  const std::string_view body =
      R"({"error":{"message":"m","code":"server_overloaded","retry_after_ms":250}})";
  EXPECT_EQ(
      failure_from_answer({.status = 503, .retry_after_ms = 1000, .request_id = {}}, body).retry_after_ms,
      1000u);
  EXPECT_EQ(failure_from_answer({.status = 503, .retry_after_ms = {}, .request_id = {}}, body).retry_after_ms,
            250u);
}

TEST(ErrorBody, TheHeaderSaysWhetherToRetryAtAll) {
  HttpHead head;
  head.status = 408;
  EXPECT_FALSE(failure_from_answer(head, "").retry_is_useless);
  head.retry_is_useless = true;
  EXPECT_TRUE(failure_from_answer(head, "").retry_is_useless);
}

TEST(ErrorBody, NonsenseInTheBodyIsNoRetryTime) {
  for (const char* value : {"-1", "1e300", "\"soon\"", "null", "[]"}) {
    const std::string body = fmt::format(R"({{"error":{{"message":"m","retry_after_ms":{}}}}})", value);
    EXPECT_FALSE(failure_from_event(body).retry_after_ms.has_value()) << value;
  }
}

}  // namespace
}  // namespace deepserve::ctl
