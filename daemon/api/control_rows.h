// The rows of ctl.sock as JSON: what `dsctl ... --json` prints.
#pragma once

#include "daemon/api/json_writer.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

void append_row(JsonWriter& json, const ModelRow& row);
void append_row(JsonWriter& json, const RunnerRow& row);
void append_row(JsonWriter& json, const RequestRow& row);
void append_row(JsonWriter& json, const ClientRow& row);
void append_row(JsonWriter& json, const GpuState& row);

template <typename Row>
void append_rows(JsonWriter& json, const std::vector<Row>& rows) {
  json.begin_list();
  for (const Row& row : rows) append_row(json, row);
  json.end_list();
}

}  // namespace deepserve::daemon
