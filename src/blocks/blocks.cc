#include "blocks/blocks.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

uint64_t blocks_of(uint64_t bytes, uint64_t block_bytes) { return (bytes + block_bytes - 1) / block_bytes; }

}  // namespace

void Blocks::clear() {
  bytes.clear();
  lengths.clear();
  ends.clear();
}

BlockCoder::BlockCoder(BlockOptions options) : options_(std::move(options)) {
  check_chain(options_.chain);
  block_bytes_ = options_.chain.block_bytes();
  if (options_.shift > kMostBlockBytes) {
    throw_input("a shift of {} characters is too far, at most {} are possible", options_.shift, kMostBlockBytes);
  }
  if (!options_.borders) return;
  if (block_bytes_ % 4 != 0) {
    throw_input(
        "chain {}: borders by content need blocks of whole characters, these have {} bytes; take a multiple of 4",
        options_.chain.name(), block_bytes_);
  }
  options_.borders = complete_borders(*options_.borders, block_bytes_ / 4);
}

void BlockCoder::encode(std::string_view text, Blocks& out) const {
  if (text.size() > std::numeric_limits<uint32_t>::max()) {
    throw_input("a text of {} bytes is too long for blocks, which take less than 4 GiB; cut it into documents",
                text.size());
  }
  std::string stream = std::move(out.bytes);  // its memory serves again
  stream.assign(4 * size_t{options_.shift}, '\0');
  append_utf32be(text, stream, options_.nul);
  cut(std::move(stream), out);
}

void BlockCoder::encode(std::u32string_view units, Blocks& out) const {
  std::string stream = std::move(out.bytes);
  stream.assign(4 * size_t{options_.shift}, '\0');
  append_utf32be(units, stream);
  cut(std::move(stream), out);
}

void BlockCoder::cut(std::string stream, Blocks& out) const {
  out.clear();
  if (stream.size() == 4 * size_t{options_.shift}) return;  // the empty text
  if (options_.borders) {
    cut_by_content(stream, out);
  } else {
    cut_evenly(std::move(stream), out);
  }
}

void BlockCoder::cut_evenly(std::string stream, Blocks& out) const {
  const size_t total = stream.size();
  const size_t count = blocks_of(total, block_bytes_);
  out.lengths.assign(count, block_bytes_);
  out.lengths.back() = static_cast<uint32_t>(total - (count - 1) * block_bytes_);
  out.ends.resize(count);
  size_t unit = options_.shift;
  uint64_t end = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t complete = std::max(unit, std::min((i + 1) * block_bytes_, total) / 4);
    end += count_text_bytes(std::string_view(stream).substr(4 * unit, 4 * (complete - unit)));
    unit = complete;
    out.ends[i] = static_cast<uint32_t>(end);
  }
  stream.resize(count * block_bytes_, '\0');
  out.bytes = std::move(stream);
}

void BlockCoder::cut_by_content(std::string_view stream, Blocks& out) const {
  BorderFinder finder(*options_.borders);
  const size_t units = stream.size() / 4;
  size_t begin = 0;
  uint32_t end = 0;
  for (size_t unit = 0; unit < units; ++unit) {
    const char32_t value = read_unit(stream, 4 * unit);
    if (unit >= options_.shift) end += text_bytes_of(value);
    if (!finder.ends_block(value) && unit + 1 < units) continue;
    const size_t length = 4 * (unit + 1 - begin);
    out.bytes.append(stream, 4 * begin, length);
    out.bytes.append(block_bytes_ - length, '\0');
    out.lengths.push_back(static_cast<uint32_t>(length));
    out.ends.push_back(end);
    begin = unit + 1;
  }
}

DecodedText BlockCoder::decode(const Blocks& blocks, Escapes escapes) const {
  VERBATIM_ASSERT(blocks.bytes.size() == blocks.size() * block_bytes_, "{} blocks of {} bytes in {} bytes",
                  blocks.size(), block_bytes_, blocks.bytes.size());
  std::string stream;
  stream.reserve(blocks.bytes.size());
  for (size_t i = 0; i < blocks.size(); ++i) {
    VERBATIM_ASSERT(blocks.lengths[i] <= block_bytes_, "block {} has {} bytes of {}", i, blocks.lengths[i],
                    block_bytes_);
    stream.append(blocks.bytes, i * block_bytes_, blocks.lengths[i]);
  }
  DecodedText decoded;
  const size_t shifted = std::min(4 * size_t{options_.shift}, stream.size());
  decoded.replaced = append_text(std::string_view(stream).substr(shifted), escapes, decoded.text);
  return decoded;
}

DecodedText BlockCoder::decode_without_lengths(std::string_view bytes, Escapes escapes) const {
  VERBATIM_ASSERT(options_.nul == NulForm::kEscaped, "0 may be text here");
  std::string stream;
  for (size_t position = 0; position < bytes.size(); position += 4) {
    const std::string_view unit = bytes.substr(position, 4);
    if (unit.find_first_not_of('\0') != std::string_view::npos) stream.append(unit);
  }
  DecodedText decoded;
  decoded.replaced = append_text(stream, escapes, decoded.text);
  return decoded;
}

uint64_t BlockCoder::count(std::string_view text) const {
  if (text.empty()) return 0;
  if (!options_.borders) return blocks_of(4 * (options_.shift + count_utf8_units(text)), block_bytes_);
  Blocks blocks;
  encode(text, blocks);
  return blocks.size();
}

std::string fixed_row(std::string_view text, uint32_t characters, const Chain& chain) {
  check_chain(chain);
  const uint64_t block_bytes = chain.block_bytes();
  const uint64_t row_bytes = blocks_of(4 * uint64_t{characters}, block_bytes) * block_bytes;
  std::string row;
  // A character has at most four bytes of text: what lies behind is cut anyway.
  append_utf32be(text.substr(0, std::min<uint64_t>(text.size(), row_bytes)), row);
  row.resize(row_bytes, '\0');
  return row;
}

}  // namespace verbatim
