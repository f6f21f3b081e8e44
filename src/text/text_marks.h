#pragma once

#include <cstdint>

namespace verbatim {

// What a text ends with, as far as its bytes so far tell.
enum TextMark : uint8_t {
  kSentenceEnd = 1,   // behind ! ? and their relatives of other scripts, a full stop behind a word, a line end
  kParagraphEnd = 2,  // a line end behind an empty line
};

// Reads a text byte by byte and says after each one what ends there. Never looks ahead, so that a model may use it
// while it writes: "3." and "J." end no sentence, whatever follows. A value: copying forks it.
class TextMarkReader {
 public:
  // The marks of the byte just read; symbols above 255 (the start of a document) begin again.
  uint8_t read(uint16_t symbol);

 private:
  uint32_t last_bytes_ = 0;     // the newest in the lowest byte
  int letters_ = 0;             // letters or bytes beyond ASCII in a row, at most 2
  bool line_is_empty_ = false;  // only blanks since the last line end
  bool has_line_ = false;       // a line end came before
};

}  // namespace verbatim
