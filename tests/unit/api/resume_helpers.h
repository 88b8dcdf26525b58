// Streams put together out of their pieces, as a client that comes back does.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {

// What a client has of a stream: what its events say, put together.
struct StreamSoFar {
  struct Choice {
    std::string text;
    std::vector<std::string> calls;     // names and arguments
    std::vector<std::string> logprobs;  // the tokens' texts
    int roles = 0;
    int finishes = 0;
  };
  std::map<int64_t, Choice> choices;
  int usages = 0;
  int dones = 0;
  std::string error;    // the code of `event: error`
  std::string last_id;  // of the last whole event

  // Whole events of `body`; the rest is as lost as with its connection.
  void take(const std::string& body) {
    size_t at = 0;
    for (size_t end = 0; (end = body.find("\n\n", at)) != std::string::npos; at = end + 2) {
      take_event(body.substr(at, end - at));
    }
  }

 private:
  void take_event(const std::string& event) {
    size_t at = 0;
    bool is_error = false;
    while (at < event.size()) {
      const size_t end = std::min(event.find('\n', at), event.size());
      const std::string line = event.substr(at, end - at);
      at = end + 1;
      if (line.starts_with("id: ")) last_id = line.substr(4);
      if (line == "event: error") is_error = true;
      if (!line.starts_with("data: ")) continue;
      const std::string data = line.substr(6);
      if (data == "[DONE]") {
        ++dones;
      } else if (is_error) {
        error = json_of(data).at_pointer("/error/code").as_string();
      } else {
        take_chunk(json_of(data));
      }
    }
  }
  void take_chunk(const boost::json::value& chunk) {
    const auto& object = chunk.as_object();
    if (object.contains("usage") && !object.at("usage").is_null()) ++usages;
    for (const auto& one : object.at("choices").as_array()) {
      Choice& choice = choices[one.at("index").as_int64()];
      if (!one.at("finish_reason").is_null()) ++choice.finishes;
      if (const auto* text = one.as_object().if_contains("text")) choice.text += text->as_string();
      if (const auto* delta = one.as_object().if_contains("delta")) take_delta(choice, delta->as_object());
      take_logprobs(choice, one.at("logprobs"));
    }
  }
  static void take_delta(Choice& choice, const boost::json::object& delta) {
    if (delta.contains("role")) ++choice.roles;
    if (const auto* text = delta.if_contains("content")) choice.text += text->as_string();
    if (const auto* calls = delta.if_contains("tool_calls")) {
      for (const auto& call : calls->as_array()) choice.calls.push_back(boost::json::serialize(call));
    }
  }
  static void take_logprobs(Choice& choice, const boost::json::value& logprobs) {
    const auto* object = logprobs.if_object();
    if (object == nullptr) return;
    const auto* content = object->if_contains("content");
    for (const auto& one : (content != nullptr ? *content : object->at("tokens")).as_array()) {
      choice.logprobs.push_back(boost::json::serialize(content != nullptr ? one.at("token") : one));
    }
  }
};

inline const std::string kResumable = "X-Deepserve-Resume: 1\r\n";

inline std::string get_events(const std::string& last_id, RequestId id = 1, const std::string& fields = "") {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(id));
  const std::string last = last_id.empty() ? "" : "Last-Event-ID: " + last_id + "\r\n";
  return "GET /v1/requests/" + std::string(text) + "/events HTTP/1.1\r\nHost: x\r\n" + last + fields + "\r\n";
}

// What is there, of whatever came over the connection, with its chunks put together.
inline std::string body_so_far(Client& client) {
  return parse_answer(client.received()).body;
}

}  // namespace deepserve::daemon
