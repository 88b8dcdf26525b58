#include "daemon/api/addressing.h"

#include <utility>

#include "daemon/api/client_identity.h"
#include "daemon/api/completion_spec.h"
#include "daemon/api/model_lookup.h"

namespace deepserve::daemon {

Parsed<ModelRow> address(const HttpRequest& request, const ApiParts& parts, RequestSpec& spec) {
  auto client = client_of(request, parts.options);
  if (!client) return tl::unexpected(FieldError{client.error(), "X-Deepserve-Client"});
  auto model = find_model(parts.serving, spec.model);
  if (!model) return tl::unexpected(FieldError{model.error(), "model"});
  spec.model = model->name;
  spec.peer = request.peer;
  spec.client = std::move(*client);
  read_retry(request, spec);
  return std::move(*model);
}

}  // namespace deepserve::daemon
