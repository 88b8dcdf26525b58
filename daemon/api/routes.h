// The routes of api.sock, one file for each family. Everything passed is borrowed for as long as the routes
// are used.
#pragma once

#include "daemon/api/answer_log.h"
#include "daemon/api/api.h"

namespace deepserve::daemon {

// What the routes have in common.
struct ApiParts {
  Serving& serving;
  Metrics& metrics;
  AnswerLog& log;
  KeptAnswers& kept;
  const ApiOptions& options;
};

void add_completion_routes(Router& router, const ApiParts& parts);
void add_embedding_routes(Router& router, const ApiParts& parts);
void add_request_routes(Router& router, const ApiParts& parts);
// GET /v1/requests/{id}/events: an answer that can be resumed, from Last-Event-ID on or from its start.
void add_event_routes(Router& router, const ApiParts& parts);
void add_model_routes(Router& router, Serving& serving);
void add_tokenize_routes(Router& router, const ApiParts& parts);
void add_health_routes(Router& router, const ApiParts& parts);

}  // namespace deepserve::daemon
