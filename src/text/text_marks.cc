#include "text/text_marks.h"

#include <algorithm>

namespace verbatim {

namespace {

// Sentence ends of three bytes: ideographic full stop, full-width ! and ?, danda, Arabic full stop has its own below.
bool ends_sentence(uint32_t last_three) {
  return last_three == 0xE38082 || last_three == 0xEFBC81 || last_three == 0xEFBC9F || last_three == 0xE0A5A4;
}

bool is_letter(uint8_t byte) { return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte >= 0x80; }

}  // namespace

uint8_t TextMarkReader::read(uint16_t symbol) {
  if (symbol > 255) {
    *this = {};
    return 0;
  }
  const auto byte = static_cast<uint8_t>(symbol);
  last_bytes_ = last_bytes_ << 8 | byte;
  uint8_t marks = 0;
  const bool is_closer = byte == '"' || byte == '\'' || byte == ')' || byte == ']';
  if (byte == '!' || byte == '?' || ends_sentence(last_bytes_ & 0xFFFFFF) || (last_bytes_ & 0xFFFF) == 0xD89F ||
      (byte == '.' && letters_ >= 2)) {
    marks = kSentenceEnd;
  } else if (byte == '\n') {
    marks = kSentenceEnd;
    if (has_line_ && line_is_empty_) marks |= kParagraphEnd;
    has_line_ = true;
    line_is_empty_ = true;
  }
  if (byte != '\n' && byte != ' ' && byte != '\t' && byte != '\r') line_is_empty_ = false;
  // Brackets and quotes behind a word leave it a word: `(so he said).`
  if (!is_closer) letters_ = is_letter(byte) ? std::min(letters_ + 1, 2) : 0;
  return marks;
}

}  // namespace verbatim
