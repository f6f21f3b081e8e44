#include "generate/generate.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
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

// Chooses the next position of a stream and shows its bytes. Returns its ids, or none when the stream has ended.
std::vector<int32_t> choose_next(LanguageModel& model, Stream& stream, GeneratedText& text, size_t sample,
                                 const GenerateOptions& options) {
  NextPosition next = model.choose(stream.state, stream.sampler);
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

}  // namespace

GenerateResult generate(LanguageModel& model, const std::vector<std::string>& prompts, const GenerateOptions& options) {
  options.sampling.validate();
  if (options.samples < 1) throw_input("samples is {}, must be 1 or more", options.samples);
  if (options.max_bytes < 0)
    throw_input("the number of bytes is {}, must be 1 or more, or 0 for no limit", options.max_bytes);
  constexpr int64_t kLeastContext = 16;
  if (options.context_bytes != 0 && options.context_bytes < kLeastContext) {
    throw_input("the context is {} bytes, must be {} or more, or 0 for no limit", options.context_bytes, kLeastContext);
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
  do {
    states.clear();
    ids.clear();
    for (size_t s = 0; s < streams.size() && !stop_asked(); ++s) {
      Stream& stream = streams[s];
      if (stream.done) continue;
      std::vector<int32_t> chosen = choose_next(model, stream, result.texts[s], s, options);
      if (stream.done) continue;
      if (options.context_bytes > 0 && stream.context.size() >= static_cast<size_t>(options.context_bytes)) {
        stream.state = read_last_half(model, stream.context, options.context_bytes);
        states.push_back(nullptr);
        continue;
      }
      states.push_back(&stream.state);
      ids.push_back(std::move(chosen));
    }
    const bool going_on = !states.empty();
    std::erase(states, nullptr);
    if (!states.empty()) model.read_positions(states, ids);
    if (!going_on) break;
  } while (!stop_asked());
  result.seconds = seconds_since(start);

  for (size_t s = 0; s < streams.size(); ++s) {
    if (!streams[s].done) show(options, s, streams[s].out.finish());
    result.texts[s].text = streams[s].out.text();
    result.bytes += result.texts[s].text.size();
  }
  return result;
}

}  // namespace verbatim
