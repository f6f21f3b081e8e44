#include "families/tokun/block_symbols.h"

#include "base/error.h"
#include "text/utf8.h"

namespace verbatim {

namespace {

// What must follow the bytes of an open character (the Unicode standard, table 3-7). The second byte of some is
// narrower than 80 to BF: no overlong forms, no surrogates, nothing above U+10FFFF.
struct ByteRange8 {
  uint8_t low, high;
};
ByteRange8 next_byte(const std::string& character) {
  if (character.size() > 1) return {0x80, 0xBF};
  switch (static_cast<uint8_t>(character[0])) {
    case 0xE0:
      return {0xA0, 0xBF};
    case 0xED:
      return {0x80, 0x9F};
    case 0xF0:
      return {0x90, 0xBF};
    case 0xF4:
      return {0x80, 0x8F};
    default:
      return {0x80, 0xBF};
  }
}

size_t size_of_character(uint8_t lead) { return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

}  // namespace

BlockSymbolReader::BlockSymbolReader(const BlockOptions& options) : most_units_(options.chain.block_bytes() / 4) {
  if (options.borders.has_value()) borders_.emplace(*options.borders);
}

bool BlockSymbolReader::allows(int32_t symbol) const {
  if (complete_ || symbol < 0 || symbol >= kBlockSymbols) return false;
  // A NUL is a stray byte, too: among units 0 is padding.
  if (is_stray_) return symbol == 0 || (symbol >= 0x80 && symbol <= 0xFF);
  if (!character_.empty()) {
    const auto [low, high] = next_byte(character_);
    return symbol >= low && symbol <= high;
  }
  if (symbol == kEndOfDocument) return units_.empty();
  if (symbol == kEndOfBlock) return !units_.empty();
  return symbol == kStrayByte || (symbol >= 1 && symbol < 0x80) || (symbol >= 0xC2 && symbol <= 0xF4);
}

int64_t BlockSymbolReader::state() const {
  if (is_stray_) return 1;
  if (character_.empty()) return units_.empty() ? 0 : 2;
  const auto [low, high] = next_byte(character_);
  return low == 0xA0 ? 4 : low == 0x90 ? 5 : high == 0x9F ? 6 : high == 0x8F ? 7 : 3;
}

void BlockSymbolReader::read(int32_t symbol) {
  VERBATIM_ASSERT(allows(symbol), "symbol {}", symbol);
  if (symbol == kEndOfDocument || symbol == kEndOfBlock) {
    ends_document_ = symbol == kEndOfDocument;
    complete_ = true;
  } else if (is_stray_) {
    is_stray_ = false;
    add_unit(kEscape + static_cast<char32_t>(symbol));
  } else if (symbol == kStrayByte) {
    is_stray_ = true;
  } else {
    character_.push_back(static_cast<char>(symbol));
    if (character_.size() < size_of_character(static_cast<uint8_t>(character_[0]))) return;
    const char32_t unit = decode_utf8(character_, 0).value;
    character_.clear();
    add_unit(unit);
  }
}

void BlockSymbolReader::add_unit(char32_t unit) {
  units_.push_back(static_cast<int32_t>(unit));
  const bool ends_by_content = borders_.has_value() && borders_->ends_block(unit);
  complete_ = ends_by_content || units_.size() == most_units_;
}

void append_symbols(int32_t unit, std::vector<int32_t>& symbols) {
  const auto value = static_cast<char32_t>(unit);
  if (is_escape(value)) {
    symbols.push_back(kStrayByte);
    symbols.push_back(static_cast<int32_t>(value - kEscape));
  } else if (value < kEscape) {
    std::string character;
    append_utf8(character, value);
    for (const char byte : character) symbols.push_back(static_cast<uint8_t>(byte));
  }
}

std::vector<int32_t> symbols_of_block(const std::vector<int32_t>& units, const BlockOptions& options) {
  if (units.empty()) return {kEndOfDocument};
  std::vector<int32_t> symbols;
  BlockSymbolReader reader(options);
  for (const int32_t unit : units) {
    const size_t begin = symbols.size();
    append_symbols(unit, symbols);
    for (size_t i = begin; i < symbols.size(); ++i) reader.read(symbols[i]);
  }
  if (!reader.is_complete()) symbols.push_back(kEndOfBlock);
  return symbols;
}

}  // namespace verbatim
