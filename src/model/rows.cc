#include "model/rows.h"

#include "text/text_marks.h"

namespace verbatim {

Rows Rows::of(const PositionBatch& batch) {
  Rows rows{.sequences = {.offsets = batch.offsets}, .symbols = batch.symbols, .ends = batch.ends, .marks = {}};
  rows.marks.reserve(batch.symbols.size());
  for (int64_t s = 0; s < rows.sequences.count(); ++s) {
    TextMarkReader reader;
    for (int64_t row = batch.offsets[s]; row < batch.offsets[s + 1]; ++row)
      rows.marks.push_back(reader.read(batch.symbols[row]));
  }
  return rows;
}

}  // namespace verbatim
