#include "ctl/command_line.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <sstream>

#include "ctl/commands.h"

namespace deepserve::ctl {
namespace {

using Command = std::function<Result<void>(Session&)>;

// What the options and positional words of all commands are parsed into.
struct Arguments {
  GlobalOptions global;
  GenerationOptions generation;
  BenchOptions bench;
  std::vector<std::string> words;  // of a message or prompt, joined by spaces
  ModelOrderOptions order;
  std::string name;  // of a model; id of a runner or request
  std::string config_file = "/etc/deepserve/deepserve.toml";
  std::string shell;
  std::string binary;  // of the daemon
  CommandTree tree;
  Command command;
};

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// CLI11 reads "nan" and "inf" as numbers; JSON has no word for them.
std::string complain_unless_finite(const std::string& text) {
  const double number = std::strtod(text.c_str(), nullptr);
  return std::isfinite(number) ? std::string() : text + " is no finite number";
}

class Commands {
 public:
  Commands(CLI::App& app, std::shared_ptr<Arguments> arguments)
      : app_(app), arguments_(std::move(arguments)) {}

  void add_all() {
    add_global_options();
    add(app_, "status", "Show the daemon, its models, runners and queues on one screen", show_status);
    add(app_, "drain", "Refuse new requests and wait until none is left", drain_host);
    add(app_, "resume", "Take requests again after a drain", resume_host);
    add_text_commands();
    add_models();
    add_runners();
    add_requests();
    add_queue_and_clients();
    add_config();
    add_daemon();
    add_bench();
    add(app_, "version", "Show the versions of dsctl and of the daemon", show_version);
    add_completion();
    app_.require_subcommand(1);
  }

 private:
  CLI::App* add(CLI::App& parent, const char* name, const char* help, Command command) {
    CLI::App* sub = parent.add_subcommand(name, help);
    sub->callback(
        [arguments = arguments_.get(), command = std::move(command)] { arguments->command = command; });
    return sub;
  }

  CLI::App& add_group(const char* name, const char* help) {
    CLI::App* group = app_.add_subcommand(name, help);
    group->require_subcommand(1);
    return *group;
  }

  // A command with one name or id.
  void add_named(CLI::App& group, const char* name, const char* help, const char* what,
                 Result<void> (*run)(Session&, const std::string&)) {
    Arguments* arguments = arguments_.get();
    CLI::App* sub =
        add(group, name, help, [arguments, run](Session& session) { return run(session, arguments->name); });
    sub->add_option(what, arguments->name)->required();
  }

  void add_global_options() {
    GlobalOptions& global = arguments_->global;
    app_.fallthrough();  // so that they may follow the command
    app_.set_version_flag("--version", "dsctl " DEEPSERVE_VERSION);
    app_.add_option("--runtime-dir", global.runtime_dir, "Where the daemon's sockets are")
        ->envname("DEEPSERVE_RUNTIME_DIR")
        ->capture_default_str();
    app_.add_flag("--json", global.json, "Print JSON");
    app_.add_flag("--no-color", global.no_color, "No colours (as does NO_COLOR in the environment)");
    app_.add_flag("--no-retry", global.no_retry, "Fail at the first refusal instead of trying up to 5 times");
    app_.add_flag("-v,--verbose", global.verbose, "Say more on stderr");
  }

  void add_text_commands() {
    Arguments* arguments = arguments_.get();
    CLI::App* chat_command = add(app_, "chat", "Talk to a model", [arguments](Session& session) {
      return chat(session, arguments->generation, joined(arguments->words));
    });
    chat_command->add_option("message", arguments->words,
                             "One message; without it stdin, interactively on a terminal");
    chat_command->add_option("--system", arguments->generation.system, "The system message");
    add_generation_options(*chat_command);
    CLI::App* generate_command = add(app_, "generate", "Continue a text", [arguments](Session& session) {
      return generate(session, arguments->generation, joined(arguments->words));
    });
    generate_command->add_option("prompt", arguments->words, "The text to continue; - reads it from stdin")
        ->required();
    add_generation_options(*generate_command);
  }

  void add_generation_options(CLI::App& sub) {
    GenerationOptions& generation = arguments_->generation;
    sub.add_option("-m,--model", generation.model, "Which model; without it the daemon's first");
    sub.add_option("-n,--max-tokens", generation.max_tokens, "At most so many tokens of answer");
    sub.add_option("--temperature", generation.temperature, "0 takes the likeliest token, up to 2")
        ->check(complain_unless_finite);
    sub.add_option("--top-p", generation.top_p, "Only the likeliest tokens of this total probability")
        ->check(complain_unless_finite);
    sub.add_option("--top-k", generation.top_k, "Only the so many likeliest tokens");
    sub.add_option("--min-p", generation.min_p, "Only tokens at least so likely relative to the likeliest")
        ->check(complain_unless_finite);
    sub.add_option("--seed", generation.seed, "The same seed gives the same answer");
    sub.add_option("--stop", generation.stop, "End before this text (may be repeated)")
        ->allow_extra_args(false);
    sub.add_option("--class", generation.service_class, "Service class")
        ->check(CLI::IsMember(std::vector<std::string>{"vip", "normal", "batch"}));
    sub.add_option("--deadline-ms", generation.deadline_ms, "The first token is wanted within this time");
    sub.add_flag("--usage", generation.usage, "Print tokens and speed on stderr at the end");
    sub.add_flag("--stream", generation.stream, "With --json: one chunk per line instead of one object");
  }

  void add_models() {
    CLI::App& group = add_group("model", "Models that the daemon serves");
    add(group, "ls", "List them", list_models);
    add_named(group, "show", "Show one", "name", show_model);
    add_named(group, "drain", "Refuse new requests for it and wait until it has none", "name", drain_model);
    add_named(group, "resume", "Take requests for it again", "name", resume_model);
    add_named(group, "history", "Show its generations", "name", show_model_history);
    add_model_order(group, "load", "Load one that is not loaded", true);
    add_model_order(group, "swap", "Load it anew, or another file in its place, while it serves", true);
    add_model_order(group, "unload", "End its runners once their requests have ended", false);
    add_model_order(group, "rollback", "Go back to the generation before, or end its canary or shadow",
                    false);
    add_model_order(group, "promote", "Give all its requests to its canary or shadow", false);
    CLI::App* canary = add_model_order(group, "canary", "Try a file out with some of its requests", true);
    ModelOrderOptions& order = arguments_->order;
    canary->add_option("--percent", order.percent, "So many of a hundred requests")
        ->check(CLI::Range(0.1, 50.0))
        ->capture_default_str();
    canary->add_flag("--auto", order.judged, "Wait for the verdict: promoted, or rolled back (exit 1)");
    CLI::App* shadow =
        add_model_order(group, "shadow", "Compare a file's answers to copies of its requests", true);
    shadow->add_option("--percent", order.percent, "Copies of so many of a hundred requests")
        ->check(CLI::Range(0.1, 100.0))
        ->capture_default_str();
  }

  CLI::App* add_model_order(CLI::App& group, const char* verb, const char* help, bool has_path) {
    ModelOrderOptions& order = arguments_->order;
    CLI::App* sub = add(group, verb, help, [&order, verb](Session& session) {
      order.verb = verb;
      return order_model(session, order);
    });
    sub->add_option("name", order.model)->required();
    if (has_path) sub->add_option("--path", order.path, "A GGUF file or a Hugging Face directory; as before");
    return sub;
  }

  void add_runners() {
    CLI::App& group = add_group("runner", "Runner processes");
    add(group, "ls", "List them", list_runners);
    add_named(group, "show", "Show one", "id", show_runner);
    add_named(group, "restart", "Restart one and wait until it is ready", "id", restart_runner);
    add_named(group, "reset", "Start one that has failed and wait until it is ready", "id", reset_runner);
    add_named(group, "drain", "Give it no new work and wait until it has none", "id", drain_runner);
    add_named(group, "resume", "Give it work again", "id", resume_runner);
  }

  void add_requests() {
    CLI::App& group = add_group("request", "Requests that wait or run");
    add(group, "ls", "List them", list_requests);
    add_named(group, "show", "Show one", "id", show_request);
    add_named(group, "cancel", "Cancel one", "id", cancel_request);
    add_named(group, "trace", "Show its whole life, with deaths and replays", "id", trace_request);
  }

  void add_queue_and_clients() {
    add(add_group("queue", "Requests that wait"), "ls", "List them, and why they wait", list_queue);
    add(add_group("client", "Who asks"), "ls", "List who asked lately, and their limits", list_clients);
  }

  void add_config() {
    CLI::App& group = add_group("config", "The daemon's configuration");
    Arguments* arguments = arguments_.get();
    CLI::App* check = add(group, "check", "Check a file without serving it", [arguments](Session& session) {
      return check_config(session, arguments->config_file);
    });
    check->add_option("file", arguments->config_file)->capture_default_str();
    add(group, "show", "Show what is in effect", show_config);
    add(group, "diff", "Show what the file would change", diff_config);
    add(group, "reload", "Take the file's changes over, all or none", reload_config);
  }

  void add_daemon() {
    CLI::App& group = add_group("daemon", "The daemon itself");
    Arguments* arguments = arguments_.get();
    CLI::App* reexec =
        add(group, "reexec", "Put another program in its place, losing nothing",
            [arguments](Session& session) { return reexec_daemon(session, arguments->binary); });
    reexec->add_option("--binary", arguments->binary, "The program; without it the file it was started from");
    add(group, "stop", "Drain it and wait for its end", stop_daemon);
  }

  void add_bench() {
    BenchOptions& bench = arguments_->bench;
    CLI::App& sub = *add(
        app_, "bench", "Load a server and judge its answers (open loop)",
        [arguments = arguments_.get()](Session& session) { return run_bench(session, arguments->bench); });
    sub.add_option("--url", bench.url,
                   "http://HOST:PORT of another server; without it the daemon's api.sock");
    sub.add_option("-m,--model", bench.model, "Which model; without it the server's default");
    sub.add_flag("--chat", bench.chat, "Chats instead of completions");
    sub.add_flag("--may-stop", bench.may_stop, "The model may end early (else ignore_eos is sent)");
    sub.add_option("--rate", bench.rate, "Load: requests/s, a point for each: 5,10");
    sub.add_option("--loads", bench.loads, "Load: multiples of the capacity, a point for each: 0.5,1,2,10");
    sub.add_option("--concurrent", bench.concurrent, "Load: so many clients in a closed loop: 64,256");
    sub.add_option("--trace", bench.trace, "Load: JSON lines with at_ms, class, prompt_tokens, max_tokens");
    sub.add_flag("--find-capacity", bench.find_capacity, "Search the highest rate with 99 % within the SLO");
    sub.add_option("--capacity", bench.capacity, "What the loads are multiples of; without it, searched");
    add_bench_details(sub, bench);
  }

  static void add_bench_details(CLI::App& sub, BenchOptions& bench) {
    const auto add_default = [&](const char* name, std::string& value, const char* help) {
      sub.add_option(name, value, help)->capture_default_str();
    };
    add_default("--mix", bench.mix, "Shares of the classes");
    add_default("--fixed", bench.fixed, "This class keeps its share of the capacity at every load");
    add_default("--burstiness", bench.burstiness, "CV of the gaps between arrivals; 1: Poisson, 4: bursty");
    add_default("--prompt-tokens", bench.prompt_tokens, "N, uniform:A:B or lognormal:MEAN:CV[:MAX]");
    add_default("--output-tokens", bench.output_tokens, "The same of the answers");
    add_default("--ttft", bench.ttft, "SLO of the first token: vip=500ms,normal=5s,batch=600s");
    add_default("--itl", bench.itl, "SLO of the mean time between the tokens of an answer, batch excepted");
    add_default("--duration", bench.duration, "Of each point (30s), or of a trace (all of it)");
    add_default("--warmup", bench.warmup, "Before it, not counted; 0: none");
    add_default("--drain", bench.drain, "How long answers are waited for after it");
    add_default("--probe", bench.probe, "Least length of a probe of the search");
    add_default("--unsent-after", bench.unsent_after, "Given up without a free connection for so long");
    add_default("--clients", bench.clients, "Distinct clients");
    add_default("--weights", bench.weights,
                "What the server grants them, in turn: 1,1,2,4; all alike if not");
    sub.add_flag("--as-proxy", bench.as_proxy,
                 "Name the clients as a trusted proxy does (X-Deepserve-Client)");
    add_default("--keys", bench.keys, "File of API keys, one a line, a class before it or not");
    add_default("--connections", bench.connections, "At most so many at once");
    add_default("--retries", bench.retries, "After a refusal: obey Retry-After, ignore it, or none");
    add_default("--tries", bench.tries, "At most so many of one request");
    add_default("--seed", bench.seed, "The same seed sends requests of the same lengths at the same times");
    add_default("--svg", bench.svg, "Write a plot of goodput and p99 TTFT to this file");
  }

  void add_completion() {
    Arguments* arguments = arguments_.get();
    CLI::App* sub = add(app_, "completion", "Print a completion script", [arguments](Session& session) {
      return print_completion(session, arguments->shell, arguments->tree);
    });
    const std::vector<std::string> shells = {"bash", "zsh", "fish"};
    sub->add_option("shell", arguments->shell)->required()->check(CLI::IsMember(shells));
    arguments->tree = tree_of(app_);
    for (const std::string& shell : shells) {
      arguments->tree.subcommands.back().subcommands.push_back({shell, "Completion for " + shell, {}, {}});
    }
  }

  static CommandTree tree_of(const CLI::App& app) {
    CommandTree tree{app.get_name(), app.get_description(), {}, {}};
    for (const CLI::Option* option : app.get_options()) {
      for (const std::string& name : option->get_lnames()) tree.options.push_back("--" + name);
    }
    const auto any = [](const CLI::App*) { return true; };
    for (const CLI::App* sub : app.get_subcommands(any)) tree.subcommands.push_back(tree_of(*sub));
    return tree;
  }

  CLI::App& app_;
  std::shared_ptr<Arguments> arguments_;
};

// CLI11 says only that a command is missing; the word that should have been one helps more.
std::string explain(const CLI::App& app, const std::string& complaint) {
  const std::vector<std::string> unknown = app.remaining(true);
  if (unknown.empty() || unknown.front().starts_with('-')) return complaint;
  return fmt::format("There is no command \"{}\" here.\n{}", visible_line(unknown.front()), complaint);
}

}  // namespace

std::variant<ParsedCommand, ParseStop> parse_command_line(int argument_count, const char* const* arguments) {
  constexpr int kUsageExit = 2;
  CLI::App app("Talk to and operate a deepserve daemon", "dsctl");
  const auto parsed = std::make_shared<Arguments>();
  Commands(app, parsed).add_all();
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out;
    std::ostringstream complaint;
    const bool is_help = app.exit(error, out, complaint) == 0;
    return ParseStop{is_help ? 0 : kUsageExit, is_help ? out.str() : explain(app, complaint.str())};
  }
  // The command borrows from `parsed`, which therefore lives as long as it does.
  return ParsedCommand{parsed->global,
                       [parsed, command = parsed->command](Session& session) { return command(session); }};
}

}  // namespace deepserve::ctl
