#include "blocks/chain.h"

#include <fmt/format.h>

#include <charconv>
#include <cstddef>

#include "base/error.h"
#include "base/text_format.h"

namespace verbatim {
namespace {

constexpr std::string_view kAdvice = "give the factors from the bytes up, joined by x: 4x4x4, 4x16, 64";

uint32_t parse_factor(std::string_view digits, std::string_view chain) {
  uint32_t factor = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), factor);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty()) {
    throw_input("chain {}: {} is no whole number from 1 to {}; {}", quote_bytes(chain), quote_bytes(digits),
                kMostBlockBytes, kAdvice);
  }
  return factor;
}

}  // namespace

uint32_t Chain::block_bytes() const {
  uint32_t product = 1;
  for (const uint32_t factor : factors) product *= factor;
  return product;
}

std::string Chain::name() const { return fmt::format("{}", fmt::join(factors, "x")); }

void check_chain(const Chain& chain) {
  if (chain.factors.empty()) throw_input("a chain has no factors; {}", kAdvice);
  if (chain.factors.size() > kMostFactors) {
    throw_input("chain {}: has {} factors, at most {} are possible", chain.name(), chain.factors.size(), kMostFactors);
  }
  uint64_t product = 1;
  for (const uint32_t factor : chain.factors) {
    if (factor == 0) throw_input("chain {}: a factor is 0; {}", chain.name(), kAdvice);
    product *= factor;
    if (product > kMostBlockBytes) {
      throw_input("chain {}: a block has more than {} bytes; take smaller factors", chain.name(), kMostBlockBytes);
    }
  }
}

Chain parse_chain(std::string_view text) {
  Chain chain;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('x', begin), text.size());
    chain.factors.push_back(parse_factor(text.substr(begin, end - begin), text));
    begin = end + 1;
  }
  check_chain(chain);
  return chain;
}

std::vector<uint64_t> grouped_shape(const Chain& chain, uint64_t blocks) {
  std::vector<uint64_t> shape = {blocks};
  shape.insert(shape.end(), chain.factors.begin(), chain.factors.end());
  return shape;
}

}  // namespace verbatim
