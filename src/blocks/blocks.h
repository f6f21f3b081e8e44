#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blocks/borders.h"
#include "blocks/chain.h"
#include "blocks/utf32.h"

namespace verbatim {

// How text becomes blocks of UTF-32-BE bytes.
struct BlockOptions {
  Chain chain = {{4, 4, 4}};
  uint32_t shift = 0;  // units of 0 in front of the text: moves the borders of fixed blocks
  NulForm nul = NulForm::kZero;
  // None: every block but the last one is full, as published. Otherwise the text decides (chains of whole characters
  // only), and every block is padded.
  std::optional<BorderOptions> borders = {};
};

// The blocks of a text. N blocks of T bytes, padded with 0 on the right.
struct Blocks {
  std::string bytes;              // [N*T]
  std::vector<uint32_t> lengths;  // [N] bytes of each block that are not padding
  std::vector<uint32_t> ends;     // [N] byte offset in the text just behind the last character that is complete here

  [[nodiscard]] size_t size() const { return lengths.size(); }
  void clear();
};

struct DecodedText {
  std::string text;
  uint64_t replaced = 0;  // units that stand for no text and became U+FFFD; 0 for blocks of a text
};

// Cuts text into blocks and puts it together again. Thread safe, linear in the length of the text.
//
// Lossless for every byte string: decode(encode(text)) == text, NUL bytes at both ends included, because the lengths
// are kept and bytes that are no characters are escaped (utf32.h). The empty text has no blocks, whatever the shift.
class BlockCoder {
 public:
  // Throws InputError for chains and borders that cannot be.
  explicit BlockCoder(BlockOptions options);

  // Replaces `out`. Throws InputError for texts of 4 GiB and more.
  void encode(std::string_view text, Blocks& out) const;
  // The same of units instead of text, also of some that stand for no text; `ends` count their bytes as text.
  void encode(std::u32string_view units, Blocks& out) const;
  // The text of blocks that encode() has made, or of what a model has written in their place.
  [[nodiscard]] DecodedText decode(const Blocks& blocks, Escapes escapes = Escapes::kRestore) const;
  // The text of blocks without their lengths: every 0 is padding. Needs NulForm::kEscaped (InternalError otherwise);
  // for NulForm::kZero there is only the published, lossy way, published_text().
  [[nodiscard]] DecodedText decode_without_lengths(std::string_view bytes, Escapes escapes = Escapes::kRestore) const;
  // The number of blocks that encode() makes.
  [[nodiscard]] uint64_t count(std::string_view text) const;

  [[nodiscard]] const BlockOptions& options() const { return options_; }
  [[nodiscard]] uint32_t block_bytes() const { return block_bytes_; }

 private:
  void cut(std::string stream, Blocks& out) const;
  void cut_evenly(std::string stream, Blocks& out) const;
  void cut_by_content(std::string_view stream, Blocks& out) const;

  BlockOptions options_;
  uint32_t block_bytes_ = 0;  // T
};

// As published for rows of a data set: ceil(4 * characters / T) * T bytes, longer texts cut, shorter ones padded.
[[nodiscard]] std::string fixed_row(std::string_view text, uint32_t characters, const Chain& chain);

}  // namespace verbatim
