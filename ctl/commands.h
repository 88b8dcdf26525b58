// What dsctl can do: one function a command, one file a group of them in commands/.
//
// Each prints its result on stdout (with --json, JSON as ctl.sock gave it) and returns once its effect holds.
// The code of a failure decides the exit code (ipc/base/errors.h).
#pragma once

#include <string>

#include "ctl/bench/bench_options.h"
#include "ctl/options.h"
#include "ctl/session.h"
#include "ctl/shell_completion.h"

namespace deepserve::ctl {

Result<void> show_status(Session& session);
// Versions of dsctl and, where it answers, of the daemon. A daemon that is not there is no failure.
Result<void> show_version(Session& session);

// Answers one message ("-": all of stdin), or talks interactively when `message` is empty and stdin is a
// terminal.
Result<void> chat(Session& session, const GenerationOptions& options, std::string message);
// Continues a text ("-": all of stdin).
Result<void> generate(Session& session, const GenerationOptions& options, std::string prompt);

// Loads a server as `options` say and prints what it did. Ctrl-C ends it and prints what was measured.
Result<void> run_bench(Session& session, const BenchOptions& options);

Result<void> list_models(Session& session);
Result<void> show_model(Session& session, const std::string& name);
// Its generations, the oldest first.
Result<void> show_model_history(Session& session, const std::string& name);
// load, swap, unload, rollback, canary, shadow, promote: returns when it holds, and what served before serves
// on where it fails.
Result<void> order_model(Session& session, const ModelOrderOptions& options);

Result<void> list_runners(Session& session);
Result<void> show_runner(Session& session, const std::string& id);
// Returns once the new process is ready.
Result<void> restart_runner(Session& session, const std::string& id);
// Starts one that has failed; returns once it is ready.
Result<void> reset_runner(Session& session, const std::string& id);

// No new work goes to the host, a model or a runner. A drain returns once nothing is left there; ended before
// that, it stays in effect.
Result<void> drain_host(Session& session);
Result<void> resume_host(Session& session);
Result<void> drain_model(Session& session, const std::string& name);
Result<void> resume_model(Session& session, const std::string& name);
Result<void> drain_runner(Session& session, const std::string& id);
Result<void> resume_runner(Session& session, const std::string& id);

Result<void> list_requests(Session& session);
// `id`: as listed, or with the prefix that the API gave it ("chatcmpl-").
Result<void> show_request(Session& session, const std::string& id);
Result<void> cancel_request(Session& session, const std::string& id);
// Its whole life, event by event: while it runs, and for a while after its end.
Result<void> trace_request(Session& session, const std::string& id);

// What waits, and why.
Result<void> list_queue(Session& session);
// Who asked lately, and what of their limits they use.
Result<void> list_clients(Session& session);

// Becomes `dsd --config FILE --check`: does not return unless dsd cannot be run.
Result<void> check_config(Session& session, const std::string& file);
Result<void> show_config(Session& session);
// What the file would change, and whether a reload takes it over.
Result<void> diff_config(Session& session);
// Takes all of it over, or none.
Result<void> reload_config(Session& session);

// The daemon becomes `binary` (empty: what lies now where it was started from) without losing anything.
// Returns once that serves. kConflict says why it does not; the daemon goes on as it was then.
Result<void> reexec_daemon(Session& session, const std::string& binary);
// Drains and ends it. Returns once it is gone.
Result<void> stop_daemon(Session& session);

Result<void> print_completion(Session& session, const std::string& shell, const CommandTree& commands);

}  // namespace deepserve::ctl
