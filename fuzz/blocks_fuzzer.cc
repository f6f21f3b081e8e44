// Any bytes as text: blocks give it back and tile it. Any bytes as what a model has written in the place of blocks:
// they become text, valid UTF-8 when escapes are replaced.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "blocks/blocks.h"
#include "blocks/reconstruction.h"
#include "text/utf8.h"

namespace {

using namespace verbatim;

void need(bool condition) {
  if (!condition) std::abort();
}

void check_blocks(const BlockCoder& coder, std::string_view text) {
  Blocks blocks;
  coder.encode(text, blocks);
  need(blocks.size() == coder.count(text) && blocks.bytes.size() == blocks.size() * coder.block_bytes());
  need(blocks.size() == 0 || blocks.ends.back() == text.size());
  for (size_t i = 1; i < blocks.size(); ++i) need(blocks.ends[i - 1] <= blocks.ends[i]);
  const DecodedText decoded = coder.decode(blocks);
  need(decoded.text == text && decoded.replaced == 0);
  if (coder.options().nul == NulForm::kEscaped) need(coder.decode_without_lengths(blocks.bytes).text == text);
  const Reconstruction result = measure_reconstruction(blocks, blocks.bytes);
  need(result.byte.right == result.byte.all && result.character.right == result.character.all);
}

void check_written(std::string_view stream) {
  std::string restored, replaced;
  const uint64_t wrong = append_text(stream, Escapes::kRestore, restored);
  need(append_text(stream, Escapes::kReplace, replaced) >= wrong);
  need(is_valid_utf8(replaced) && is_valid_utf8(published_text(stream)));
  need(restored.size() <= stream.size() + 3);
}

}  // namespace

// The first bytes choose the chain, the shift and switches.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 3, size - 3);
  BlockOptions options{.chain = {{1U + data[0] % 32, 1U + data[0] / 32}}, .shift = data[1]};
  if ((data[2] & 1) != 0) options.nul = NulForm::kEscaped;
  check_blocks(BlockCoder(options), text);
  if ((data[2] & 2) != 0 && options.chain.block_bytes() % 4 == 0) {
    options.borders = BorderOptions{.window = 1U + data[2] / 4, .seed = data[1]};
    check_blocks(BlockCoder(options), text);
  }
  check_written(text);
  try {
    (void)parse_chain(text);
  } catch (const InputError&) {
  }
  return 0;
}
