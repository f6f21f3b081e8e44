#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "blocks/blocks.h"

// A block of characters as a sequence of symbols, for decoders that write one after the other. Needs no tensors.
namespace verbatim {

// A character is the bytes of its UTF-8; a byte that belongs to no character is kStrayByte and itself.
inline constexpr int32_t kStrayByte = 256;
inline constexpr int32_t kEndOfBlock = 257;     // where the text ends before the block would
inline constexpr int32_t kEndOfDocument = 258;  // in the place of a block
inline constexpr int32_t kBlockSymbols = 259;

// Reads or writes the symbols of one block. Only some symbols can come next: those that go on with a well-formed
// character, and ends where ends can be. A block that is full, or that ends where content says so, needs no end.
class BlockSymbolReader {
 public:
  explicit BlockSymbolReader(const BlockOptions& options);

  // Whether a symbol can come next.
  [[nodiscard]] bool allows(int32_t symbol) const;
  // Takes an allowed symbol.
  void read(int32_t symbol);
  // Nothing can come next.
  [[nodiscard]] bool is_complete() const { return complete_; }
  [[nodiscard]] bool ends_document() const { return ends_document_; }
  [[nodiscard]] const std::vector<int32_t>& units() const { return units_; }
  // Which symbols can come next, as a number from 0 to kStates - 1: the same number, the same symbols.
  [[nodiscard]] int64_t state() const;
  static constexpr int64_t kStates = 8;

 private:
  void add_unit(char32_t unit);

  uint32_t most_units_;
  std::optional<BorderFinder> borders_;
  std::string character_;  // bytes of an open one
  bool is_stray_ = false;  // a stray byte comes next
  bool complete_ = false;
  bool ends_document_ = false;
  std::vector<int32_t> units_;
};

// The symbols of a unit, behind `symbols`; none for numbers that no text becomes (the start of a document).
void append_symbols(int32_t unit, std::vector<int32_t>& symbols);

// The symbols of a block, its end included where it has one. No units: the end of the document.
[[nodiscard]] std::vector<int32_t> symbols_of_block(const std::vector<int32_t>& units, const BlockOptions& options);

}  // namespace verbatim
