#include "daemon/api/model_lookup.h"

#include <algorithm>

namespace deepserve::daemon {

Result<ModelRow> find_model(const Serving& serving, std::string_view name) {
  auto models = serving.models();
  std::string names;
  for (ModelRow& model : models) {
    const bool is_alias = std::find(model.aliases.begin(), model.aliases.end(), name) != model.aliases.end();
    if (name.empty() || model.name == name || is_alias) return std::move(model);
    if (!model.leaves) names += (names.empty() ? "" : ", ") + model.name;
  }
  return fail(Code::kModelNotFound, "the model '{}' does not exist; there are: {}", name.substr(0, 200),
              names);
}

}  // namespace deepserve::daemon
