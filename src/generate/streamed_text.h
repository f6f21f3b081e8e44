#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// Text that grows piece by piece and is shown while it grows. Promises, for any bytes in any pieces:
//   - what was shown, joined, is the text: it ends before the stop string that is complete first, and nothing is lost;
//   - no shown piece ends inside a UTF-8 character that later bytes complete; invalid bytes pass unchanged;
//   - bytes that may begin a stop string are held back until it is clear that they do not;
//   - the text has at most `max_bytes` bytes; a character that would cross the limit is left out.
class StreamedText {
 public:
  enum class End { kNone, kStopString, kMaxBytes };

  // Empty stop strings are ignored. max_bytes 0: no limit.
  StreamedText(std::vector<std::string> stop_strings, size_t max_bytes);

  // Adds bytes; returns those that can be shown now. Adds nothing more once end() is not kNone.
  std::string push(std::string_view bytes);
  // No more bytes will come: returns what was held back.
  std::string finish();

  [[nodiscard]] End end() const { return end_; }
  // The stop string that ended the text, or "".
  [[nodiscard]] const std::string& stop_string() const { return stop_string_; }
  // Everything so far, also what is held back; after the end exactly the text.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string show_until(size_t size);
  // How many bytes at the end of the text may begin a stop string.
  [[nodiscard]] size_t possible_stop_length() const;

  std::vector<std::string> stop_strings_;
  size_t longest_stop_ = 0;
  size_t max_bytes_;
  std::string text_;
  size_t shown_ = 0;
  End end_ = End::kNone;
  std::string stop_string_;
};

}  // namespace verbatim
