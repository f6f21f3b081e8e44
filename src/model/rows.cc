#include "model/rows.h"

namespace verbatim {

Rows Rows::of(const PositionBatch& batch) {
  return {.sequences = {.offsets = batch.offsets}, .symbols = batch.symbols, .ends = batch.ends};
}

}  // namespace verbatim
