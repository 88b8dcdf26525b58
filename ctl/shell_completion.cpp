#include "ctl/shell_completion.h"

#include <fmt/format.h>

#include <algorithm>

namespace deepserve::ctl {
namespace {

// What may follow `command`: its subcommands, its options and the root's.
std::string words_after(const CommandTree& command, const CommandTree& root) {
  std::string words;
  for (const CommandTree& subcommand : command.subcommands) words += subcommand.name + " ";
  std::vector<std::string> options = command.options;
  options.insert(options.end(), root.options.begin(), root.options.end());
  std::sort(options.begin(), options.end());
  options.erase(std::unique(options.begin(), options.end()), options.end());
  for (const std::string& option : options) words += option + " ";
  if (!words.empty()) words.pop_back();
  return words;
}

void append_bash_cases(std::string& out, const CommandTree& command, const std::string& path,
                       const CommandTree& root) {
  out += fmt::format("    \"{}\") words=\"{}\" ;;\n", path, words_after(command, root));
  for (const CommandTree& subcommand : command.subcommands) {
    append_bash_cases(out, subcommand, path.empty() ? subcommand.name : path + " " + subcommand.name, root);
  }
}

std::string bash_script(const CommandTree& root) {
  std::string out =
      "_dsctl() {\n"
      "  local word path=\"\" words=\"\" current=\"${COMP_WORDS[COMP_CWORD]}\"\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \"$word\" in -*) ;; *) path=\"${path:+$path }$word\" ;; esac\n"
      "  done\n"
      "  case \"$path\" in\n";
  append_bash_cases(out, root, "", root);
  out +=
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "}\n"
      "complete -o default -F _dsctl dsctl\n";
  return out;
}

std::string fish_quoted(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return "'" + out + "'";
}

std::string fish_script(const CommandTree& root) {
  std::string out = "complete -c dsctl -f\n";
  for (const std::string& option : root.options) {
    if (option.starts_with("--")) out += fmt::format("complete -c dsctl -l {}\n", option.substr(2));
  }
  for (const CommandTree& group : root.subcommands) {
    out += fmt::format("complete -c dsctl -n __fish_use_subcommand -a {} -d {}\n", group.name,
                       fish_quoted(group.help));
    const std::string inside = fmt::format("'__fish_seen_subcommand_from {}'", group.name);
    for (const CommandTree& command : group.subcommands) {
      out += fmt::format("complete -c dsctl -n {} -a {} -d {}\n", inside, command.name,
                         fish_quoted(command.help));
    }
    for (const std::string& option : group.options) {
      if (option.starts_with("--"))
        out += fmt::format("complete -c dsctl -n {} -l {}\n", inside, option.substr(2));
    }
  }
  return out;
}

}  // namespace

std::string completion_script(const std::string& shell, const CommandTree& root) {
  if (shell == "fish") return fish_script(root);
  const std::string bash = bash_script(root);
  return shell == "zsh" ? "autoload -U +X bashcompinit && bashcompinit\n" + bash : bash;
}

}  // namespace deepserve::ctl
