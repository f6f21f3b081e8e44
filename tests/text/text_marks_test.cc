#include "text/text_marks.h"

#include <gtest/gtest.h>

#include <string>

namespace verbatim {
namespace {

// The text with | behind every sentence end and # behind every paragraph end.
std::string marked(const std::string& text) {
  TextMarkReader reader;
  std::string result;
  for (const char byte : text) {
    const uint8_t marks = reader.read(static_cast<uint8_t>(byte));
    result += byte;
    if ((marks & kSentenceEnd) != 0) result += '|';
    if ((marks & kParagraphEnd) != 0) result += '#';
  }
  return result;
}

TEST(text_marks, find_the_ends_of_sentences) {
  EXPECT_EQ(marked("He came. Who? Me! (so he said)."), "He came.| Who?| Me!| (so he said).|");
  EXPECT_EQ(marked("3.14 is J. Smith's"), "3.14 is J. Smith's");
  EXPECT_EQ(marked("\xE4\xBD\xA0\xE5\xA5\xBD\xE3\x80\x82"), "\xE4\xBD\xA0\xE5\xA5\xBD\xE3\x80\x82|");
  EXPECT_EQ(marked("\xEF\xBC\x9F \xE0\xA5\xA4"), "\xEF\xBC\x9F| \xE0\xA5\xA4|");
  EXPECT_EQ(marked("\xD9\x85\xD8\x9F"), "\xD9\x85\xD8\x9F|");
}

TEST(text_marks, find_lines_and_paragraphs) {
  EXPECT_EQ(marked("one\ntwo\n\nthree\n \t\n"), "one\n|two\n|\n|#three\n| \t\n|#");
}

TEST(text_marks, begin_again_with_a_document) {
  TextMarkReader reader;
  for (const char byte : std::string("ab\n")) (void)reader.read(static_cast<uint8_t>(byte));
  EXPECT_EQ(reader.read(256), 0);
  EXPECT_EQ(reader.read('.'), 0);              // no word before it
  EXPECT_EQ(reader.read('\n'), kSentenceEnd);  // the first line, not an empty one
}

}  // namespace
}  // namespace verbatim
