#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "base/file.h"
#include "base/random.h"
#include "cli/bench.h"
#include "corpus/prepare.h"

namespace verbatim {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kTextBytes = uint64_t{1} << 26;

// A folder that goes with the object.
class Workplace {
 public:
  Workplace() {
    path_ = fs::temp_directory_path() / ("verbatim-bench-" + std::to_string(Random(std::random_device{}())()));
    fs::create_directory(path_);
  }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  ~Workplace() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  [[nodiscard]] fs::path operator/(std::string_view name) const { return path_ / name; }

 private:
  fs::path path_;
};

// Lines of about 80 bytes of words from a list of 4096; ASCII, or two to three bytes a character.
std::string make_text(bool ascii) {
  Random random(1);
  std::vector<std::string> words(4096);
  for (std::string& word : words) {
    for (uint64_t letters = 1 + random.below(9); letters > 0; --letters) {
      const auto letter = static_cast<char>(random.below(26));
      if (ascii) {
        word += static_cast<char>('a' + letter);
      } else {
        word += random.below(2) == 0 ? std::string("\xD0") + static_cast<char>(0xB0 + letter % 16)
                                     : std::string("\xE4\xBA") + static_cast<char>(0x80 + letter);
      }
    }
  }
  std::string text;
  text.reserve(kTextBytes + 100);
  uint64_t line_begin = 0;
  while (text.size() < kTextBytes) {
    text += words[random.below(words.size())];
    const bool full = text.size() - line_begin > 80;
    text += full ? '\n' : ' ';
    if (full) line_begin = text.size();
  }
  return text;
}

std::string as_json_lines(const std::string& text) {
  std::string lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines += "{\"id\": 12345, \"text\": \"";
    lines.append(text, begin, end - begin);
    lines += "\"}\n";
    begin = end + 1;
  }
  return lines;
}

// The best of a few runs, since other programs share the machine.
double bytes_per_second(uint64_t bytes, double seconds, const std::function<void()>& run) {
  using Clock = std::chrono::steady_clock;
  double best = 0;
  double spent = 0;
  for (int i = 0; i < 2 || (spent < seconds && i < 20); ++i) {
    const auto start = Clock::now();
    run();
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    spent += took;
    best = std::max(best, static_cast<double>(bytes) / took);
  }
  return best;
}

}  // namespace

std::vector<BenchFigure> bench_prepare(const BenchOptions& options) {
  const Workplace folder;
  const auto write = [&](std::string_view name, const std::string& bytes) {
    std::ofstream(folder / name, std::ios::binary) << bytes;
    return (folder / name).string();
  };
  const std::string ascii = make_text(/*ascii=*/true);
  const std::string ascii_file = write("ascii.txt", ascii);
  const double copy = bytes_per_second(ascii.size(), options.seconds,
                                       [&] { write_file_atomically(folder / "copy", read_file(ascii_file)); });
  std::vector<BenchFigure> figures = {{"copy a file and flush it to disk", copy / 1e6, "MB/s", "", 0}};

  const auto measure = [&](const std::string& what, const fs::path& input, uint64_t bytes, SplitRule split) {
    PrepareOptions prepare;
    prepare.inputs = {input.string()};
    prepare.out = folder / "corpus";
    prepare.force = true;
    prepare.input.split = split;
    const double rate = bytes_per_second(bytes, options.seconds, [&] { (void)prepare_corpus(prepare); });
    figures.push_back({what, rate / 1e6, "MB/s", "copying the file", rate / copy});
  };
  measure("prepare, a document per line, ASCII", ascii_file, ascii.size(), SplitRule::kLines);
  const std::string other = make_text(/*ascii=*/false);
  measure("prepare, a document per line, 2-3 bytes a character", write("other.txt", other), other.size(),
          SplitRule::kLines);
  const std::string json = as_json_lines(ascii);
  measure("prepare, JSON lines", write("lines.jsonl", json), json.size(), SplitRule::kNone);
  const size_t part = ascii.size() / 64;
  fs::create_directory(folder / "files");
  for (size_t i = 0; i < 64; ++i) write("files/" + std::to_string(i) + ".txt", ascii.substr(i * part, part));
  measure("prepare, 64 files of 1 MB", folder / "files", 64 * part, SplitRule::kNone);
  return figures;
}

}  // namespace verbatim
