#include "generate/generate.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "families/tokun/tokun_decoder.h"
#include "generate/sampler.h"
#include "generate/streamed_text.h"
#include "text/utf8.h"

namespace verbatim {

std::string_view name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfDocument:
      return "end";
    case FinishReason::kStopString:
      return "stop";
    case FinishReason::kMaxBytes:
      return "length";
    case FinishReason::kStopped:
      return "stopped";
  }
  return "stopped";
}

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Stream {
  StreamState state;
  Sampler sampler;
  StreamedText out;
  std::string context;  // what the state has read of the text; kept only when contexts are limited
  bool done = false;
};

// A state that has read the end of `text`, at most half of `context_bytes`, as a later part of a document.
StreamState read_last_half(LanguageModel& model, std::string& text, int64_t context_bytes) {
  const size_t keep = std::min(text.size(), static_cast<size_t>(context_bytes) / 2);
  text.erase(0, utf8_boundary_before(text, text.size() - keep));
  StreamState state = model.start(DocumentPart::kLater);
  model.read(state, text);
  return state;
}

StreamState read_prompt(LanguageModel& model, const std::string& prompt, std::string& context, int64_t context_bytes) {
  context = prompt;
  if (context_bytes > 0 && prompt.size() >= static_cast<size_t>(context_bytes)) {
    return read_last_half(model, context, context_bytes);
  }
  StreamState state = model.start();
  model.read(state, prompt);
  return state;
}

// Shows bytes of a sample; false when nobody wants more.
bool show(const GenerateOptions& options, size_t sample, const std::string& bytes) {
  return bytes.empty() || !options.on_text || options.on_text(sample, bytes);
}

void end_stream(Stream& stream, GeneratedText& text, FinishReason reason) {
  stream.done = true;
  text.finish = reason;
}

// Takes what was chosen as the next position of a stream and shows its bytes. Returns its ids, or none when the stream
// has ended.
std::vector<int32_t> take_next(LanguageModel& model, NextPosition next, Stream& stream, GeneratedText& text,
                               size_t sample, const GenerateOptions& options) {
  ++text.positions;
  if (next.ends_document) {
    show(options, sample, stream.out.finish());
    end_stream(stream, text, FinishReason::kEndOfDocument);
    return {};
  }
  const std::string bytes = model.bytes_of(stream.state, next.ids);
  const bool wanted = show(options, sample, stream.out.push(bytes));
  if (stream.out.end() == StreamedText::End::kStopString) {
    text.stop_string = stream.out.stop_string();
    end_stream(stream, text, FinishReason::kStopString);
  } else if (stream.out.end() == StreamedText::End::kMaxBytes) {
    end_stream(stream, text, FinishReason::kMaxBytes);
  } else if (!wanted) {
    end_stream(stream, text, FinishReason::kStopped);
  }
  if (stream.done) return {};
  if (options.context_bytes > 0) stream.context += bytes;
  return std::move(next.ids);
}

// The next position of a stream. Counts what the model wrote that is no text.
NextPosition choose_next(LanguageModel& model, std::span<const float> row_D, Stream& stream, GeneratedText& text) {
  const auto* blocks = dynamic_cast<const TokunDecoder*>(&model.decoder());
  const int64_t before = blocks != nullptr ? blocks->replaced() : 0;
  NextPosition next = model.choose(row_D, stream.state, stream.sampler);
  if (blocks != nullptr) text.replaced += blocks->replaced() - before;
  return next;
}

bool is_full(const Stream& stream, const GenerateOptions& options) {
  return options.context_bytes > 0 && stream.context.size() >= static_cast<size_t>(options.context_bytes);
}

// How much time a row more takes in a pass over the weights, learnt while writing. Says when a guess is worth reading;
// what is written does not depend on it.
class PassTimes {
 public:
  void add(size_t rows, double seconds, size_t bytes) {
    constexpr double kKept = 0.98;  // of what is known, at each pass
    const auto r = static_cast<double>(rows);
    for (double* sum : {&passes_, &rows_, &seconds_, &bytes_, &squares_, &products_}) *sum *= kKept;
    passes_ += 1;
    rows_ += r;
    seconds_ += seconds;
    bytes_ += static_cast<double>(bytes);
    squares_ += r * r;
    products_ += r * seconds;
  }
  // The chance above which reading one more byte together saves time: what a row costs over what a byte costs.
  [[nodiscard]] double least_chance() const {
    constexpr double kAtFirst = 0.3, kFewestPasses = 8;
    const double spread = squares_ * passes_ - rows_ * rows_;
    if (passes_ < kFewestPasses || spread < 0.1 * passes_ * passes_ || seconds_ <= 0) return kAtFirst;
    const double row_seconds = (products_ * passes_ - rows_ * seconds_) / spread;
    return std::clamp(row_seconds * bytes_ / seconds_, 0.05, 0.8);
  }

 private:
  double passes_ = 0, rows_ = 0, seconds_ = 0, bytes_ = 0, squares_ = 0, products_ = 0;
};

// Writes one text with guesses. Few rows cost little more than one: the weights are read once, and each row is computed
// as it would be alone, so that the choices are the same.
void write_with_draft(LanguageModel& model, Stream& stream, GenerateResult& result, const GenerateOptions& options) {
  constexpr size_t kRows = 7;        // read in one pass
  constexpr size_t kLeastGuess = 3;  // else the chosen bytes are read first
  GeneratedText& text = result.texts.front();
  Draft& draft = *options.draft;
  const auto width = static_cast<size_t>(model.backbone().width());
  const bool keeps_rows = model.keeps_rows(kRows);
  std::vector<int32_t> chosen;  // and not yet read into the state
  PassTimes times;
  const auto stop_asked = [&] { return options.interrupted != nullptr && options.interrupted->load(); };
  const auto take = [&](std::span<const float> row_D) {
    std::vector<int32_t> ids = take_next(model, choose_next(model, row_D, stream, text), stream, text, 0, options);
    if (stream.done) return;
    chosen.insert(chosen.end(), ids.begin(), ids.end());
    draft.read(model.bytes_of(stream.state, ids));
  };
  take(stream.state.newest_D);
  while (!stream.done && !stop_asked()) {
    if (is_full(stream, options)) {
      stream.state = read_last_half(model, stream.context, options.context_bytes);
      chosen.clear();
      take(stream.state.newest_D);
      continue;
    }
    if (chosen.size() + kLeastGuess > kRows) {
      (void)model.read_each(stream.state, std::span(chosen).first(chosen.size() - 1));
      chosen.erase(chosen.begin(), chosen.end() - 1);
      ++result.passes;
    }
    const std::string guess = draft.propose(kRows - chosen.size(), times.least_chance());
    std::vector<int32_t> rows = chosen;
    for (const char byte : guess) rows.push_back(static_cast<uint8_t>(byte));
    const auto pass_start = Clock::now();
    StreamState before;
    if (!guess.empty()) before = model.mark(stream.state, static_cast<int64_t>(rows.size()));
    if (keeps_rows) model.begin_trail(stream.state);
    const std::vector<float> rows_RD = model.read_each(stream.state, rows);
    const double pass_seconds = seconds_since(pass_start);
    ++result.passes;
    result.guessed += static_cast<int64_t>(guess.size());
    const size_t first_row = chosen.size() - 1;
    size_t row = first_row;
    bool right = true;
    while (right && !stream.done && !is_full(stream, options) && row < rows.size()) {
      take(std::span(rows_RD).subspan(row * width, width));
      ++row;
      right = !stream.done && row < rows.size() && chosen.back() == rows[row];
      if (right) ++result.kept;
    }
    if (stream.done) break;
    times.add(rows.size(), pass_seconds, row - first_row);
    // The rows in front of `row` are the text's.
    if (row < rows.size()) {
      if (!keeps_rows) {
        model.go_back(stream.state, std::move(before));
        continue;
      }
      model.go_back(stream.state, std::move(before), std::span(rows).first(row), rows_RD);
    }
    chosen.erase(chosen.begin(), chosen.begin() + static_cast<std::ptrdiff_t>(row));
  }
}

}  // namespace

void check_writes(const LanguageModel& model) {
  if (!model.is_autoencoder()) return;
  throw_input(
      "this model is an autoencoder (backbone.kind = \"none\"): it gives text back and writes none; train a language "
      "model "
      "with it (encoder.autoencoder)");
}

GenerateResult generate(LanguageModel& model, const std::vector<std::string>& prompts, const GenerateOptions& options) {
  options.sampling.validate();
  check_writes(model);
  if (options.samples < 1) throw_input("samples is {}, must be 1 or more", options.samples);
  if (options.max_bytes < 0)
    throw_input("the number of bytes is {}, must be 1 or more, or 0 for no limit", options.max_bytes);
  constexpr int64_t kLeastContext = 16;
  if (options.context_bytes != 0 && options.context_bytes < kLeastContext) {
    throw_input("the context is {} bytes, must be {} or more, or 0 for no limit", options.context_bytes, kLeastContext);
  }
  if (options.draft != nullptr && (prompts.size() != 1 || options.samples != 1)) {
    throw_input("a draft works for one text at a time, {} were asked for", prompts.size() * options.samples);
  }
  if (options.draft != nullptr && !reads_bytes(model)) {
    throw_input("a draft guesses bytes; this model of family {} does not read bytes", model.settings().family);
  }

  GenerateResult result;
  std::vector<Stream> streams;
  const auto prompt_start = Clock::now();
  for (size_t p = 0; p < prompts.size(); ++p) {
    result.prompt_bytes += prompts[p].size();
    std::string context;
    const StreamState state = read_prompt(model, prompts[p], context, options.context_bytes);
    for (int64_t i = 0; i < options.samples; ++i) {
      streams.push_back({.state = state,
                         .sampler = Sampler(options.sampling, streams.size()),
                         .out = StreamedText(options.stop, static_cast<size_t>(options.max_bytes)),
                         .context = options.context_bytes > 0 ? context : std::string()});
      result.texts.push_back({.prompt = p, .text = {}, .stop_string = {}});
    }
  }
  result.prompt_seconds = seconds_since(prompt_start);

  const auto start = Clock::now();
  std::vector<StreamState*> states;
  std::vector<std::vector<int32_t>> ids;
  const auto stop_asked = [&] { return options.interrupted != nullptr && options.interrupted->load(); };
  if (options.draft != nullptr) {
    options.draft->read(prompts.front());
    write_with_draft(model, streams.front(), result, options);
  }
  while (options.draft == nullptr && !stop_asked()) {
    states.clear();
    ids.clear();
    for (size_t s = 0; s < streams.size() && !stop_asked(); ++s) {
      Stream& stream = streams[s];
      if (stream.done) continue;
      std::vector<int32_t> chosen = take_next(model, choose_next(model, stream.state.newest_D, stream, result.texts[s]),
                                              stream, result.texts[s], s, options);
      if (stream.done) continue;
      if (is_full(stream, options)) {
        stream.state = read_last_half(model, stream.context, options.context_bytes);
        states.push_back(nullptr);
        continue;
      }
      states.push_back(&stream.state);
      ids.push_back(std::move(chosen));
    }
    const bool going_on = !states.empty();
    std::erase(states, nullptr);
    if (!states.empty()) {
      model.read_positions(states, ids);
      ++result.passes;
    }
    if (!going_on) break;
  }
  result.seconds = seconds_since(start);

  for (size_t s = 0; s < streams.size(); ++s) {
    if (!streams[s].done) show(options, s, streams[s].out.finish());
    result.texts[s].text = streams[s].out.text();
    result.bytes += result.texts[s].text.size();
  }
  return result;
}

}  // namespace verbatim
