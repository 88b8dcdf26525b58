#include "daemon/api/answer_post.h"

#include "daemon/api/awaited_reader.h"
#include "daemon/api/client_identity.h"
#include "daemon/api/completion_spec.h"
#include "daemon/http/error_response.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

std::unique_ptr<Responder> refuse(Exchange& exchange, const Error& error, const std::string& param) {
  exchange.respond(error_response(error, {.param = param}));
  return nullptr;
}

std::unique_ptr<Responder> read_from_start(Exchange& exchange, const std::shared_ptr<LiveAnswer>& answer) {
  return answer->reader(answer, exchange, {.streams = answer->is_stream()});
}

// The answer that the client's key belongs to; 422 where that was to another request.
std::unique_ptr<Responder> repeat(Exchange& exchange, const AnswerTerms& terms,
                                  const std::shared_ptr<LiveAnswer>& earlier) {
  if (same_digest(earlier->terms().fingerprint, terms.fingerprint)) return read_from_start(exchange, earlier);
  return refuse(exchange, {Code::kKeyReused, "the key was used for another request, to which it belongs"},
                "Idempotency-Key");
}

std::unique_ptr<Responder> begin(Exchange& exchange, KeptAnswers& kept, const AnswerTerms& terms,
                                 const MakeAnswer& make) {
  const auto answer = make(exchange, terms);
  if (!answer) {
    exchange.respond(answer.error().response());
    return nullptr;
  }
  if (terms.outlives) {
    kept.add(*answer);
  } else {
    kept.note_begun((*answer)->id());
  }
  return read_from_start(exchange, *answer);
}

}  // namespace

std::unique_ptr<Responder> answer_post(Exchange& exchange, const ApiParts& parts, const MakeAnswer& make) {
  std::string param;
  const auto terms = read_terms(exchange.request(), param);
  if (!terms) return refuse(exchange, terms.error(), param);
  if (terms->key.empty()) return begin(exchange, parts.kept, *terms, make);
  const auto client = client_of(exchange.request(), parts.options);
  if (!client) return refuse(exchange, client.error(), "X-Deepserve-Client");
  if (const auto earlier = parts.kept.find_key(*client, terms->key)) {
    return repeat(exchange, *terms, earlier);
  }
  const uint64_t until_ns = parts.options.return_until_ns;
  if (monotonic_ns() >= until_ns || !parts.kept.may_return_key(*client, terms->key)) {
    return begin(exchange, parts.kept, *terms, make);
  }
  if (!parts.kept.may_wait(exchange.request().body.size())) {
    exchange.respond(
        error_response({Code::kServerOverloaded, "too much waits for answers of the daemon before"},
                       {.retry_after_ms = 1000}));
    return nullptr;
  }
  AwaitedReader::Wishes wishes;
  wishes.wants = [client = *client, key = terms->key](const LiveAnswer& answer) {
    return answer.client() == client && answer.terms().key == key;
  };
  wishes.may_come = [&kept = parts.kept, client = *client, key = terms->key] {
    return kept.may_return_key(client, key);
  };
  wishes.read = [terms = *terms](Exchange& asked, const std::shared_ptr<LiveAnswer>& earlier) {
    return repeat(asked, terms, earlier);
  };
  wishes.do_without = [&kept = parts.kept, terms = *terms, make, client = *client](Exchange& asked) {
    const auto earlier = kept.find_key(client, terms.key);
    return earlier ? repeat(asked, terms, earlier) : begin(asked, kept, terms, make);
  };
  return std::make_unique<AwaitedReader>(exchange, parts.kept, std::move(wishes), until_ns);
}

}  // namespace deepserve::daemon
