#include "runner/model/weight_reader.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "runner/model/content_hash.h"
#include "runner/model/finite_weights.h"

namespace deepserve::runner {
namespace {

constexpr size_t kPieceBytes = 8u << 20;    // what one thread takes at a time
constexpr size_t kBlockBytes = 128u << 10;  // fits the cache: hashed, then looked through, and read once
constexpr unsigned kThreadsMax = 8;         // fill the memory bandwidth of any host

struct Piece {
  const MappedFile* file;
  std::span<const uint8_t> bytes;
  uint64_t hash = 0;
  const StoredTensor* tensor = nullptr;  // that holds a number that is none
  uint64_t fault = 0;                    // which block of it
};

class WeightReader {
 public:
  WeightReader(const ModelFiles& files, const ModelTensors& tensors, const WeightReading& reading);

  Result<uint64_t> read();

 private:
  void fetch_pieces();
  bool await_piece(size_t index);
  void read_piece(Piece& piece);
  void check_block(std::span<const uint8_t> block, Piece& piece) const;

  const ModelTensors& tensors_;
  const WeightReading& reading_;
  std::vector<const StoredTensor*> by_address_;
  std::vector<Piece> pieces_;
  static constexpr size_t kFetchEnded = size_t{1} << 63;
  std::atomic<size_t> fetched_{0};  // pieces in memory, and kFetchEnded once no more will come
  Result<void> fetch_error_;        // written before kFetchEnded is set
};

WeightReader::WeightReader(const ModelFiles& files, const ModelTensors& tensors, const WeightReading& reading)
    : tensors_(tensors), reading_(reading) {
  for (const StoredTensor& tensor : tensors.all()) by_address_.push_back(&tensor);
  std::sort(by_address_.begin(), by_address_.end(),
            [](const StoredTensor* a, const StoredTensor* b) { return a->bytes.data() < b->bytes.data(); });
  for (const MappedFile& file : files.all()) {
    for (size_t begin = 0; begin < file.bytes().size(); begin += kPieceBytes) {
      const size_t size = std::min(kPieceBytes, file.bytes().size() - begin);
      pieces_.push_back({&file, file.bytes().subspan(begin, size)});
    }
  }
}

// The numbers that begin inside of `block`.
void WeightReader::check_block(std::span<const uint8_t> block, Piece& piece) const {
  const uint8_t* const end = block.data() + block.size();
  auto next = std::partition_point(by_address_.begin(), by_address_.end(), [&](const StoredTensor* tensor) {
    return tensor->bytes.data() + tensor->bytes.size() <= block.data();
  });
  for (; next != by_address_.end() && (*next)->bytes.data() < end; ++next) {
    const StoredTensor& tensor = **next;
    const uint8_t* const data = tensor.bytes.data();
    const uint64_t unit = kernels::weight_format(tensor.type).block_bytes;
    const auto index_at = [&](const uint8_t* address) -> uint64_t {
      return address <= data ? 0 : (static_cast<uint64_t>(address - data) + unit - 1) / unit;
    };
    const uint64_t first = index_at(block.data());
    const uint64_t last = std::min(index_at(end), tensor.bytes.size() / unit);
    if (first >= last) continue;
    const uint8_t* fault = find_not_finite(tensor.type, data + first * unit, data + last * unit);
    if (fault == nullptr) continue;
    piece.tensor = &tensor;
    piece.fault = static_cast<uint64_t>(fault - data) / unit;
    return;
  }
}

// On a thread of its own, ahead of those that map and hash: two that read a cold file take twice as long as
// one, and a reader that also faults its pages in leaves the disk idle.
void WeightReader::fetch_pieces() {
  for (const Piece& piece : pieces_) {
    fetch_error_ = piece.file->fetch(piece.bytes);
    if (!fetch_error_) break;
    fetched_.fetch_add(1);
    fetched_.notify_all();
  }
  fetched_.fetch_or(kFetchEnded);
  fetched_.notify_all();
}

// Whether piece `index` is in memory: waits until it is, or until it is known that it never will be.
bool WeightReader::await_piece(size_t index) {
  size_t fetched = fetched_.load();
  while ((fetched & ~kFetchEnded) <= index && (fetched & kFetchEnded) == 0) {
    fetched_.wait(fetched);
    fetched = fetched_.load();
  }
  return (fetched & ~kFetchEnded) > index;
}

void WeightReader::read_piece(Piece& piece) {
  piece.file->bring_in(piece.bytes);
  ContentHash hash;
  for (size_t begin = 0; begin < piece.bytes.size(); begin += kBlockBytes) {
    const auto block = piece.bytes.subspan(begin, std::min(kBlockBytes, piece.bytes.size() - begin));
    hash.add(block);
    if (piece.tensor == nullptr) check_block(block, piece);
  }
  piece.hash = hash.value();
}

Result<uint64_t> WeightReader::read() {
  kernels::ThreadPool threads(std::clamp(reading_.threads, 2u, kThreadsMax) - 1);  // besides the fetcher
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<uint64_t> bytes{0};
  std::thread fetcher([this] { fetch_pieces(); });
  threads.parallel_for(pieces_.size(), 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end && await_piece(i); ++i) {
      read_piece(pieces_[i]);
      const uint64_t so_far = bytes.fetch_add(pieces_[i].bytes.size()) + pieces_[i].bytes.size();
      if (reading_.on_bytes && std::this_thread::get_id() == caller) reading_.on_bytes(so_far);
    }
  });
  fetcher.join();
  TRY(fetch_error_);
  if (reading_.on_bytes) reading_.on_bytes(bytes.load());
  std::vector<uint64_t> hashes;
  for (const Piece& piece : pieces_) {
    hashes.push_back(piece.hash);
    if (piece.tensor == nullptr) continue;
    const bool plain = kernels::weight_format(piece.tensor->type).block_elements == 1;
    return tensors_.bad(
        *piece.tensor, fmt::format("{} {} is not a finite number", plain ? "element" : "block", piece.fault));
  }
  ContentHash hash(reading_.seed);
  hash.add({reinterpret_cast<const uint8_t*>(hashes.data()), hashes.size() * sizeof(uint64_t)});
  return hash.value();
}

}  // namespace

Result<uint64_t> read_weights(const ModelFiles& files, const ModelTensors& tensors,
                              const WeightReading& reading) {
  return WeightReader(files, tensors, reading).read();
}

}  // namespace deepserve::runner
