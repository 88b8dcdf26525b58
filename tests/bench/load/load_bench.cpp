// How long a model takes to load: from a cold page cache against `cat FILE > /dev/null` in pairs, and from a
// warm one. Loading is load_model(), all that happens before the first forward pass: every byte is checked,
// hashed and mapped, and quantised weights are packed. Prints values, bars, and PASS or FAIL.
//
//   load_bench [--directory DIR] [--bytes N] [--pairs N]      a safetensors model of its own making: needs N
//                                                             bytes of disk (1 GB) below DIR (TMPDIR)
//   load_bench --model FILE [--pairs N]                       a GGUF file
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "ipc/base/clock.h"
#include "ipc/base/fd.h"
#include "runner/model/loaded_model.h"
#include "tests/bench/load/large_model.h"
#include "tests/bench/median.h"

namespace {

using namespace deepserve;
namespace fs = std::filesystem;

constexpr double kColdBar = 1.2;
constexpr double kWarmBar_s = 0.3;
constexpr double kStillThereMax = 0.01;  // of a file that counts as cold

struct Options {
  fs::path directory = fs::temp_directory_path();
  uint64_t bytes = 1'000'000'000;
  size_t pairs = 11;
  fs::path model;  // empty: one is made
};

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "load_bench: %s\n", why.c_str());
  std::exit(1);
}

double seconds(uint64_t duration_ns) {
  return static_cast<double>(duration_ns) / 1e9;
}

// The part of the file that the page cache holds.
double cached_part(const Fd& file, size_t size) {
  void* address = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  std::vector<unsigned char> pages((size + 4095) / 4096);
  if (address == MAP_FAILED || mincore(address, size, pages.data()) != 0) give_up("mincore");
  munmap(address, size);
  const auto there = std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; });
  return static_cast<double>(there) / static_cast<double>(pages.size());
}

void make_cold(const fs::path& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED) != 0) give_up("posix_fadvise");
  if (const double part = cached_part(file, fs::file_size(path)); part > kStillThereMax)
    give_up("the page cache still holds the file");
}

double cat(const fs::path& path) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  std::string program = "cat", name = path.string();
  char* words[] = {program.data(), name.data(), nullptr};
  const uint64_t begin_ns = monotonic_ns();
  pid_t child = 0;
  int status = 0;
  if (posix_spawnp(&child, "cat", &actions, nullptr, words, environ) != 0) give_up("cat is not there");
  if (waitpid(child, &status, 0) != child || status != 0) give_up("cat failed");
  posix_spawn_file_actions_destroy(&actions);
  return seconds(monotonic_ns() - begin_ns);
}

// In a process of its own, as a runner loads it. The time does not hold the process's own end.
double load(const fs::path& path) {
  int ends[2];
  if (pipe(ends) != 0) give_up("pipe");
  const Fd reader(ends[0]), writer(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    runner::BackendOptions options;
    options.threads = std::thread::hardware_concurrency();  // a runner takes the cores it was given
    const uint64_t begin_ns = monotonic_ns();
    const auto model = runner::load_model(path, options);
    const uint64_t duration_ns = monotonic_ns() - begin_ns;
    if (!model) give_up(model.error().message);
    _exit(write(writer.get(), &duration_ns, sizeof duration_ns) == sizeof duration_ns ? 0 : 1);
  }
  int status = 0;
  uint64_t duration_ns = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) give_up("loading failed");
  if (read(reader.get(), &duration_ns, sizeof duration_ns) != sizeof duration_ns) give_up("read");
  return seconds(duration_ns);
}

bool report(const char* what, double value, double bar, const char* unit) {
  const bool passed = value <= bar;
  std::printf("%s: %.3f%s  bar <= %.1f%s  %s\n", what, value, unit, bar, unit, passed ? "PASS" : "FAIL");
  return passed;
}

// `model`: what is loaded, of which `file` holds the weights.
bool measure(const Options& options, const fs::path& model, const fs::path& file) {
  std::vector<double> ratios, cold_loads, cats, warm_loads;
  for (size_t pair = 0; pair < options.pairs; ++pair) {
    double cat_s = 0, load_s = 0;
    for (int turn = 0; turn < 2; ++turn) {  // who goes first changes from pair to pair
      make_cold(file);
      ((turn + pair) % 2 == 0 ? cat_s : load_s) = (turn + pair) % 2 == 0 ? cat(file) : load(model);
    }
    std::printf("  pair %zu: cat %.3f s, load %.3f s\n", pair + 1, cat_s, load_s);
    ratios.push_back(load_s / cat_s);
    cats.push_back(cat_s);
    cold_loads.push_back(load_s);
  }
  for (size_t i = 0; i < options.pairs; ++i) warm_loads.push_back(load(model));
  std::printf("%.3f GB; medians of %zu: cat %.3f s, cold load %.3f s\n",
              static_cast<double>(fs::file_size(file)) / 1e9, options.pairs, bench::median(cats),
              bench::median(cold_loads));
  bool cold = true;
  if (options.model.empty())
    cold = report("cold load / cat, median of pairs", bench::median(ratios), kColdBar, "");
  else
    std::printf("cold load / cat, median of pairs: %.3f  (packing takes memory of its own: no bar)\n",
                bench::median(ratios));
  return report("warm load, median", bench::median(warm_loads), kWarmBar_s, " s") && cold;
}

Options read_options(int count, char** words) {
  Options options;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string name = words[i];
    if (name == "--directory")
      options.directory = words[i + 1];
    else if (name == "--bytes")
      options.bytes = std::stoull(words[i + 1]);
    else if (name == "--pairs")
      options.pairs = std::max<size_t>(std::stoull(words[i + 1]), 1);
    else if (name == "--model")
      options.model = words[i + 1];
    else
      give_up("there is no " + name);
  }
  return options;
}

}  // namespace

int main(int count, char** words) {
  const Options options = read_options(count, words);
  if (!options.model.empty()) return measure(options, options.model, options.model) ? 0 : 1;
  std::string directory = (options.directory / "deepserve-load-XXXXXX").string();
  if (mkdtemp(directory.data()) == nullptr) give_up("mkdtemp " + directory);
  if (!bench::write_large_model(directory, options.bytes)) {
    fs::remove_all(directory);
    give_up("the model could not be written to " + directory);
  }
  const bool passed = measure(options, directory, fs::path(directory) / "model.safetensors");
  fs::remove_all(directory);
  return passed ? 0 : 1;
}
