#include "evaluate/likelihood.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "base/machine.h"
#include "corpus/pieces.h"
#include "nn/torch.h"
#include "text/utf8.h"

namespace verbatim {

namespace {

using Clock = std::chrono::steady_clock;

void check(const LanguageModel& model, const LikelihoodOptions& options) {
  if (model.is_autoencoder()) {
    throw_input(
        "this model is an autoencoder (backbone.kind = \"none\"): it gives text back and predicts none; measure it "
        "with "
        "`verbatim eval MODEL --data PATH --suite reconstruction`");
  }
  if (options.window_bytes < 2) throw_input("the window is {} bytes, must be 2 or more", options.window_bytes);
  if (options.stride_bytes < 0 || options.stride_bytes > options.window_bytes) {
    throw_input("the stride is {} bytes, must be between 1 and the window ({}), or 0 for a quarter of the window",
                options.stride_bytes, options.window_bytes);
  }
  if (options.batch_bytes < 1) throw_input("a batch has {} bytes, must have 1 or more", options.batch_bytes);
  VERBATIM_ASSERT(options.stretch_bytes > 2 * options.window_bytes);
}

int64_t stride_of(const LikelihoodOptions& options) {
  return options.stride_bytes > 0 ? options.stride_bytes : std::max<int64_t>(options.window_bytes / 4, 1);
}

// Collects windows of any documents into ragged batches and scores them. The nats of a row go to on_nats, when there is
// one, with the number of the position that it predicts; kEnd stands for a document's end.
class WindowScorer {
 public:
  static constexpr uint64_t kEnd = ~uint64_t{0};
  using OnNats = std::function<void(uint64_t position, double nats)>;
  // What a level (0 the outermost) said of the row that predicts a position, or the end.
  using OnBoundary = std::function<void(size_t level, uint64_t predicted, float probability, bool learned)>;

  WindowScorer(LanguageModel& model, const LikelihoodOptions& options, OnNats on_nats, OnBoundary on_boundary = {})
      : model_(model), options_(options), on_nats_(std::move(on_nats)), on_boundary_(std::move(on_boundary)) {}

  [[nodiscard]] double nats_total() const { return nats_total_; }
  [[nodiscard]] double nats_ends() const { return nats_ends_; }

  // `first_position`: number of positions[0] in the count of on_nats.
  void add(const Positions& positions, std::string_view text, const PositionSpan& span, uint64_t first_position) {
    const size_t bytes = span.end > span.begin ? positions.ends[span.end - 1] - positions.begin(span.begin) : 0;
    if (batched_bytes_ > 0 && batched_bytes_ + bytes > static_cast<size_t>(options_.batch_bytes)) flush();
    const auto row = static_cast<size_t>(batch_.rows());
    append_positions(batch_, model_.segmenter(), positions, text, span);
    batched_bytes_ += bytes + 1;
    // Row r reads position begin + r - 1 with a start row, begin + r without, and predicts the one behind it.
    uint64_t predicted = first_position + span.begin + (span.start_row ? 0 : 1);
    const auto rows = static_cast<size_t>(batch_.rows());
    predicted_.resize(rows, kEnd);
    for (size_t r = row; r < rows; ++r, ++predicted) {
      if (!(span.end_target && r + 1 == rows)) predicted_[r] = predicted;
    }
  }

  void flush() {
    if (batch_.rows() > 0) score();
    batch_ = {};
    predicted_.clear();
    batched_bytes_ = 0;
  }

 private:
  void score() {
    if (options_.interrupted != nullptr && options_.interrupted->load()) throw EvaluationStopped();
    ForwardNotes notes;
    const ForwardOptions forward{
        .compute_type = options_.precision == Precision::kBfloat16 ? at::kBFloat16 : at::kFloat,
        .notes = on_boundary_ ? &notes : nullptr};
    torch::NoGradGuard no_grad;
    const at::Tensor nats_N = model_.nats(batch_, forward).to(at::kCPU).to(at::kFloat).contiguous();
    const auto* nats = nats_N.data_ptr<float>();
    for (int64_t row = 0; row < batch_.rows(); ++row) {
      nats_total_ += static_cast<double>(nats[row]);  // 0 without a target
      if (predicted_[row] == kEnd) nats_ends_ += static_cast<double>(nats[row]);
      if (on_nats_ && batch_.targets[row] != -1) on_nats_(predicted_[row], static_cast<double>(nats[row]));
    }
    if (on_boundary_) tell_boundaries(notes);
    scored_bytes_ += batch_.scored_bytes;
    if (options_.on_progress && scored_bytes_ > 0) {
      options_.on_progress(scored_bytes_, nats_total_ / std::numbers::ln2 / static_cast<double>(scored_bytes_));
    }
  }

  // Rows of context are told by the window that scores them.
  void tell_boundaries(const ForwardNotes& notes) const {
    std::vector<int64_t> row_here(static_cast<size_t>(batch_.rows()));  // batch row of each row of the level
    std::iota(row_here.begin(), row_here.end(), 0);
    for (size_t l = 0; l < notes.levels.size(); ++l) {
      const LevelNotes& level = notes.levels[l];
      std::vector<int64_t> inside;
      for (size_t r = 0; r < level.boundary.size(); ++r) {
        const int64_t row = row_here[r];
        if (level.boundary[r] != 0) inside.push_back(row);
        if (batch_.targets[row] == -1) continue;
        const bool learned = !level.probability.empty();
        on_boundary_(l, predicted_[row], learned ? level.probability[r] : static_cast<float>(level.boundary[r]),
                     learned);
      }
      row_here = std::move(inside);
    }
  }

  LanguageModel& model_;
  const LikelihoodOptions& options_;
  OnNats on_nats_;
  OnBoundary on_boundary_;
  PositionBatch batch_;
  std::vector<uint64_t> predicted_;  // [N] position that each row predicts
  size_t batched_bytes_ = 0;
  double nats_total_ = 0;
  double nats_ends_ = 0;
  uint64_t scored_bytes_ = 0;
};

// Where a stretch of a document that begins at `begin` ends: just before white space where possible, so that tokens are
// those of the whole document, and never inside a character.
uint64_t stretch_end(std::string_view document, uint64_t begin, uint64_t stretch_bytes) {
  const uint64_t nominal = begin + stretch_bytes;
  if (nominal >= document.size()) return document.size();
  constexpr uint64_t kSearch = 4096;
  const auto is_space = [&](uint64_t i) { return document[i] == ' ' || document[i] == '\n'; };
  for (uint64_t cut = nominal; cut > nominal - std::min(kSearch, stretch_bytes / 2); --cut) {
    if (is_space(cut) && !is_space(cut - 1)) return cut;
  }
  return utf8_boundary_before(document, nominal);
}

// Appends the positions of the text that follows; `bytes_before` is the size of the text in `positions`.
void append(Positions& positions, const Positions& more, uint32_t bytes_before) {
  const auto ids_before = static_cast<uint32_t>(positions.ids.size());
  for (const uint32_t end : more.ends) positions.ends.push_back(bytes_before + end);
  positions.ids.insert(positions.ids.end(), more.ids.begin(), more.ids.end());
  if (more.id_offsets.empty()) return;
  if (positions.id_offsets.empty()) positions.id_offsets.push_back(0);
  for (size_t i = 1; i < more.id_offsets.size(); ++i) positions.id_offsets.push_back(ids_before + more.id_offsets[i]);
}

// Removes the first `count` positions and the bytes that they stand for.
void drop_front(Positions& positions, size_t count) {
  if (count == 0) return;
  const uint32_t bytes = positions.ends[count - 1];
  const auto n = static_cast<std::ptrdiff_t>(count);
  positions.ends.erase(positions.ends.begin(), positions.ends.begin() + n);
  for (uint32_t& end : positions.ends) end -= bytes;
  if (positions.id_offsets.empty()) {
    positions.ids.erase(positions.ids.begin(), positions.ids.begin() + n);
    return;
  }
  const uint32_t ids = positions.id_offsets[count];
  positions.ids.erase(positions.ids.begin(), positions.ids.begin() + static_cast<std::ptrdiff_t>(ids));
  positions.id_offsets.erase(positions.id_offsets.begin(), positions.id_offsets.begin() + n);
  for (uint32_t& offset : positions.id_offsets) offset -= ids;
}

// The first position that ends behind `byte`: the one that holds it.
size_t position_at(const Positions& positions, uint64_t byte) {
  return static_cast<size_t>(std::upper_bound(positions.ends.begin(), positions.ends.end(), byte) -
                             positions.ends.begin());
}

enum class DocumentEnd { kScored, kCutOff };

// Cuts one document into windows for the scorer: a position is scored in the window whose scored part holds its first
// byte. Returns the number of positions.
uint64_t score_document(const Segmenter& segmenter, std::string_view document, DocumentEnd document_end,
                        const LikelihoodOptions& options, WindowScorer& scorer,
                        const std::function<void(const Positions&)>& on_positions) {
  const auto window = static_cast<uint64_t>(options.window_bytes);
  const auto stride = static_cast<uint64_t>(stride_of(options));
  uint64_t text_begin = 0;      // first byte of `positions` in the document
  uint64_t first_position = 0;  // number of its first position
  uint64_t segmented = 0;       // bytes of the document that are segmented
  uint64_t scored_positions = 0;
  Positions positions;
  const std::vector<EvaluationWindow> windows = evaluation_windows(document.size(), window, stride);
  for (size_t w = 0; w < windows.size(); ++w) {
    const EvaluationWindow& part = windows[w];
    const bool last = w + 1 == windows.size();
    while (segmented < part.end) {
      // One position more than the window holds stays: something must be read to predict the first one.
      const size_t drop = std::max<size_t>(position_at(positions, part.begin - text_begin), 1) - 1;
      text_begin += drop > 0 ? positions.ends[drop - 1] : 0;
      drop_front(positions, drop);
      first_position += drop;
      const uint64_t end = stretch_end(document, segmented, static_cast<uint64_t>(options.stretch_bytes));
      const Positions more = segmenter.segment(document.substr(segmented, end - segmented),
                                               segmented == 0 ? DocumentPart::kStart : DocumentPart::kLater);
      if (on_positions) on_positions(more);
      append(positions, more, static_cast<uint32_t>(segmented - text_begin));
      segmented = end;
    }
    const size_t end = last ? positions.size() : position_at(positions, part.end - text_begin - 1) + 1;
    const auto score_begin = static_cast<size_t>(scored_positions - first_position);
    if (score_begin >= end && !last) continue;
    size_t begin = w == 0 ? 0 : std::min(position_at(positions, part.begin - text_begin), score_begin);
    const bool start_row = first_position + begin == 0;
    if (!start_row && begin == score_begin) --begin;
    scorer.add(positions, document.substr(text_begin),
               {.begin = begin,
                .score_begin = score_begin,
                .end = end,
                .start_row = start_row,
                .end_target = last && document_end == DocumentEnd::kScored},
               first_position);
    scored_positions = first_position + end;
  }
  return scored_positions;
}

}  // namespace

LikelihoodResult evaluate_likelihood(LanguageModel& model, uint64_t document_count, const DocumentAt& document,
                                     const LikelihoodOptions& options) {
  check(model, options);
  torch::NoGradGuard no_grad;
  LikelihoodResult result{.family = model.settings().family,
                          .likelihood = model.decoder().likelihood(),
                          .parameters = model.parameter_count(),
                          .window_bytes = options.window_bytes,
                          .stride_bytes = stride_of(options)};
  const auto start = Clock::now();
  WindowScorer scorer(model, options, {});
  const uint64_t limit = options.max_bytes > 0 ? static_cast<uint64_t>(options.max_bytes) : ~uint64_t{0};
  for (uint64_t d = 0; d < document_count && result.bytes < limit; ++d) {
    std::string_view text = document(d);
    const bool complete = text.size() <= limit - result.bytes;
    if (!complete) text = text.substr(0, utf8_boundary_before(text, limit - result.bytes));
    result.positions += score_document(model.segmenter(), text, complete ? DocumentEnd::kScored : DocumentEnd::kCutOff,
                                       options, scorer, {});
    result.bytes += text.size();
    ++result.documents;
    if (!complete) break;
  }
  scorer.flush();
  if (result.bytes == 0) throw_input("there is no text to evaluate: {} documents without a byte", result.documents);
  result.nats_total = scorer.nats_total();
  result.nats_ends = scorer.nats_ends();
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  result.bits_per_byte = result.nats_total / std::numbers::ln2 / static_cast<double>(result.bytes);
  result.bytes_per_position =
      static_cast<double>(result.bytes) / static_cast<double>(std::max<uint64_t>(result.positions, 1));
  result.bytes_per_second = static_cast<double>(result.bytes) / result.seconds;
  result.peak_memory_bytes = peak_memory_bytes();
  return result;
}

LikelihoodResult evaluate_likelihood(LanguageModel& model, const DocumentSource& documents,
                                     const LikelihoodOptions& options) {
  return evaluate_likelihood(
      model, documents.document_count(), [&](uint64_t index) { return documents.document(index); }, options);
}

PositionNats score_positions(LanguageModel& model, std::string_view document, const LikelihoodOptions& options) {
  check(model, options);
  PositionNats result;
  std::vector<std::pair<uint64_t, double>> scored;
  const auto on_nats = [&](uint64_t position, double nats) {
    if (position == WindowScorer::kEnd) {
      result.end_nats = nats;
    } else {
      scored.emplace_back(position, nats);
    }
  };
  struct Boundary {
    size_t level;
    uint64_t predicted;
    float probability;
  };
  std::vector<Boundary> boundaries;
  const auto on_boundary = [&](size_t level, uint64_t predicted, float probability, bool learned) {
    if (result.levels.size() <= level) result.levels.resize(level + 1);
    result.levels[level].begins_patch = learned;
    boundaries.push_back({level, predicted, probability});
  };
  WindowScorer scorer(model, options, on_nats, on_boundary);
  score_document(model.segmenter(), document, DocumentEnd::kScored, options, scorer, [&](const Positions& more) {
    append(result.positions, more, result.positions.ends.empty() ? 0 : result.positions.ends.back());
  });
  scorer.flush();
  result.nats.resize(result.positions.size());
  for (const auto& [position, nats] : scored) result.nats.at(position) = nats;
  for (LevelBoundaries& level : result.levels) level.probability.assign(result.positions.size(), -1.0F);
  for (const Boundary& boundary : boundaries) {
    // A row reads the position before the one that it predicts; the start row reads none.
    const uint64_t predicted = boundary.predicted == WindowScorer::kEnd ? result.positions.size() : boundary.predicted;
    if (predicted > 0) result.levels[boundary.level].probability.at(predicted - 1) = boundary.probability;
  }
  return result;
}

}  // namespace verbatim
