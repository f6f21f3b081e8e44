#include "generate/streamed_text.h"

#include <algorithm>

#include "text/utf8.h"

namespace verbatim {

StreamedText::StreamedText(std::vector<std::string> stop_strings, size_t max_bytes)
    : stop_strings_(std::move(stop_strings)), max_bytes_(max_bytes) {
  std::erase(stop_strings_, std::string());
  for (const std::string& stop : stop_strings_) longest_stop_ = std::max(longest_stop_, stop.size());
}

std::string StreamedText::push(std::string_view bytes) {
  if (end_ != End::kNone) return {};
  const size_t before = text_.size();
  text_.append(bytes);
  const bool full = max_bytes_ > 0 && text_.size() >= max_bytes_;
  if (full) text_.resize(max_bytes_);

  // The stop string that is complete first counts, of those that end at the same byte the longest: so it does not
  // matter in which pieces the bytes come.
  size_t found = std::string::npos;
  const size_t search_from = before > longest_stop_ ? before - longest_stop_ : 0;
  for (const std::string& stop : stop_strings_) {
    const size_t at = text_.find(stop, search_from);
    if (at == std::string::npos) continue;
    const size_t stop_end = at + stop.size(), found_end = found + stop_string_.size();
    if (found == std::string::npos || stop_end < found_end || (stop_end == found_end && at < found)) {
      found = at;
      stop_string_ = stop;
    }
  }
  if (found != std::string::npos) {
    text_.resize(found);
    end_ = End::kStopString;
    return show_until(text_.size());
  }
  if (full) {
    text_.resize(complete_prefix_length(text_));
    end_ = End::kMaxBytes;
    return show_until(text_.size());
  }
  const size_t settled = text_.size() - possible_stop_length();
  return show_until(shown_ + complete_prefix_length(std::string_view(text_).substr(shown_, settled - shown_)));
}

std::string StreamedText::finish() { return show_until(text_.size()); }

std::string StreamedText::show_until(size_t size) {
  if (size <= shown_) return {};
  std::string piece = text_.substr(shown_, size - shown_);
  shown_ = size;
  return piece;
}

size_t StreamedText::possible_stop_length() const {
  const size_t longest = std::min(longest_stop_ > 0 ? longest_stop_ - 1 : 0, text_.size());
  for (size_t length = longest; length > 0; --length) {
    const std::string_view tail = std::string_view(text_).substr(text_.size() - length);
    for (const std::string& stop : stop_strings_) {
      if (stop.size() > length && std::string_view(stop).starts_with(tail)) return length;
    }
  }
  return 0;
}

}  // namespace verbatim
