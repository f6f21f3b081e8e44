#include "families/tokun/tokun_segmenter.h"

#include <algorithm>

namespace verbatim {

Positions TokunSegmenter::segment(std::string_view text, DocumentPart /*part*/) const {
  Positions positions;
  if (!coder_.options().borders.has_value()) {
    cut_evenly(text, positions);
    return positions;
  }
  Blocks blocks;
  coder_.encode(text, blocks);
  positions.ends = std::move(blocks.ends);
  positions.id_offsets.reserve(blocks.size() + 1);
  positions.id_offsets.push_back(0);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const size_t begin = i * coder_.block_bytes();
    for (size_t byte = 0; byte < blocks.lengths[i]; byte += 4) {
      positions.ids.push_back(static_cast<int32_t>(read_unit(blocks.bytes, begin + byte)));
    }
    positions.id_offsets.push_back(static_cast<uint32_t>(positions.ids.size()));
  }
  return positions;
}

// What the coder does, without the bytes between: ids are units.
void TokunSegmenter::cut_evenly(std::string_view text, Positions& positions) const {
  const std::u32string units = to_units(text, coder_.options().nul);
  const size_t in_block = coder_.block_bytes() / 4, blocks = (units.size() + in_block - 1) / in_block;
  positions.ids.assign(units.begin(), units.end());
  positions.ends.resize(blocks);
  positions.id_offsets.resize(blocks + 1);
  uint32_t end = 0;
  for (size_t i = 0; i < blocks; ++i) {
    const size_t begin = i * in_block, stop = std::min(begin + in_block, units.size());
    for (size_t unit = begin; unit < stop; ++unit) end += text_bytes_of(units[unit]);
    positions.ends[i] = end;
    positions.id_offsets[i + 1] = static_cast<uint32_t>(stop);
  }
}

std::string TokunSegmenter::bytes_of(const std::vector<int32_t>& ids, const std::vector<int32_t>* /*previous*/) const {
  std::string stream, text;
  const std::u32string units(ids.begin(), ids.end());
  append_utf32be(units, stream);
  append_text(stream, Escapes::kRestore, text);
  return text;
}

}  // namespace verbatim
