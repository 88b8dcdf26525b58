// The one closed table of everything that can be told to a user as an error (DESIGN 11).
//
// Each row: enumerator, wire name (the `code` of an OpenAI-shaped error body), HTTP status, exit code of
// dsctl, whether the same request may succeed later, and the level at which dsd logs it. Used by all three
// programs; codes cross the lane as their index, so rows are only ever appended.
#pragma once

#include <cstdint>
#include <string_view>

namespace deepserve {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError };

// Exit codes of dsctl: 0 done, 1 failed, 2 usage, 3 daemon not reachable, 4 refused for load, 5 no such
// thing.
// clang-format off
#define DEEPSERVE_ERROR_TABLE(X)                                                    \
  /* enumerator           wire name                  http exit retry  log      */   \
  X(kInternal,            "internal_error",          500, 1, false, kError)         \
  X(kInvalidRequest,      "invalid_request",         400, 1, false, kDebug)         \
  X(kUsage,               "usage",                   400, 2, false, kDebug)         \
  X(kNotSupported,        "not_supported",           400, 1, false, kDebug)         \
  X(kContextLength,       "context_length_exceeded", 400, 1, false, kDebug)         \
  X(kUnauthorized,        "unauthorized",            401, 1, false, kInfo)          \
  X(kForbidden,           "forbidden",               403, 1, false, kInfo)          \
  X(kNotFound,            "not_found",               404, 5, false, kDebug)         \
  X(kModelNotFound,       "model_not_found",         404, 5, false, kDebug)         \
  X(kMethodNotAllowed,    "method_not_allowed",      405, 1, false, kDebug)         \
  X(kRequestTimeout,      "request_timeout",         408, 1, true,  kDebug)         \
  X(kConflict,            "conflict",                409, 1, false, kDebug)         \
  X(kLengthRequired,      "length_required",         411, 1, false, kDebug)         \
  X(kPayloadTooLarge,     "payload_too_large",       413, 1, false, kDebug)         \
  X(kUnsupportedMedia,    "unsupported_media_type",  415, 1, false, kDebug)         \
  X(kHeaderTooLarge,      "header_too_large",        431, 1, false, kDebug)         \
  X(kCancelled,           "request_cancelled",       499, 1, false, kDebug)         \
  X(kHttpVersion,         "http_version",            505, 1, false, kDebug)         \
  X(kServerOverloaded,    "server_overloaded",       503, 4, true,  kInfo)          \
  X(kShuttingDown,        "shutting_down",           503, 4, true,  kInfo)          \
  X(kModelNotReady,       "model_not_ready",         503, 4, true,  kInfo)          \
  X(kRunnerLost,          "runner_lost",             502, 1, true,  kWarning)       \
  X(kSlowReader,          "slow_reader",             499, 1, false, kInfo)          \
  X(kNumericFault,        "numeric_fault",           500, 1, false, kError)         \
  X(kOutOfMemory,         "out_of_memory",           500, 1, false, kError)         \
  X(kIo,                  "io_error",                500, 1, false, kError)         \
  X(kInvalidConfig,       "invalid_config",          500, 1, false, kError)         \
  X(kBadModelFile,        "bad_model_file",          500, 1, false, kError)         \
  X(kBadLane,             "bad_lane",                500, 1, false, kError)         \
  X(kUnreachable,         "daemon_unreachable",      503, 3, true,  kError)         \
  X(kModelFailed,         "model_failed",            500, 1, false, kWarning)       \
  X(kInvalidApiKey,       "invalid_api_key",         401, 1, false, kInfo)          \
  X(kRateLimited,         "rate_limited",            429, 4, true,  kInfo)          \
  X(kGone,                "gone",                    410, 5, false, kDebug)         \
  X(kKeyReused,           "idempotency_key_reused",  422, 1, false, kDebug)         \
  X(kDeviceFault,         "device_fault",            500, 1, true,  kError)
// clang-format on

enum class Code : uint16_t {
#define X(enumerator, ...) enumerator,
  DEEPSERVE_ERROR_TABLE(X)
#undef X
      kCount
};

struct ErrorRow {
  std::string_view name;
  uint16_t http_status;
  uint8_t exit_code;
  bool retryable;
  LogLevel log_level;
};

// The row of `code`. An out-of-range code (a lying peer) gets the row of kInternal.
const ErrorRow& error_row(Code code);

// The code with this wire name; kInternal when there is none.
Code code_from_name(std::string_view name);

}  // namespace deepserve
