#include "families/tokun/tokun_segmenter.h"

namespace verbatim {

Positions TokunSegmenter::segment(std::string_view text, DocumentPart /*part*/) const {
  Blocks blocks;
  coder_.encode(text, blocks);
  Positions positions;
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

std::string TokunSegmenter::bytes_of(const std::vector<int32_t>& ids, const std::vector<int32_t>* /*previous*/) const {
  std::string stream, text;
  const std::u32string units(ids.begin(), ids.end());
  append_utf32be(units, stream);
  append_text(stream, Escapes::kRestore, text);
  return text;
}

}  // namespace verbatim
